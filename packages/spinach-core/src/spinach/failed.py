"""The failed store, as users see it: jobs that ended in failure."""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from spinach.brokers.calls import Cursor, FailedPortion
from spinach.clock import from_ms
from spinach.exc import InvalidArgument
from spinach.failed_filters import Filters
from spinach.job import JobStatus, job_from_record
from spinach.record.header import UnreadableRecord
from spinach.record.names import check_name
from spinach.support.checks import require_int, require_progress
from spinach.wanted import stored_id_of, wanted_job

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from spinach.brokers.base import Broker
    from spinach.brokers.calls import FailedFilter, FailedJob, PortionReply
    from spinach.brokers.failed_store import FailedStoreRole
    from spinach.definition.task import Task
    from spinach.failed_filters import ByError, BySince, ByTask
    from spinach.job import Job

__all__ = ["FailedEntry", "FailedStore"]

#: Most entries of a page, and most that may be passed over where several queues are merged.
_MOST: Final = 1000

#: Fewest jobs that one call asks for, however many queues share a page.
_FEWEST: Final = 10

_CURSOR: Final = re.compile(r"([0-9]{1,16})-([0-9]{1,9})-([01][0-9a-f-]{36})-([0-9a-f]{8})")


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
    #: Where it stands in its listing, for `list(after=...)` with the same queue and filters:
    #: printable ASCII that fits into a URL. It stays valid, in every process. `get` gives the
    #: place in `list()`. Entries that differ in nothing else are equal.
    cursor: str = field(compare=False)


