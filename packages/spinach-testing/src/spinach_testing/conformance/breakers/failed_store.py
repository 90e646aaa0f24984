"""Breakers of the failed store, its pages, and the list of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinach.brokers.calls import Verdict
from spinach.outcome import OutcomeKind

from .base import Breaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import Cursor, FailedFilter, FailedJob, ReportReply
    from spinach.outcome import Outcome

_LARGE_BYTES = 1024 * 1024


class KeepsFailedJobsOfAnySize(Breaker):
    """Keeps large failed jobs however many bytes they have in all."""

    breaks = "I19"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        reply = super().report(outcomes)
        for queue in {
            each.lease.queue for each in outcomes if len(each.lease.record) > _LARGE_BYTES
        }:
            large = self.inner.failed_jobs(queue, limit=1000)
            self.family.large.update((job.stored_id, job) for job in large)
        return reply

    def failed_jobs(
        self,
        queue: str,
        *,
        offset: int = 0,
        limit: int = 100,
        after: Cursor | None = None,
        matching: FailedFilter | None = None,
    ) -> list[FailedJob]:
        found: dict[str, FailedJob] = {
            job.stored_id: job
            for job in super().failed_jobs(queue, limit=1000, after=after, matching=matching)
        }
        kept = sorted(
            {**self.family.large, **found}.values(), key=lambda job: job.cursor, reverse=True
        )
        return kept[offset : offset + limit]


class CountsEachMention(Breaker):
    """Counts a failed job as often as it is named."""

    breaks = "I1"

    def retry_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        there = {job.stored_id for job in self.inner.failed_jobs(queue, limit=1000)}
        super().retry_failed(queue, stored_ids)
        return sum(each in there for each in stored_ids)


class ListsFailedJobsAsTheyCame(Breaker):
    """Lists failed jobs in the order in which they were reported."""

    breaks = "I1"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        reply = super().report(outcomes)
        self.family.failed += [
            outcome.lease.stored_id
            for outcome, verdict in zip(outcomes, reply.verdicts, strict=True)
            if outcome.kind is OutcomeKind.FAILED and verdict is Verdict.APPLIED
        ]
        return reply

    def failed_jobs(
        self,
        queue: str,
        *,
        offset: int = 0,
        limit: int = 100,
        after: Cursor | None = None,
        matching: FailedFilter | None = None,
    ) -> list[FailedJob]:
        jobs = super().failed_jobs(
            queue, offset=offset, limit=limit, after=after, matching=matching
        )
        if all(job.stored_id in self.family.failed for job in jobs):
            jobs.sort(key=lambda job: self.family.failed.index(job.stored_id), reverse=True)
        return jobs


class LosesThePlaceOfJobsThatAreGone(Breaker):
    """Begins a page with the newest job when it should follow a job that is there no longer."""

    breaks = "I1"

    def failed_jobs(
        self,
        queue: str,
        *,
        offset: int = 0,
        limit: int = 100,
        after: Cursor | None = None,
        matching: FailedFilter | None = None,
    ) -> list[FailedJob]:
        there = {job.cursor for job in super().failed_jobs(queue, limit=1000)}
        known = after if after in there else None
        return super().failed_jobs(
            queue, offset=offset, limit=limit, after=known, matching=matching
        )


class ForgetsQueuesWithoutMembers(Breaker):
    """Names only queues that have a member."""

    breaks = "I1"

    def queues(self) -> list[str]:
        counts = self.inner.counts(super().queues())
        return [each.queue for each in counts if each.members]


class ListsQueuesThatWereAskedFor(Breaker):
    """Takes a question about a queue for the queue."""

    breaks = "I21"

    def failed_jobs(
        self,
        queue: str,
        *,
        offset: int = 0,
        limit: int = 100,
        after: Cursor | None = None,
        matching: FailedFilter | None = None,
    ) -> list[FailedJob]:
        self.family.asked.add(queue)
        return super().failed_jobs(
            queue, offset=offset, limit=limit, after=after, matching=matching
        )

    def queues(self) -> list[str]:
        return sorted({*super().queues(), *self.family.asked})
