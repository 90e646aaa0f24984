"""The failed store, as users see it: jobs that ended in failure."""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from spinach.brokers.calls import Cursor
from spinach.clock import from_ms
from spinach.exc import InvalidArgument
from spinach.job import Job, JobStatus, job_from_record
from spinach.record.header import UnreadableRecord
from spinach.record.ids import stored_id
from spinach.record.names import check_name
from spinach.support.checks import require_int

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from spinach.brokers.base import Broker
    from spinach.brokers.calls import FailedJob
    from spinach.brokers.failed_store import FailedStoreRole

__all__ = ["FailedEntry", "FailedStore"]

#: Most entries of a page, and most that may be passed over where several queues are merged.
_MOST: Final = 1000

#: Fewest jobs that one call asks for, however many queues share a page.
_FEWEST: Final = 10

_CURSOR: Final = re.compile(r"([0-9]{1,16})-([0-9]{1,9})-([01][0-9a-f-]{36})")


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
    #: Where it stands, for `list(after=...)`: printable ASCII that fits into a URL. It stays
    #: valid, in every process.
    cursor: str


class FailedStore:
    """Jobs that ended in failure, to look at, to run again, to forget; thread safe.

    A queue keeps the newest of them: 10,000 at most, for 30 days, and no more than 256 MiB.
    """

    def __init__(self, broker: Callable[[], Broker]) -> None:
        self._broker = broker

    def list(
        self,
        queue: str | None = None,
        *,
        offset: int = 0,
        limit: int = 100,
        after: str | None = None,
    ) -> list[FailedEntry]:
        """A page of the failed jobs, the newest first.

        With `after` a page follows the one before it, whatever was retried, discarded or
        failed in between. It is shorter than `limit` only when no more follow.

        Args:
            queue: to look into; None looks into all queues of the namespace.
            offset: how many to pass over; at most 1,000 over all queues.
            limit: how many to return, at most 1,000.
            after: the cursor of the last entry of the page before; None begins with the
                newest.

        Raises:
            InvalidName: bad queue name.
            InvalidArgument: a negative offset, an offset or limit out of range, or an `after`
                that is no cursor.
            BrokerError: the broker could not answer.
        """
        if queue is None and isinstance(offset, int) and offset > _MOST:
            raise InvalidArgument(
                f"offset is {offset}, expected {_MOST} at most over all queues. To go deeper, "
                "pass after=entries[-1].cursor of the page before, or name a queue."
            )
        require_int(offset, "offset", 0, 2**53)
        require_int(limit, "limit", 1, _MOST)
        entries = self._entries(queue, offset, limit, _read_cursor(after))
        return [*islice(entries, limit)]

    def iterate(self, queue: str | None = None) -> Iterator[FailedEntry]:
        """All failed jobs, the newest first, read page by page while you go on.

        Entries may be retried or discarded on the way. What fails meanwhile is left out.

        Args:
            queue: to look into; None looks into all queues of the namespace.

        Raises:
            InvalidName: bad queue name.
            BrokerError: the broker could not answer.
        """
        return self._entries(queue, 0, _MOST, None)

    def _entries(
        self, queue: str | None, offset: int, page: int, after: Cursor | None
    ) -> Iterator[FailedEntry]:
        broker = self._broker()
        if queue is not None:
            check_name(queue, "queue")
            jobs = _walk(broker, queue, offset, page, after)
        else:
            queues = broker.queues()
            share = min(page, max(_FEWEST, page // max(1, len(queues))))
            walks = [_walk(broker, each, 0, share, after) for each in queues]
            merged = heapq.merge(*walks, key=lambda job: job.cursor, reverse=True)
            jobs = islice(merged, offset, None)
        return (entry for entry in map(_entry_of, jobs) if entry is not None)

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


def _walk(
    broker: FailedStoreRole, queue: str, offset: int, page: int, after: Cursor | None
) -> Iterator[FailedJob]:
    """The failed jobs of a queue, `page` of them with each call."""
    while jobs := broker.failed_jobs(queue, offset=offset, limit=page, after=after):
        yield from jobs
        if len(jobs) < page:
            return
        offset, after = 0, jobs[-1].cursor


def _entry_of(found: FailedJob) -> FailedEntry | None:
    """What users see of a failed job; None of one that only a newer release can show."""
    try:
        job = job_from_record(
            found.stored_id, found.record, retries=found.retries, status=JobStatus.FAILED
        )
    except UnreadableRecord:
        return None
    return FailedEntry(
        job=job,
        failed_at=from_ms(found.failed_at_ms),
        error=found.failure.error,
        message=found.failure.message,
        traceback=found.failure.traceback,
        cursor=f"{found.failed_at_ms}-{found.order}-{found.stored_id}",
    )


def _read_cursor(text: Any) -> Cursor | None:
    if text is None:
        return None
    match = _CURSOR.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidArgument(
            f"after is {text!r}, expected the cursor of an entry: pass "
            "after=entries[-1].cursor of what list() returned."
        )
    return Cursor(int(match[1]), int(match[2]), match[3])


def _by_queue(jobs: tuple[Any, ...]) -> dict[str, list[str]]:
    queues: dict[str, list[str]] = {}
    for job in jobs:
        if not isinstance(job, Job):
            raise InvalidArgument(
                f"{job!r} is not a job. Pass entry.job of the entries that list() returns."
            )
        stored = stored_id(str(job.id), job.max_retries)
        queues.setdefault(job.queue, []).append(stored)
    return queues
