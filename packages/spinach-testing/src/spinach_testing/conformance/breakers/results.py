"""Breakers of results."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from msgspec import structs

from spinach.brokers.calls import Ending, JobEnd, Verdict
from spinach.outcome import OutcomeKind

from .base import Breaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import (
        FailedPortion,
        PortionReply,
        RecoverReply,
        ReportReply,
    )
    from spinach.outcome import Outcome
    from spinach.record.ids import StoredId


class _TellsEnds(Breaker):
    """Tells the end of a job as a subclass has it."""

    breaks = "I23"

    def told(self, stored_id: str, found: JobEnd) -> JobEnd:
        """What the caller is told."""
        raise NotImplementedError

    def job_ends(self, queue: str, stored_ids: Sequence[StoredId]) -> list[JobEnd]:
        found = super().job_ends(queue, stored_ids)
        return [self.told(*pair) for pair in zip(stored_ids, found, strict=True)]

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        return self.told(stored_id, super().await_end(queue, stored_id, wait_seconds))


class HandsAResultOutOnce(_TellsEnds):
    """Takes the end of a job away with the first answer that has it."""

    def told(self, stored_id: str, found: JobEnd) -> JobEnd:
        if found.ending in (Ending.PENDING, Ending.ABSENT):
            return found
        if stored_id in self.family.ends:
            return JobEnd(ending=Ending.ABSENT)
        self.family.ends[stored_id] = found
        return found


class KeepsResultsForEver(_TellsEnds):
    """Tells an end that it told once, however long ago."""

    def told(self, stored_id: str, found: JobEnd) -> JobEnd:
        if found.ending is Ending.ABSENT:
            return self.family.ends.get(stored_id, found)
        if found.ending is not Ending.PENDING:
            self.family.ends[stored_id] = found
        return found


class TellsTheFormerEnd(_TellsEnds):
    """Tells the end before the retry of a job that was retried from the failed store."""

    def told(self, stored_id: str, found: JobEnd) -> JobEnd:
        return self.family.ends.get(stored_id, found)

    def retry_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        for stored_id in stored_ids:
            [found] = self.inner.job_ends(queue, [stored_id])  # type: ignore[list-item] # as text
            if found.ending is Ending.FAILED:
                self.family.ends[stored_id] = found
        return super().retry_failed(queue, stored_ids)


class TakesUnknownJobsForPending(_TellsEnds):
    """Lets a caller wait for a job that is not there."""

    def told(self, stored_id: str, found: JobEnd) -> JobEnd:
        return structs.replace(found, ending=Ending.PENDING) if _absent(found) else found


class TakesFailuresForNothing(_TellsEnds):
    """Tells of no job that it failed."""

    def told(self, stored_id: str, found: JobEnd) -> JobEnd:
        return JobEnd(ending=Ending.ABSENT) if found.ending is Ending.FAILED else found


class TakesCancelledForExpired(_TellsEnds):
    """Does not tell apart what was cancelled and what expired."""

    def told(self, stored_id: str, found: JobEnd) -> JobEnd:
        if found.ending is Ending.CANCELLED:
            return structs.replace(found, ending=Ending.EXPIRED)
        return found


class LeavesAnEndOfRetriedJobs(_TellsEnds):
    """Tells the former end of a job that was retried with others."""

    def told(self, stored_id: str, found: JobEnd) -> JobEnd:
        return self.family.ends.get(stored_id, found)

    def retry_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        for entry in self.inner.failed_jobs(queue):
            [found] = self.inner.job_ends(queue, [entry.stored_id])
            if found.ending is Ending.FAILED and entry.cursor <= portion.until:
                self.family.ends[entry.stored_id] = found
        return super().retry_matching(queue, portion)


class ForgetsResults(Breaker):
    """Keeps nothing of a job that succeeded."""

    breaks = "I23"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        return super().report(
            [
                structs.replace(each, keep_ms=None, result=None)
                if each.kind is OutcomeKind.SUCCEEDED
                else each
                for each in outcomes
            ]
        )


class ChangesNull(Breaker):
    """Takes a function that returned nothing for one whose result is not kept."""

    breaks = "I23"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        return super().report(
            [
                structs.replace(each, keep_ms=None) if each.result == b"null" else each
                for each in outcomes
            ]
        )


class KeepsRefusedResults(Breaker):
    """Keeps the result of an outcome that it refuses."""

    breaks = "I23"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        reply = super().report(outcomes)
        for each, verdict in zip(outcomes, reply.verdicts, strict=True):
            if verdict is Verdict.REFUSED and each.result is not None:
                end = JobEnd(ending=Ending.SUCCEEDED, result=each.result)
                self.family.ends[each.lease.stored_id] = end
        return reply

    def job_ends(self, queue: str, stored_ids: Sequence[StoredId]) -> list[JobEnd]:
        found = super().job_ends(queue, stored_ids)
        return [self.family.ends.get(*pair) for pair in zip(stored_ids, found, strict=True)]


class ReadsResultsBackwards(Breaker):
    """Answers the ends of many jobs in another order."""

    breaks = "I23"

    def job_ends(self, queue: str, stored_ids: Sequence[StoredId]) -> list[JobEnd]:
        return super().job_ends(queue, stored_ids)[::-1]


class LeavesNoEndOfLostJobs(Breaker):
    """Keeps nothing of a job that recovery fails."""

    breaks = "I23"

    def recover(self, queue: str, dead: str) -> RecoverReply:
        reply = super().recover(queue, dead)
        for lost in reply.lost:
            self.family.ends[lost.stored_id] = JobEnd(ending=Ending.ABSENT)
        return reply

    def job_ends(self, queue: str, stored_ids: Sequence[StoredId]) -> list[JobEnd]:
        found = super().job_ends(queue, stored_ids)
        return [self.family.ends.get(*pair) for pair in zip(stored_ids, found, strict=True)]


class WakesOneOfThoseWhoWait(Breaker):
    """Tells the end of a job to one caller, and lets the others wait."""

    breaks = "I23"

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        found = super().await_end(queue, stored_id, wait_seconds)
        if found.result and stored_id in self.family.ends:
            threading.Event().wait(2.0)
        self.family.ends[stored_id] = found
        return found


class HearsOfNoPurge(Breaker):
    """Goes on waiting for a job that is not there any more."""

    breaks = "I23"

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        [before] = super().job_ends(queue, [stored_id])
        found = super().await_end(queue, stored_id, wait_seconds)
        if before.ending is Ending.PENDING and _absent(found):
            threading.Event().wait(2.0)
        return found


class DoesNotWait(Breaker):
    """Looks at a job once where it should wait."""

    breaks = "I23"

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        return super().await_end(queue, stored_id, 0.0)


def _absent(found: JobEnd) -> bool:
    return found.ending is Ending.ABSENT
