"""Queues, as operators see them: what they hold, and how to pause, resume and purge them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from spinach.brokers.calls import Verdict
from spinach.clock import from_ms
from spinach.const import PURGE_CHUNK
from spinach.exc import BrokerUnavailable, InvalidArgument
from spinach.job import JobStatus
from spinach.operating.flow import Flow, flow_over
from spinach.record.header import UnreadableRecord
from spinach.record.payload import decode_payload
from spinach.support.checks import require_progress
from spinach.support.log import ENGINE_LOGGER

if TYPE_CHECKING:
    from spinach.brokers.base import Broker
    from spinach.brokers.calls import QueueCounts, QueueSurvey
    from spinach.brokers.operating import Purgeable
    from spinach.operating.lookup import Lookup

__all__ = ["PurgeProgress", "QueueView", "Queues"]

#: Queues that are counted together.
_COUNTED: Final = 50

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)

#: What can be purged, and how many of it the counts tell.
_PURGEABLE: Final[Mapping[JobStatus, tuple[Purgeable, Callable[[QueueCounts], int]]]] = {
    JobStatus.QUEUED: ("queued", lambda counts: counts.ready + counts.held + counts.parked),
    JobStatus.WAITING: ("waiting", lambda counts: counts.future + counts.retrying),
    JobStatus.FAILED: ("failed", lambda counts: counts.failed),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """A queue, as it was when it was looked at.

    Its counts are of one instant. What follows them was read right after.
    """

    name: str
    #: Ready to be taken.
    ready: int
    #: Held until a slot of their limited task is free.
    held: int
    #: Parked, since no process that got them knows their task; by task. Those that could not be
    #: read count under the name of their park.
    parked: Mapping[str, int]
    #: In the hands of worker processes that live, running or about to.
    leased: int
    #: In the hands of processes that died, until their jobs are taken back.
    lost: int
    #: Waiting for their first instant.
    waiting: int
    #: Waiting for a retry.
    retrying: int
    #: In the failed store.
    failed: int
    #: Worker processes that live.
    workers: int
    #: Nothing is handed out.
    paused: bool
    #: How long ago the job that is first in line was to start, by the clock of the process that
    #: scheduled it; None where nothing is ready. A retry and a job that was given back count from
    #: their first instant.
    oldest_ready: timedelta | None
    #: Until the first waiting job or periodic task is due; zero or less when it is overdue; None
    #: when nothing waits.
    next_due_in: timedelta | None
    #: How many jobs came and ended; None where no worker lived lately.
    last_minute: Flow | None
    last_hour: Flow | None

    @property
    def unfinished(self) -> int:
        """Jobs that are not done: all but the failed ones."""
        return (
            self.ready
            + self.held
            + sum(self.parked.values())
            + self.leased
            + self.lost
            + self.waiting
            + self.retrying
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeProgress:
    """How far a purge has come."""

    queue: str
    #: Jobs that were forgotten.
    removed: int
    #: Jobs that were there when it began; some may have been taken by workers since.
    total: int


class Queues:
    """The queues of a namespace; thread safe. Made by the engine: `engine.queues`.

    What is set here is kept by the broker: it holds for all processes, and until it is taken back.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def list(self) -> list[QueueView]:
        """All queues that took a job or a worker once, or were paused, by name.

        The cost does not depend on how many jobs there are.

        Raises:
            BrokerError: the broker could not answer.
        """
        return _views(self._lookup.broker, self._lookup.queues())

    def get(self, queue: str) -> QueueView:
        """One queue.

        Raises:
            InvalidName: bad queue name.
            UnknownQueue: no such queue.
            BrokerError: the broker could not answer.
        """
        [view] = _views(self._lookup.broker, [self._lookup.queue(queue)])
        return view

    def pause(self, queue: str) -> bool:
        """Hand out no further job of a queue, in any process, until `resume`.

        Jobs that run end as usual, and so do those that a process has fetched already, a twentieth
        of a second of work at most. Due jobs become ready, periodic tasks are scheduled, and new
        jobs are taken: they wait. Workers that were started with `stop_when_queue_empty` go on
        waiting while a paused queue holds jobs.

        Returns:
            Whether the queue was not paused before.

        Raises:
            InvalidName: bad queue name.
            UnknownQueue: no such queue.
            BrokerError: the broker could not do it.
        """
        return self._set_paused(queue, paused=True)

    def resume(self, queue: str) -> bool:
        """Let a paused queue go on; workers that wait are woken at once.

        Returns:
            Whether the queue was paused before.

        Raises:
            InvalidName: bad queue name.
            UnknownQueue: no such queue.
            BrokerError: the broker could not do it.
        """
        return self._set_paused(queue, paused=False)

    def purge(
        self,
        queue: str,
        status: JobStatus | Iterable[JobStatus] = (JobStatus.QUEUED, JobStatus.WAITING),
        *,
        progress: Callable[[PurgeProgress], object] | None = None,
    ) -> int:
        """Forget the jobs of a queue that have a status, five hundred with each call.

        They are gone for good: they do not run, and no signal tells of them. Jobs that run are
        left alone, and so are most jobs that come while the purge goes on: it ends when as many
        are forgotten as there were when it began. It may be interrupted at any time, by an
        exception in `progress` as well: each job is forgotten, or is where it was. The exception
        then has a note that says how many were forgotten.

        Args:
            queue: its name.
            status: QUEUED (ready, held by a limit, or parked), WAITING (for later, or for a
                retry), FAILED, or several of them. Without it all that did not start: QUEUED
                and WAITING.
            progress: called after each part, in this thread.

        Returns:
            How many jobs were forgotten.

        Raises:
            InvalidName: bad queue name.
            UnknownQueue: no such queue.
            InvalidArgument: a status that cannot be purged, or a `progress` that cannot be called.
            BrokerError: the broker could not do it; after a lost answer the last part is
                unknown, and the purge may be made again.
        """
        chosen = _chosen(status)
        require_progress(progress, "a PurgeProgress")
        queue = self._lookup.queue(queue)
        broker = self._lookup.broker
        [counts] = _counted(broker, [queue])
        total = sum(count(counts) for _, count in chosen)
        removed = 0
        try:
            for purgeable, count in chosen:
                left, more = count(counts), True
                while left > 0 and more:
                    reply = broker.purge(queue, purgeable, min(left, PURGE_CHUNK))
                    removed += reply.removed
                    left -= reply.removed
                    more = reply.more
                    if progress is not None:
                        progress(PurgeProgress(queue=queue, removed=removed, total=total))
        except BaseException as exc:
            exc.add_note(
                f"At least {removed} jobs of queue {queue} were forgotten before that. Each of the "
                "others is either forgotten as well or where it was: call it again for the rest."
            )
            raise
        finally:
            # Of one that breaks off as well, since these jobs are gone for good.
            ENGINE_LOGGER.info(
                "Queue %s was purged of %d jobs", queue, removed, extra={"queue": queue}
            )
        return removed

    def _set_paused(self, queue: str, *, paused: bool) -> bool:
        return self._lookup.broker.set_paused(self._lookup.queue(queue), paused=paused)