class FailedStore:
    """Jobs that ended in failure, to look at, to run again, to forget; thread safe.

    A queue keeps the newest of them: 10,000 at most, for 30 days, and no more than 256 MiB,
    unless the broker of its workers was given another `FailedRetention`.

    Args:
        broker: that of the engine.
        resolve: finds the task of a function; raises UnknownTask.
    """

    def __init__(
        self, broker: Callable[[], Broker], resolve: Callable[[Any], Task[..., Any]]
    ) -> None:
        self._broker = broker
        self._resolve = resolve

    # -- looking -----------------------------------------------------------

    def get(self, job: Job | uuid.UUID | str) -> FailedEntry | None:
        """The entry of one job; what it costs does not depend on how many jobs failed.

        Args:
            job: a snapshot of it, or its id, which is looked for in all queues of the
                namespace.

        Returns:
            None where no queue of this namespace has it in its failed store: it did not fail,
            runs again, was discarded or trimmed, or the id is that of another namespace.

        Raises:
            InvalidArgument: neither a job nor an id, or a job of another namespace.
            BrokerError: the broker could not answer.
        """
        broker = self._broker()
        wanted = wanted_job(job, broker.namespace)
        queues = broker.queues() if wanted.queue is None else [wanted.queue]
        listing = self._filters(None, None, None).listing(broker.namespace, None)
        found = broker.find_failed(queues, wanted.stored_ids)
        entries = (_entry_of(each, listing, broker.namespace) for each in found)
        return next((entry for entry in entries if entry is not None), None)

    def list(
        self,
        queue: str | None = None,
        *,
        offset: int = 0,
        limit: int = 100,
        after: str | None = None,
        task: ByTask = None,
        error: ByError = None,
        since: BySince = None,
    ) -> list[FailedEntry]:
        """A page of the failed jobs, the newest first.

        With `after` a page follows the one before it, whatever was retried, discarded or
        failed in between. It is shorter than `limit` only when no more follow. So a filter that
        few jobs match reads on, 500 jobs at a time, to the end of the store if need be; between
        two portions the broker serves others.

        Args:
            queue: to look into; None looks into all queues of the namespace.
            offset: how many to pass over; at most 1,000 over all queues.
            limit: how many to return, at most 1,000.
            after: the cursor of the last entry of the page before, from a call with the same
                queue and filters; None begins with the newest.
            task: its jobs only: by its name, its function, or the `Task`.
            error: jobs that this class of exceptions ended, or its qualified name. Classes
                derived from it do not count.
            since: jobs that failed at this instant, which is aware, or later; a timedelta is
                counted back from now, with each page anew.

        Raises:
            InvalidName: bad queue or task name.
            InvalidArgument: a negative offset, an offset or limit out of range, an `after`
                that is no cursor, or of another listing; a filter of another type, or a naive
                `since`.
            UnknownTask: the function is no task of this engine.
            BrokerError: the broker could not answer.
        """
        if queue is None and isinstance(offset, int) and offset > _MOST:
            raise InvalidArgument(
                f"offset is {offset}, expected {_MOST} at most over all queues. To go deeper, "
                "pass after=entries[-1].cursor of the page before, or name a queue."
            )
        require_int(offset, "offset", 0, 2**53)
        require_int(limit, "limit", 1, _MOST)
        filters = self._filters(task, error, since)
        return [*islice(self._entries(queue, filters, offset, limit, after), limit)]

    def iterate(
        self,
        queue: str | None = None,
        *,
        task: ByTask = None,
        error: ByError = None,
        since: BySince = None,
    ) -> Iterator[FailedEntry]:
        """All failed jobs, the newest first, read page by page while you go on.

        Entries may be retried or discarded on the way. What fails meanwhile is left out.

        Args:
            queue: to look into; None looks into all queues of the namespace.
            task: as for `list`.
            error: as for `list`.
            since: as for `list`; a timedelta is counted back from this call.

        Raises:
            InvalidName: bad queue or task name.
            InvalidArgument: a filter of another type, or a naive `since`.
            UnknownTask: the function is no task of this engine.
            BrokerError: the broker could not answer.
        """
        return self._entries(queue, self._filters(task, error, since), 0, _MOST, None)

    def _filters(self, task: ByTask, error: ByError, since: BySince) -> Filters:
        return Filters(task, error, since, self._resolve)

    def _entries(
        self, queue: str | None, filters: Filters, offset: int, page: int, after: str | None
    ) -> Iterator[FailedEntry]:
        broker = self._broker()
        if queue is not None:
            check_name(queue, "queue")
        listing = filters.listing(broker.namespace, queue)
        place = _read_cursor(after, listing)
        matching = filters.matching(broker)
        if queue is not None:
            jobs = _walk(broker, queue, offset, page, place, matching)
        else:
            queues = broker.queues()
            share = min(page, max(_FEWEST, page // max(1, len(queues))))
            walks = [_walk(broker, each, 0, share, place, matching) for each in queues]
            merged = heapq.merge(*walks, key=lambda job: job.cursor, reverse=True)
            jobs = islice(merged, offset, None)
        entries = (_entry_of(job, listing, broker.namespace) for job in jobs)
        return (entry for entry in entries if entry is not None)

    # -- some of them ------------------------------------------------------

    def retry(self, *jobs: Job) -> int:
        """Put failed jobs back into their queues, with all their retries before them.

        This also runs a job again that was to run at most once: you ask for it.

        Returns:
            How many were in the failed store.

        Raises:
            InvalidArgument: not a job, or one of another namespace; nothing was done.
            BrokerError: the broker could not answer.
        """
        broker = self._broker()
        queues = _by_queue(jobs, broker.namespace)
        return sum(broker.retry_failed(queue, ids) for queue, ids in queues.items())

    def discard(self, *jobs: Job) -> int:
        """Forget failed jobs.

        Returns:
            How many were in the failed store.

        Raises:
            InvalidArgument: not a job, or one of another namespace; nothing was done.
            BrokerError: the broker could not answer.
        """
        broker = self._broker()
        queues = _by_queue(jobs, broker.namespace)
        return sum(broker.discard_failed(queue, ids) for queue, ids in queues.items())

    # -- all of them -------------------------------------------------------

    def retry_all(
        self,
        queue: str | None,
        *,
        task: ByTask = None,
        error: ByError = None,
        since: BySince = None,
        progress: Callable[[int], object] | None = None,
    ) -> int:
        """Put back all failed jobs that match, the oldest first, each as `retry` does.

        Those are meant that have failed before the call: what fails again meanwhile is left
        where it is. It is done 500 jobs at a time, and the broker serves others in between.
        Wherever it breaks off, each job is either in its queue or still in the failed store.
        The exception then has a note that says how many were put back; call it again for the
        rest.

        Args:
            queue: whose jobs; None means all queues of the namespace.
            task: as for `list`.
            error: as for `list`.
            since: as for `list`; a timedelta is counted back from this call.
            progress: is called after each portion, with the number of jobs so far. What it
                raises ends the call.

        Returns:
            How many jobs were put back.

        Raises:
            InvalidName: bad queue or task name.
            InvalidArgument: a filter of another type, a naive `since`, or a `progress` that cannot
                be called.
            UnknownTask: the function is no task of this engine.
            BrokerError: the broker could not answer. Some jobs may have been put back.
        """
        filters = self._filters(task, error, since)
        broker = self._broker()
        return _take_all(broker, queue, filters, broker.retry_matching, progress, "put back")

    def discard_all(
        self,
        queue: str | None,
        *,
        task: ByTask = None,
        error: ByError = None,
        since: BySince = None,
        progress: Callable[[int], object] | None = None,
    ) -> int:
        """Forget all failed jobs that match; for the rest it is as `retry_all`.

        Args:
            queue: whose jobs; None means all queues of the namespace.
            task: as for `list`.
            error: as for `list`.
            since: as for `retry_all`.
            progress: as for `retry_all`.

        Returns:
            How many jobs were forgotten.

        Raises:
            InvalidName: bad queue or task name.
            InvalidArgument: a filter of another type, a naive `since`, or a `progress` that cannot
                be called.
            UnknownTask: the function is no task of this engine.
            BrokerError: the broker could not answer. Some jobs may have been forgotten.
        """
        filters = self._filters(task, error, since)
        broker = self._broker()
        return _take_all(broker, queue, filters, broker.discard_matching, progress, "discarded")


def _walk(
    broker: FailedStoreRole,
    queue: str,
    offset: int,
    page: int,
    after: Cursor | None,
    matching: FailedFilter,
) -> Iterator[FailedJob]:
    """The failed jobs of a queue that match, `page` of them with each call."""
    while jobs := broker.failed_jobs(
        queue, offset=offset, limit=page, after=after, matching=matching
    ):
        yield from jobs
        if len(jobs) < page:
            return
        offset, after = 0, jobs[-1].cursor


def _take_all(
    broker: Broker,
    queue: str | None,
    filters: Filters,
    take: Callable[[str, FailedPortion], PortionReply],
    progress: Callable[[int], object] | None,
    verb: str,
) -> int:
    """Take out all failed jobs that match, portion by portion; how many there were."""
    require_progress(progress, "the number of jobs so far")
    queues = broker.queues() if queue is None else [check_name(queue, "queue")]
    matching = filters.matching(broker)
    count = 0
    try:
        for each in queues:
            # Up to the newest of now, or jobs that fail again would be taken for ever.
            for newest in broker.failed_jobs(each, limit=1):
                portion = FailedPortion(matching=matching, until=newest.cursor)
                while True:
                    reply = take(each, portion)
                    count += reply.count
                    if progress is not None and reply.count:
                        progress(count)
                    if reply.after is None:
                        break
                    portion = structs.replace(portion, after=reply.after)
    except BaseException as exc:
        exc.add_note(
            f"At least {count} failed jobs were {verb} before that. Each of the others is either "
            "done as well or still in the failed store: call it again for the rest."
        )
        raise
    return count


def _entry_of(found: FailedJob, listing: str, namespace: str) -> FailedEntry | None:
    """What users see of a failed job; None of one that only a newer release can show."""
    try:
        job = job_from_record(
            found.stored_id,
            found.record,
            retries=found.retries,
            status=JobStatus.FAILED,
            namespace=namespace,
        )
    except UnreadableRecord:
        return None
    return FailedEntry(
        job=job,
        failed_at=from_ms(found.failed_at_ms),
        error=found.failure.error,
        message=found.failure.message,
        traceback=found.failure.traceback,
        cursor=f"{found.failed_at_ms}-{found.order}-{found.stored_id}-{listing}",
    )


def _read_cursor(text: Any, listing: str) -> Cursor | None:
    if text is None:
        return None
    match = _CURSOR.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidArgument(
            f"after is {text!r}, expected the cursor of an entry: pass "
            "after=entries[-1].cursor of what list() returned."
        )
    if match[4] != listing:
        raise InvalidArgument(
            f"after is {text!r}, the cursor of another listing. Pass the queue, task, error and "
            "since of the page that it came from, on an engine of the same namespace."
        )
    return Cursor(int(match[1]), int(match[2]), match[3])


def _by_queue(jobs: tuple[Any, ...], namespace: str) -> dict[str, list[str]]:
    queues: dict[str, list[str]] = {}
    for job in jobs:
        stored = stored_id_of(job, namespace, "Pass entry.job of the entries that list() returns.")
        queues.setdefault(job.queue, []).append(stored)
    return queues
