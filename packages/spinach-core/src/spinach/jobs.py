"""Jobs wherever they are, as users see them: to look at, to take back, to wait for."""

from __future__ import annotations

import base64
import json
import logging
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spinach import signals
from spinach.brokers.calls import CancelVerdict, FoundJob, Place
from spinach.clock import from_ms
from spinach.definition.task import name_of_task
from spinach.exc import InvalidArgument, WaitTimeout
from spinach.job import Job, JobStatus, job_from_record, log_fields
from spinach.progress import Progress
from spinach.record.header import UnreadableRecord
from spinach.record.ids import job_id_of
from spinach.record.names import check_name
from spinach.support.checks import require_int
from spinach.support.log import JOB_LOGGER
from spinach.support.shield import SHIELD
from spinach.wanted import wanted_job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from spinach.brokers.base import Broker
    from spinach.brokers.calls import CancelReply
    from spinach.definition.task import Task, Wanted
    from spinach.record.ids import StoredId
    from spinach.wanted import WantedJob

__all__ = ["CancelVerdict", "JobView", "JobWorker", "Jobs", "JobsPage", "Place", "Progress"]

#: Most jobs of a page.
_MOST: Final = 1000

#: The places behind the states that a listing can ask for.
_PLACES: Final = {
    JobStatus.QUEUED: (Place.READY, Place.HELD, Place.PARKED),
    JobStatus.RUNNING: (Place.LEASED,),
    JobStatus.WAITING: (Place.FUTURE,),
    JobStatus.FAILED: (Place.FAILED,),
}
_STATUS: Final = {place: status for status, places in _PLACES.items() for place in places}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWorker:
    """The worker process that has a job."""

    #: As the process told of itself; None where that is not known.
    host: str | None
    pid: int | None
    #: Its membership in the queue, as logs name it.
    member: str
    #: Aware, UTC: since when it has the job; None where that is not known.
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job as the broker had it when it was asked; it does not follow what happens later."""

    id: uuid.UUID
    #: WAITING, QUEUED, RUNNING or FAILED.
    status: JobStatus
    #: The same, and closer: what it waits for.
    place: Place
    queue: str
    #: With task, arguments and retries; None where only a newer release can read the record.
    job: Job | None
    #: Whether `status` and `ahead` are exactly so. Not of a job in the buffer of a worker
    #: process, which tells nobody when it starts; nor of one that stands behind more than a
    #: thousand others.
    exact: bool
    #: Jobs that come before it where it waits, the least there can be unless it is exact. None:
    #: it waits behind none, or that was not looked at, as in a list.
    ahead: int | None
    #: Of a held job the task whose limit is used up, else None.
    held_by: str | None
    #: Of a parked job why it is parked, else None.
    parked_because: str | None
    #: Of a running job who has it, else None.
    worker: JobWorker | None
    #: Of a waiting job when it becomes ready; aware, UTC. Else None.
    waiting_until: datetime | None
    #: Of a failed job since when it is in the failed store; aware, UTC. Else None.
    failed_at: datetime | None
    #: Attempts that were spent, and worker processes that were lost while they ran it.
    attempts: int
    losses: int
    #: Why the last attempt failed: qualified name of the exception's class, its message, and
    #: the traceback, which only failed jobs have. Empty where none failed.
    error: str
    message: str
    traceback: str
    #: How far a running job says it has come; None where it says nothing.
    progress: Progress | None
    #: Whether the cancel of a running job was asked for.
    cancel_requested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsPage:
    """Some jobs of a queue, and where the next page begins."""

    jobs: tuple[JobView, ...]
    #: For `list(cursor=...)`: printable ASCII that fits into a URL. None: this is the last page.
    cursor: str | None


class Jobs:
    """Jobs wherever they are, to look at, to take back, to wait for; thread safe.

    What a call costs does not depend on how many jobs wait.

    Args:
        broker: asked for at each call.
        namespace: sender of the signals.
        resolve: finds the task of a function; raises UnknownTask.
        may_wait: called with the name of the method and its timeout before a wait; returns the
            seconds, and raises where the thread may not wait.
    """

    def __init__(
        self,
        broker: Callable[[], Broker],
        namespace: str,
        resolve: Callable[[Any], Task[..., Any]],
        may_wait: Callable[[str, timedelta | None], float],
    ) -> None:
        self._broker = broker
        self._namespace = namespace
        self._resolve = resolve
        self._may_wait = may_wait

    def get(self, job: Job | uuid.UUID | str) -> JobView | None:
        """Where a job is.

        Args:
            job: as `schedule` answered it, or its id. An id is looked for in all queues of the
                namespace, with one call each.

        Returns:
            None: there is no such job any more, or there never was. It succeeded, expired, was
            cancelled, purged or discarded, or was trimmed from the failed store.

        Raises:
            InvalidArgument: neither a job nor an id, or a job of another namespace.
            BrokerError: the broker could not answer.
        """
        broker = self._broker()
        wanted = wanted_job(job, self._namespace)
        queues = [wanted.queue] if wanted.queue is not None else broker.queues()
        found = broker.find_jobs(queues, wanted.stored_ids)
        return _view(found[0], self._namespace) if found else None

    def list(
        self,
        queue: str,
        *,
        status: JobStatus | None = None,
        task: Wanted | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> JobsPage:
        """A page of the jobs of a queue.

        A job that is there from the first page to the last is on one of them, whatever comes,
        goes and moves meanwhile. One call looks at some hundred jobs at most: with a `status` or a
        `task` that few jobs have, a page may be shorter than `limit`, even empty, although others
        follow. Waiting and failed jobs are in the order of their instants, running ones in that
        in which they were fetched; otherwise the order is the broker's own.

        Args:
            queue: to look into.
            status: WAITING, QUEUED, RUNNING or FAILED; None lists all. Jobs in other states are
                not kept.
            task: of the jobs: its name, its function, or the `Task`; None lists all. By name it
                need not be attached to the engine.
            cursor: of the page before, which was asked for with the same queue, status and task;
                None begins.
            limit: how many to return at most, up to 1,000.

        Raises:
            InvalidName: bad name of the queue or the task.
            InvalidArgument: a status that no job here has, nothing that names a task, a limit out
                of range, or a cursor that is none, or that of another listing.
            UnknownTask: the function is no task of this engine.
            BrokerError: the broker could not answer.
        """
        check_name(queue, "queue")
        name = None if task is None else name_of_task(task, self._resolve)
        if status is not None and (not isinstance(status, JobStatus) or status not in _PLACES):
            raise InvalidArgument(
                f"status is {status!r}, expected JobStatus.WAITING, QUEUED, RUNNING or FAILED. "
                "A job in another state is not kept, so that none can be listed."
            )
        require_int(limit, "limit", 1, _MOST)
        listing = [self._namespace, queue, "" if status is None else status.value, name or ""]
        page = self._broker().list_jobs(
            queue,
            places=() if status is None else _PLACES[status],
            task=name,
            cursor=_read_cursor(cursor, listing),
            limit=limit,
        )
        return JobsPage(
            jobs=tuple(_view(job, self._namespace) for job in page.jobs),
            cursor=None if page.cursor is None else _write_cursor(listing, page.cursor),
        )

    def cancel(self, *jobs: Job | uuid.UUID | str) -> tuple[CancelVerdict, ...]:
        """Take jobs back.

        A job that no worker has is gone at once, also from all counts, and starts no more; signal
        `job_cancelled` tells of it here, in the process that cancels. The task of a running one
        sees it when its process next proves its life, ten seconds later at most with a lease of
        thirty: `current_job().cancelled`. If it does not heed it, it runs to its end; but it is
        not retried.

        Args:
            jobs: as `schedule` answered them, or their ids. An id is looked for in all queues of
                the namespace.

        Returns:
            What each cancel came to, in order: CANCELLED, REQUESTED (it runs, or is about to),
            FINISHED (it was over before) or UNKNOWN (an id of which the broker knows nothing:
            the job is over, or there never was one).

        Raises:
            InvalidArgument: neither a job nor an id, or a job of another namespace; nothing was
                cancelled.
            BrokerError: the broker could not answer, and some may be cancelled.
        """
        wanted = [wanted_job(job, self._namespace) for job in jobs]
        broker = self._broker()
        listed: Sequence[str] | None = None
        # Queue → positions, and the stored ids to cancel there.
        calls: dict[str, list[tuple[int, StoredId]]] = {}
        for position, each in enumerate(wanted):
            if each.queue is not None:
                queues: Sequence[str] = [each.queue]
            else:
                listed = queues = broker.queues() if listed is None else listed
            for queue in queues:
                calls.setdefault(queue, []).extend((position, i) for i in each.stored_ids)
        verdicts = [
            CancelVerdict.UNKNOWN if each.queue is None else CancelVerdict.FINISHED
            for each in wanted
        ]
        for queue, asked in calls.items():
            replies = broker.cancel_jobs(queue, [stored for _, stored in asked])
            for (position, stored), reply in zip(asked, replies, strict=True):
                if reply.verdict is not CancelVerdict.UNKNOWN:
                    verdicts[position] = reply.verdict
                if reply.verdict is CancelVerdict.CANCELLED:
                    self._tell(stored, reply)
        return tuple(verdicts)

    def wait(
        self, *jobs: Job | uuid.UUID | str, timeout: timedelta | None
    ) -> tuple[JobView | None, ...]:
        """Wait until jobs are over, of tasks that keep no results.

        It looks again and again, after pauses that grow to a second; each look is one call for
        each queue. Where the task keeps its results, `Engine.result` waits without looking.

        Args:
            jobs: as for `get`.
            timeout: longest wait for all of them, on the broker's clock; 0 looks once, None waits
                without an end.

        Returns:
            For each job, in order, None if it is gone, as `get` has it, or a view if it failed.

        Raises:
            WaitTimeout: one of them is not over.
            WaitInWorker: called in one of this engine's own threads, and the timeout is not 0.
            InvalidArgument: neither a job nor an id, a job of another namespace, or a timeout
                that makes no sense.
            BrokerError: the broker could not answer.
        """
        wanted = [wanted_job(job, self._namespace) for job in jobs]
        seconds = self._may_wait("jobs.wait", timeout)
        over: dict[int, JobView | None] = {}

        def all_over() -> bool:
            left = [position for position in range(len(wanted)) if position not in over]
            over.update(self._over(wanted, left))
            return len(over) == len(wanted)

        stored_ids = [each for job in wanted for each in job.stored_ids]
        if not self._broker().watch(stored_ids, all_over, seconds):
            raise WaitTimeout(
                f"{len(wanted) - len(over)} of {len(wanted)} jobs are not over after "
                f"{seconds:g} seconds. They go on: wait again, or ask jobs.get() where they are."
            )
        return tuple(over[position] for position in range(len(wanted)))

    def _over(
        self, wanted: Sequence[WantedJob], positions: Sequence[int]
    ) -> dict[int, JobView | None]:
        """Those of the positions whose job is over, with what there is of it."""
        broker = self._broker()
        by_queues: dict[str | None, list[StoredId]] = {}
        for position in positions:
            by_queues.setdefault(wanted[position].queue, []).extend(wanted[position].stored_ids)
        found: dict[str, FoundJob] = {}
        for queue, stored_ids in by_queues.items():
            queues = broker.queues() if queue is None else [queue]
            found.update((job.stored_id, job) for job in broker.find_jobs(queues, stored_ids))
        over: dict[int, JobView | None] = {}
        for position in positions:
            there = [found[each] for each in wanted[position].stored_ids if each in found]
            if not there:
                over[position] = None
            elif there[0].place is Place.FAILED:
                over[position] = _view(there[0], self._namespace)
        return over

    def _tell(self, stored: StoredId, reply: CancelReply) -> None:
        """Log that a job was cancelled, and send the signal."""
        if not (signals.job_cancelled.receivers or JOB_LOGGER.isEnabledFor(logging.INFO)):
            return
        try:
            job = job_from_record(
                stored,
                reply.record,
                retries=reply.retries,
                status=JobStatus.CANCELLED,
                namespace=self._namespace,
            )
        except UnreadableRecord:
            return  # Only a newer release can tell what it was.
        with SHIELD:
            JOB_LOGGER.info(
                "Job cancelled: %s %s", job.task_name, job.id_text, extra=log_fields(job)
            )
        with SHIELD:
            signals.job_cancelled.send(self._namespace, job=job)


def _view(found: FoundJob, namespace: str) -> JobView:
    """What users see of a job of a namespace."""
    place = found.place
    status = _STATUS[place]
    try:
        job = job_from_record(
            found.stored_id,
            found.record,
            retries=found.retries,
            status=status,
            namespace=namespace,
        )
    except UnreadableRecord:
        job = None
    failure = found.failure
    return JobView(
        id=uuid.UUID(job_id_of(found.stored_id)),
        status=status,
        place=place,
        queue=found.queue,
        job=job,
        exact=found.ahead_exact and (place is not Place.LEASED or found.direct),
        ahead=found.ahead,
        held_by=found.lane if place is Place.HELD else None,
        parked_because=_parked_because(found) if place is Place.PARKED else None,
        worker=_worker_of(found) if place is Place.LEASED else None,
        waiting_until=None if found.due_ms is None else from_ms(found.due_ms),
        failed_at=None if found.failed_ms is None else from_ms(found.failed_ms),
        attempts=found.retries,
        losses=found.losses,
        error="" if failure is None else failure.error,
        message="" if failure is None else failure.message,
        traceback="" if failure is None else failure.traceback,
        progress=found.progress,
        cancel_requested=found.cancel_requested,
    )


def _parked_because(found: FoundJob) -> str:
    if "|" in found.lane or not found.lane:
        return "No worker process that fetched it can read its record: start a newer release."
    return (
        f"No worker process that fetched it knows task {found.lane!r}: start one that attaches it."
    )


def _worker_of(found: FoundJob) -> JobWorker:
    pid = found.info.get("pid", "")
    return JobWorker(
        host=found.info.get("host"),
        pid=int(pid) if pid.isdecimal() else None,
        member=found.member,
        since=None if found.leased_ms is None else from_ms(found.leased_ms),
    )


def _write_cursor(listing: Sequence[str], place: str) -> str:
    text = json.dumps([*listing, place], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: Any, listing: Sequence[str]) -> str | None:
    """The broker's own cursor.

    Raises:
        InvalidArgument: no cursor, or one of another listing.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        *made_for, place = parts
    except (TypeError, ValueError, AttributeError, RecursionError):
        made_for, place = [], None
    if not isinstance(place, str) or len(made_for) != len(listing):
        raise InvalidArgument(
            f"cursor is {cursor!r}, expected that of the page before: pass cursor=page.cursor of "
            "what list() returned."
        )
    if made_for != [*listing]:
        namespace, queue, status, task = made_for
        raise InvalidArgument(
            f"cursor is that of another listing: namespace {namespace!r}, queue {queue!r}, status "
            f"{status or None!r}, task {task or None!r}. Go on with the same arguments on an "
            "engine of that namespace, or begin with cursor=None."
        )
    return place