def _chosen(status: Any) -> list[tuple[Purgeable, Callable[[QueueCounts], int]]]:
    several = isinstance(status, Iterable) and not isinstance(status, (str, bytes))
    wanted: list[Any] = [*status] if several else [status]
    for each in wanted:
        if each is JobStatus.RUNNING:
            raise InvalidArgument(
                "status is JobStatus.RUNNING, but a job that runs cannot be purged. Pass "
                "JobStatus.QUEUED, WAITING or FAILED, and let it end."
            )
        if not isinstance(each, JobStatus) or each not in _PURGEABLE:
            raise InvalidArgument(
                f"status is {each!r}, expected JobStatus.QUEUED, WAITING or FAILED, or several "
                "of them."
            )
    if not wanted:
        raise InvalidArgument("status is empty, expected at least one, such as JobStatus.QUEUED.")
    return [_PURGEABLE[each] for each in dict.fromkeys(wanted)]


def _counted(broker: Broker, queues: list[str]) -> list[QueueCounts]:
    counted = broker.counts(queues)
    for counts in counted:
        if counts.verdict is not Verdict.APPLIED:
            raise counts.error or BrokerUnavailable(f"Queue {counts.queue} could not be counted.")
    return counted


def _views(broker: Broker, queues: list[str]) -> list[QueueView]:
    return [
        _view(counts, broker.survey(counts.queue))
        for at in range(0, len(queues), _COUNTED)
        for counts in _counted(broker, queues[at : at + _COUNTED])
    ]


def _view(counts: QueueCounts, survey: QueueSurvey) -> QueueView:
    due_ms = counts.next_due_in_ms
    return QueueView(
        name=counts.queue,
        ready=counts.ready,
        held=counts.held,
        parked=dict(counts.parks),
        leased=counts.leased,
        lost=counts.leased_by_dead,
        waiting=counts.future,
        retrying=counts.retrying,
        failed=counts.failed,
        workers=counts.members,
        paused=survey.paused,
        oldest_ready=_age(survey),
        next_due_in=None if due_ms is None else timedelta(milliseconds=due_ms),
        last_minute=flow_over(survey, _MINUTE),
        last_hour=flow_over(survey, _HOUR),
    )


def _age(survey: QueueSurvey) -> timedelta | None:
    """How long ago the job that is first in line was to start."""
    if survey.first_ready is None:
        return None
    try:
        at = from_ms(decode_payload(survey.first_ready)[2])
    except (UnreadableRecord, OverflowError):
        return None  # of a newer release; the next one may be readable
    return max(timedelta(0), from_ms(survey.now_ms) - at)
