"""Breakers of the ends of jobs that were cancelled, lost, purged or retried."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from spinach.brokers.calls import CancelVerdict, Ending, JobEnd, Place
from spinach.outcome import OutcomeKind

from .base import Breaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import (
        CancelReply,
        FailedPortion,
        PortionReply,
        PurgeReply,
        RecoverReply,
        ReportReply,
    )
    from spinach.brokers.operating import Purgeable
    from spinach.outcome import Outcome
    from spinach.record.ids import StoredId

_ABSENT = JobEnd(ending=Ending.ABSENT)
_CANCELLED = JobEnd(ending=Ending.CANCELLED)

#: More jobs than any test has.
_ALL = 10_000


class _TellsOtherwise(Breaker):
    """Tells of some jobs an end that a subclass noted, in the place of what is so."""

    breaks = "I23"

    def job_ends(self, queue: str, stored_ids: Sequence[StoredId]) -> list[JobEnd]:
        found = super().job_ends(queue, stored_ids)
        return [self.family.ends.get(*pair) for pair in zip(stored_ids, found, strict=True)]

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        found = super().await_end(queue, stored_id, wait_seconds)
        return self.family.ends.get(stored_id, found)


class LeavesNoEndOfCancelledJobs(_TellsOtherwise):
    """Keeps nothing of a job that is cancelled while no worker has it."""

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        replies = super().cancel_jobs(queue, stored_ids)
        for stored_id, reply in zip(stored_ids, replies, strict=True):
            if reply.verdict is CancelVerdict.CANCELLED:
                self.family.ends[stored_id] = _ABSENT
        return replies


class KeepsAnEndOfEachCancelledJob(_TellsOtherwise):
    """Tells of a job as cancelled that keeps no end."""

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        replies = super().cancel_jobs(queue, stored_ids)
        for stored_id, reply in zip(stored_ids, replies, strict=True):
            if reply.verdict is CancelVerdict.CANCELLED:
                self.family.ends[stored_id] = _CANCELLED
        return replies


class TakesARequestForAnEnd(_TellsOtherwise):
    """Tells that a job was cancelled while a worker still has it."""

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        replies = super().cancel_jobs(queue, stored_ids)
        for stored_id, reply in zip(stored_ids, replies, strict=True):
            if reply.verdict is CancelVerdict.REQUESTED:
                self.family.ends[stored_id] = _CANCELLED
        return replies


class _NotesRequests(_TellsOtherwise):
    """Notes which jobs are to be cancelled; a subclass keeps nothing of some of them."""

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        replies = super().cancel_jobs(queue, stored_ids)
        self.family.asked_to_cancel.update(
            stored_id
            for stored_id, reply in zip(stored_ids, replies, strict=True)
            if reply.verdict is CancelVerdict.REQUESTED
        )
        return replies

    def forget(self, queue: str, stored_ids: Sequence[StoredId]) -> None:
        """Keep nothing of those of these jobs that ended as cancelled, as was asked."""
        found = self.inner.job_ends(queue, stored_ids)
        for stored_id, each in zip(stored_ids, found, strict=True):
            if stored_id in self.family.asked_to_cancel and each == _CANCELLED:
                self.family.ends[stored_id] = _ABSENT


class _ForgetsEndsAfter(_NotesRequests):
    """Keeps nothing of a job that is cancelled where an outcome of one kind would take it back."""

    kind: OutcomeKind

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        reply = super().report(outcomes)
        for each in outcomes:
            if each.kind is self.kind:
                self.forget(each.lease.queue, [each.lease.stored_id])
        return reply


class LeavesNoEndOfCancelledRetries(_ForgetsEndsAfter):
    """Keeps nothing of a job that is cancelled where it would be retried."""

    kind = OutcomeKind.RETRY


class LeavesNoEndOfCancelledReleases(_ForgetsEndsAfter):
    """Keeps nothing of a job that is cancelled where it would be given back."""

    kind = OutcomeKind.RELEASE


class LeavesNoEndOfCancelledParks(_ForgetsEndsAfter):
    """Keeps nothing of a job that is cancelled where it would be parked."""

    kind = OutcomeKind.PARK


class LeavesNoEndOfLostCancelledJobs(_NotesRequests):
    """Keeps nothing of a job that recovery ends as cancelled."""

    def recover(self, queue: str, dead: str) -> RecoverReply:
        asked = [
            job.stored_id
            for job in self.inner.list_jobs(queue, places=[Place.LEASED], limit=_ALL).jobs
            if job.cancel_requested
        ]
        reply = super().recover(queue, dead)
        self.forget(queue, asked)
        return reply


class CancelsInThePlaceOfOutcomes(_NotesRequests):
    """Tells that a job was cancelled which ended before it heard of that."""

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        reply = super().report(outcomes)
        for each in outcomes:
            if each.lease.stored_id in self.family.asked_to_cancel and each.keep_ms is not None:
                self.family.ends[each.lease.stored_id] = _CANCELLED
        return reply


class TellsPurgedJobsAsCancelled(_TellsOtherwise):
    """Leaves an end of a job that was purged."""

    def purge(self, queue: str, status: Purgeable, limit: int) -> PurgeReply:
        before = self._there(queue)
        reply = super().purge(queue, status, limit)
        if status != "failed":
            gone = before - self._there(queue)
            self.family.ends.update(dict.fromkeys(gone, _CANCELLED))
        return reply

    def _there(self, queue: str) -> set[str]:
        return {job.stored_id for job in self.inner.list_jobs(queue, limit=_ALL).jobs}


class ForgetsTheEndsOfDiscardedJobs(_TellsOtherwise):
    """Tells of no failed job that was discarded how it ended."""

    def discard_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        self.family.ends.update(dict.fromkeys(stored_ids, _ABSENT))
        return super().discard_failed(queue, stored_ids)


class TellsTheFormerEndOfMany(_TellsOtherwise):
    """Tells the end before the retry of jobs that were retried in bulk."""

    def retry_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        failed = [job.stored_id for job in self.inner.failed_jobs(queue, limit=_ALL)]
        ends = dict(zip(failed, self.inner.job_ends(queue, failed), strict=True))
        reply = super().retry_matching(queue, portion)
        left = {job.stored_id for job in self.inner.failed_jobs(queue, limit=_ALL)}
        self.family.ends.update((each, ends[each]) for each in failed if each not in left)
        return reply


class HearsOfNoCancel(Breaker):
    """Goes on waiting for a job that is cancelled while no worker has it."""

    breaks = "I23"

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        before = self.inner.find_jobs([queue], [stored_id])
        found = super().await_end(queue, stored_id, wait_seconds)
        if found == _CANCELLED and any(job.place is not Place.LEASED for job in before):
            threading.Event().wait(2.0)
        return found


class HearsOfNoLoss(Breaker):
    """Goes on waiting for a job that recovery failed."""

    breaks = "I23"

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        found = super().await_end(queue, stored_id, wait_seconds)
        lost = found.failure is not None and found.failure.error.endswith("WorkerLost")
        if wait_seconds > 0 and lost:
            threading.Event().wait(2.0)
        return found


class TakesInfinityForNothing(Breaker):
    """Looks once where it should wait without an end."""

    breaks = "I23"

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        return super().await_end(
            queue, stored_id, 0.0 if wait_seconds == float("inf") else wait_seconds
        )
