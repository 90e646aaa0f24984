"""The failed store, as users see it: jobs that ended in failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import wire
from .checks import require_int
from .clock import from_ms
from .const import DEFAULT_QUEUE
from .exc import InvalidArgument
from .job import Job, JobStatus, job_from_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .brokers.base import Broker

__all__ = ["FailedEntry", "FailedStore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedEntry:
    """A job in the failed store, and why it is there."""

    job: Job
    #: Aware, UTC.
    failed_at: datetime
    #: Qualified name of the exception's class.
    error: str
    message: str
    #: Formatted; empty when the worker was lost.
    traceback: str


class FailedStore:
    """Jobs that ended in failure, to look at, to run again, to forget; thread safe.

    It keeps the newest 10,000 of a queue for 30 days.
    """

    def __init__(self, broker: Callable[[], Broker]) -> None:
        self._broker = broker

    def list(
        self, queue: str = DEFAULT_QUEUE, *, offset: int = 0, limit: int = 100
    ) -> list[FailedEntry]:
        """Failed jobs of a queue, the newest first.

        Args:
            queue: to look into.
            offset: how many of the newest to pass over.
            limit: how many to return, at most 1,000.

        Raises:
            InvalidName: bad queue name.
            InvalidArgument: a negative offset or a limit out of range.
            BrokerError: the broker could not answer.
        """
        wire.check_name(queue, "queue")
        require_int(offset, "offset", 0, 2**53)
        require_int(limit, "limit", 1, 1000)
        entries = []
        for entry in self._broker().failed_jobs(queue, offset=offset, limit=limit):
            try:
                job = job_from_record(
                    entry.stored_id, entry.record, retries=entry.retries, status=JobStatus.FAILED
                )
            except wire.UnreadableRecord:  # of a newer release, which can show it
                continue
            entries.append(
                FailedEntry(
                    job=job,
                    failed_at=from_ms(entry.failed_at_ms),
                    error=entry.failure.error,
                    message=entry.failure.message,
                    traceback=entry.failure.traceback,
                )
            )
        return entries

    def retry(self, *jobs: Job) -> int:
        """Put failed jobs back into their queues, with all their retries before them.

        This also runs a job again that was to run at most once: you ask for it.

        Returns:
            How many were in the failed store.

        Raises:
            InvalidArgument: not a job.
            BrokerError: the broker could not answer.
        """
        return sum(
            self._broker().retry_failed(queue, ids) for queue, ids in _by_queue(jobs).items()
        )

    def discard(self, *jobs: Job) -> int:
        """Forget failed jobs.

        Returns:
            How many were in the failed store.

        Raises:
            InvalidArgument: not a job.
            BrokerError: the broker could not answer.
        """
        return sum(
            self._broker().discard_failed(queue, ids) for queue, ids in _by_queue(jobs).items()
        )


def _by_queue(jobs: tuple[Any, ...]) -> dict[str, list[str]]:
    queues: dict[str, list[str]] = {}
    for job in jobs:
        if not isinstance(job, Job):
            raise InvalidArgument(
                f"{job!r} is not a job. Pass entry.job of the entries that list() returns."
            )
        stored = wire.stored_id(str(job.id), job.max_retries)
        queues.setdefault(job.queue, []).append(stored)
    return queues
