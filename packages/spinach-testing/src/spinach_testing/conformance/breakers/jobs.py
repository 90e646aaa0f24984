"""Breakers of looking for jobs, and of taking them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from spinach.brokers.calls import (
    BeatProgress,
    BeatReply,
    CancelReply,
    CancelVerdict,
    Deposit,
    FoundJob,
    FoundPage,
    Place,
    QueueCounts,
    ReportReply,
    Turn,
)
from spinach.exc import InvalidArgument

from .base import Breaker

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from spinach.outcome import Outcome


class _Listing(NamedTuple):
    """What a page is asked for with."""

    places: Collection[Place]
    task: str | None
    cursor: str | None
    limit: int


class _ChangesFound(Breaker):
    """Finds jobs as it was asked; a subclass changes what it tells of one."""

    def find_jobs(self, queues: Sequence[str], stored_ids: Sequence[str]) -> list[FoundJob]:
        return [self.change(job) for job in super().find_jobs(queues, stored_ids)]

    def change(self, job: FoundJob) -> FoundJob:
        """What the caller is told."""
        raise NotImplementedError


class TakesHeldForReady(_ChangesFound):
    """Says of a held job that it is ready."""

    breaks = "I10"

    def change(self, job: FoundJob) -> FoundJob:
        return structs.replace(job, place=Place.READY) if job.place is Place.HELD else job


class ForgetsSinceWhen(_ChangesFound):
    """Does not tell since when a job is leased."""

    breaks = "I5"

    def change(self, job: FoundJob) -> FoundJob:
        return structs.replace(job, leased_ms=None)


class TellsDoubtAsCertain(_ChangesFound):
    """Says of a job that lies in a buffer that it was given to an idle thread."""

    breaks = "I5"

    def change(self, job: FoundJob) -> FoundJob:
        return structs.replace(job, direct=True)


class FindsFailedJobsForEver(Breaker):
    """Finds a failed job again that it found once, however long ago."""

    breaks = "I19"

    def find_jobs(self, queues: Sequence[str], stored_ids: Sequence[str]) -> list[FoundJob]:
        found = super().find_jobs(queues, stored_ids)
        failed = self.family.found_failed
        failed.update((job.stored_id, job) for job in found if job.place is Place.FAILED)
        told = {job.stored_id for job in found}
        return found + [failed[each] for each in stored_ids if each in failed and each not in told]


class ForgetsWhoWasLost(_ChangesFound):
    """Tells of no worker process that was lost while it ran the job."""

    breaks = "I11"

    def change(self, job: FoundJob) -> FoundJob:
        return structs.replace(job, losses=0)


class TellsTheLeastAsTheNumber(_ChangesFound):
    """Tells how many jobs come before one as if they had been counted, however many there are."""

    breaks = "I19"

    def change(self, job: FoundJob) -> FoundJob:
        return structs.replace(job, ahead_exact=True)


class PutsAllOfTheFutureFirst(_ChangesFound):
    """Tells of no job of the future that others come before it."""

    breaks = "I1"

    def change(self, job: FoundJob) -> FoundJob:
        return structs.replace(job, ahead=0) if job.place is Place.FUTURE else job


class PutsEveryJobIntoALine(_ChangesFound):
    """Tells of jobs that no line holds that nothing comes before them."""

    breaks = "I1"

    def change(self, job: FoundJob) -> FoundJob:
        return structs.replace(job, ahead=job.ahead or 0)


class ForgetsWhenJobsFailed(_ChangesFound):
    """Does not tell since when a job is in the failed store."""

    breaks = "I1"

    def change(self, job: FoundJob) -> FoundJob:
        return structs.replace(job, failed_ms=None)


class _Lists(Breaker):
    """Lists jobs as it was asked; a subclass lists otherwise, by what it was asked."""

    breaks = "I1"

    def list_jobs(
        self,
        queue: str,
        *,
        places: Collection[Place] = (),
        task: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> FoundPage:
        return self.page(queue, _Listing(places, task, cursor, limit))

    def page(self, queue: str, asked: _Listing) -> FoundPage:
        """What the caller is told."""
        places, task, cursor, limit = asked
        return super().list_jobs(queue, places=places, task=task, cursor=cursor, limit=limit)


class ListsLittleOfEachJob(_Lists):
    """Tells less of a job on a page than when it is looked for."""

    def page(self, queue: str, asked: _Listing) -> FoundPage:
        page = super().page(queue, asked)
        jobs = tuple(structs.replace(job, member="", info={}) for job in page.jobs)
        return structs.replace(page, jobs=jobs)


class BeginsAnewWithAnyCursor(_Lists):
    """Takes a cursor that it did not make for none."""

    def page(self, queue: str, asked: _Listing) -> FoundPage:
        try:
            return super().page(queue, asked)
        except InvalidArgument:
            return super().page(queue, asked._replace(cursor=None))


class ForgetsProgress(Breaker):
    """Beats without what the jobs tell of themselves."""

    breaks = "I5"

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        return super().beat(turns)


class ListsAgain(_Lists):
    """Begins each page with the last job of the one before."""

    def page(self, queue: str, asked: _Listing) -> FoundPage:
        page = super().page(queue, asked)
        last = self.family.last_listed
        if asked.cursor is not None and last is not None:
            page = structs.replace(page, jobs=(last, *page.jobs)[: asked.limit])
        self.family.last_listed = page.jobs[-1] if page.jobs else None
        return page


class ListsEachPlace(_Lists):
    """Lists all jobs, whatever place was asked for."""

    def page(self, queue: str, asked: _Listing) -> FoundPage:
        return super().page(queue, asked._replace(places=()))


class CancelsInWordsOnly(Breaker):
    """Says that a job was cancelled, and leaves it where it is."""

    breaks = "I22"

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        jobs = {job.stored_id: job for job in self.inner.find_jobs([queue], stored_ids)}
        replies: list[CancelReply] = []
        for each in stored_ids:
            job = jobs.get(each)  # type: ignore[call-overload] # a stored id is a str
            if job is None or job.place in (Place.LEASED, Place.FAILED):
                replies += super().cancel_jobs(queue, [each])
                continue
            verdict = CancelVerdict.CANCELLED
            replies.append(CancelReply(verdict=verdict, record=job.record, retries=job.retries))
        return replies


class CountsTheCancelled(Breaker):
    """Goes on to count jobs that were cancelled as ready."""

    breaks = "I22"

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        replies = super().cancel_jobs(queue, stored_ids)
        self.family.cancelled += sum(r.verdict is CancelVerdict.CANCELLED for r in replies)
        return replies

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        more = self.family.cancelled
        return [structs.replace(each, ready=each.ready + more) for each in super().counts(queues)]


class LosesWhatIsStoredAgain(Breaker):
    """Takes a job that is stored again after its cancel for the one that was cancelled."""

    breaks = "I1"

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        replies = super().cancel_jobs(queue, stored_ids)
        self.family.gone |= {
            each
            for each, reply in zip(stored_ids, replies, strict=True)
            if reply.verdict is CancelVerdict.CANCELLED
        }
        return replies

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        kept = [each for each in deposits if each.stored_id not in self.family.gone]
        flags = iter(super().enqueue(kept))
        return [each.stored_id in self.family.gone or next(flags) for each in deposits]


class CancelsWhatRuns(Breaker):
    """Says of a job in the hands of a worker that it was cancelled."""

    breaks = "I22"

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        return [
            CancelReply(verdict=CancelVerdict.CANCELLED)
            if reply.verdict is CancelVerdict.REQUESTED
            else reply
            for reply in super().cancel_jobs(queue, stored_ids)
        ]


class KeepsTheRequest(Breaker):
    """Tells no worker that a cancel was asked for."""

    breaks = "I22"

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        return [structs.replace(each, cancelled=()) for each in super().beat(turns, progress)]


class AsksForAllOnce(Breaker):
    """Tells a worker once that a cancel was asked for, and not again."""

    breaks = "I22"

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        replies = super().beat(turns, progress)
        told = self.family.told_to_cancel
        answers = [
            structs.replace(each, cancelled=tuple(p for p in each.cancelled if p not in told))
            for each in replies
        ]
        told.update(pair for each in replies for pair in each.cancelled)
        return answers


class ForgetsWhatWasAsked(Breaker):
    """Notes no cancel of a job that a worker has."""

    breaks = "I22"

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        found = self.inner.find_jobs([queue], stored_ids)
        leased = {job.stored_id for job in found if job.place is Place.LEASED}
        return [
            CancelReply(verdict=CancelVerdict.REQUESTED)
            if each in leased
            else super(ForgetsWhatWasAsked, self).cancel_jobs(queue, [each])[0]
            for each in stored_ids
        ]


class ForgetsWhatFailed(Breaker):
    """Knows nothing of a failed job when it is to be cancelled."""

    breaks = "I22"

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        return [
            CancelReply(verdict=CancelVerdict.UNKNOWN)
            if reply.verdict is CancelVerdict.FINISHED
            else reply
            for reply in super().cancel_jobs(queue, stored_ids)
        ]


class KeepsCancelsToItself(Breaker):
    """Does not tell which jobs are cancelled instead of going back to a queue."""

    breaks = "I22"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        return structs.replace(super().report(outcomes), cancelled=())


class AnswersCancelsAsItLikes(Breaker):
    """Answers the cancels of one call in another order than they were asked for."""

    breaks = "I22"

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        replies = super().cancel_jobs(queue, stored_ids)
        return sorted(replies, key=lambda reply: reply.verdict.value)


class NamesTheFirstToCancelOnly(Breaker):
    """Names the leases of the first beat that had any to cancel, and no others."""

    breaks = "I22"

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        replies = super().beat(turns, progress)
        told = self.family.told_to_cancel
        if not told:
            told.update(pair for each in replies for pair in each.cancelled)
        return [
            structs.replace(each, cancelled=tuple(p for p in each.cancelled if p in told))
            for each in replies
        ]
