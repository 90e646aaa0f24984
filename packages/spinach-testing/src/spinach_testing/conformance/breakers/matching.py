"""Breakers of what looks for some of the failed jobs, and of what a failed store keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from spinach.brokers.calls import Cursor, PortionReply
from spinach.const import FAILED_CHUNK
from spinach.retention import FailedRetention

from .base import Breaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import (
        Enrolment,
        FailedFilter,
        FailedJob,
        FailedPortion,
        JoinReply,
    )


class FindsInTheFirstQueueAlone(Breaker):
    """Looks for a failed job in the first of the queues, and in no other."""

    breaks = "I1"

    def find_failed(self, queues: Sequence[str], stored_ids: Sequence[str]) -> list[FailedJob]:
        return super().find_failed(queues[:1], stored_ids)


class TakesTheBeginningForTheName(Breaker):
    """Lists jobs whose error begins with the name that was asked for."""

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
        error = None if matching is None else matching.error
        if matching is None or error is None:
            return super().failed_jobs(
                queue, offset=offset, limit=limit, after=after, matching=matching
            )
        any_error = structs.replace(matching, error=None)
        jobs = super().failed_jobs(queue, limit=10**6, after=after, matching=any_error)
        found = [job for job in jobs if job.failure.error.startswith(error)]
        return found[offset : offset + limit]


class EndsThePageWithThePortion(Breaker):
    """Gives up a page with a filter where the first portion of jobs has been looked at."""

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
        if matching is None:
            return super().failed_jobs(queue, offset=offset, limit=limit, after=after)
        jobs = super().failed_jobs(queue, limit=FAILED_CHUNK, after=after)
        return [job for job in jobs if matching.admits(job)][offset : offset + limit]


class TakesAllAtOnce(Breaker):
    """Takes everything that matches in one portion, however much it is."""

    breaks = "I19"

    def retry_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        reply = super().retry_matching(queue, portion)
        count = reply.count
        while reply.after is not None:
            reply = super().retry_matching(queue, structs.replace(portion, after=reply.after))
            count += reply.count
        return PortionReply(count=count, after=None)


class TakesWhatFailedAgain(Breaker):
    """Takes jobs as well that failed after the last place that counts."""

    breaks = "I1"

    def retry_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        newest = Cursor(2**52, 0, "1")
        return super().retry_matching(queue, structs.replace(portion, until=newest))


class TakesOnePortionOnly(Breaker):
    """Says after the first portion that nothing is left."""

    breaks = "I1"

    def discard_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        return structs.replace(super().discard_matching(queue, portion), after=None)


class ForgetsWhatShouldRunAgain(Breaker):
    """Forgets the failed jobs that match where they should run again."""

    breaks = "I1"

    def retry_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        return super().discard_matching(queue, portion)


class KeepsWhatItLikes(Breaker):
    """Keeps failed jobs by number, age and bytes as if nobody had said anything."""

    breaks = "I19"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        self.inner.failed_retention = FailedRetention()
        return super().join(queue, member, enrolment)


class LetsTheFirstWorkerSayWhatIsKept(Breaker):
    """Keeps what the worker said that joined first, whoever joins later."""

    breaks = "I19"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        said = self.family.retention.setdefault(queue, self.inner.failed_retention)
        self.inner.failed_retention = said
        return super().join(queue, member, enrolment)
