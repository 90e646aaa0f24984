"""One call of a test's worker: production threads from its start to its end.

1. `Engine.start_workers` starts the threads; the clock is reserved for the call.
2. The test's thread polls whether everything is done. It turns the clock only when that is so
   and every thread of the engine waits (`VirtualClock.turn`).
3. `Engine.stop_workers` stops the threads, and they are joined. A thread whose job hangs is left
   behind as a daemon; the end of the test names it.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from spinach import ALL_QUEUES
from spinach.brokers.calls import Verdict
from spinach.const import BEATS_PER_LEASE
from spinach.job import JobStatus
from spinach.support.realtime import time

from . import listing
from .clock import VirtualClock
from .errors import UnfinishedJobs
from .sleeping import Sleeping
from .threads import join, join_idle, of_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spinach.brokers.calls import QueueCounts

    from .errors import DrainTimeout
    from .recording import Recording

__all__ = ["Session", "queues_of", "session"]

#: Between two polls, in real seconds: at first, and at most.
_SHORTEST_PAUSE_SECONDS = 0.0001
_LONGEST_PAUSE_SECONDS = 0.002

#: Real seconds that idle threads get to end after the stop. They need more only if something is
#: broken.
_STOP_SECONDS = 20.0

_OPEN = (JobStatus.WAITING, JobStatus.QUEUED, JobStatus.RUNNING)


class Session:
    """Workers that run; used by the test's thread.

    Args:
        recording: of the engine.
        timeout: real seconds that jobs get, counted anew at each `until_idle`.
    """

    def __init__(self, recording: Recording, timeout: float) -> None:
        self._recording = recording
        self._queues: dict[str, None] = {}
        self._timeout = timeout
        self._pause = threading.Event()  # never set, only waited for
        #: Of the engine.
        self.threads: set[threading.Thread] = set()
        #: Workers were started, even if all of them ended before `threads` was filled.
        self.has_workers = False
        #: More attempts than this fail the test; None: no limit.
        self.most_attempts: int | None = None

    def until_idle(self) -> list[QueueCounts]:
        """Wait until nothing is ready, running or due.

        Returns:
            The snapshot in which that was so.

        Raises:
            DrainTimeout: that took longer than the timeout; names the jobs that run.
            UnfinishedJobs: too many attempts, or the workers are gone.
        """
        __tracebackhide__ = True
        for _ in self.polls():
            counts = self.idle_counts()
            # Also when idle: the attempt past the limit may have been the last one.
            self._check_attempts()
            if counts is not None:
                return counts
        raise AssertionError("polls() ends by an exception only")

    def polls(self) -> Iterator[None]:
        """Yield at once and then after each pause, until the timeout.

        Raises:
            DrainTimeout: the timeout has passed.
            UnfinishedJobs: the workers are gone.
        """
        __tracebackhide__ = True
        end = time.monotonic() + self._timeout
        pause = _SHORTEST_PAUSE_SECONDS
        while True:
            yield
            if self.has_workers and (gone := workers_gone(self._recording)):
                raise gone
            if self._recording.out_of_time(end):
                raise self.timed_out()
            self._pause.wait(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

    def idle_counts(self) -> list[QueueCounts] | None:
        """One snapshot of the queues if there is nothing to do at this time, else None."""
        clock = self._recording.broker.clock
        # A thread that is awake may have news that the store does not have yet.
        if isinstance(clock, VirtualClock) and not clock.at_rest(self.threads):
            # Report its outcome at once. Waiting for others to report along would take 2 ms of
            # real time for each event, most of what a virtual year takes.
            pool = self._recording.engine._pool  # noqa: SLF001 - both are Spinach's own
            if pool is not None:
                pool.flush()
            return None
        counts = self.counts()
        idle = all(map(self._idle, counts)) and self._recording.ledger.up_to_date
        return counts if idle else None

    def counts(self) -> list[QueueCounts]:
        """What the queues hold, in one snapshot.

        Raises:
            BrokerError: the store cannot tell.
        """
        # Anew each time: a job may attach tasks, and the workers join their queues. Queues of
        # detached tasks stay in, since their jobs may still run.
        self._queues |= dict.fromkeys(queues_of(self._recording))
        counts = self._recording.broker.counts(list(self._queues))
        for count in counts:
            if count.verdict is not Verdict.APPLIED and count.error is not None:
                raise count.error
        return counts

    def turn(self, by: timedelta) -> None:
        """Turn the clock as soon as every thread waits.

        Raises:
            DrainTimeout: one of them does not wait before the timeout.
        """
        clock = self._recording.broker.clock
        assert isinstance(clock, VirtualClock)
        for _ in self.polls():
            if clock.turn(by, self.threads):
                return

    def next_step(self, counts: list[QueueCounts]) -> timedelta:
        """How far the clock may move in one step: to the next due job.

        While any job is leased, at most to the next heartbeat. A longer step would look like
        an outage of the store to it, and would put off the recovery of a dead worker's jobs.
        A job that is overdue in an idle queue does not count, see `_idle`.
        """
        waits = [timedelta.max]
        for count in counts:
            if count.leased or count.leased_by_dead:
                waits.append(self._recording.broker.lease / BEATS_PER_LEASE)
            if count.next_due_in_ms is not None and count.next_due_in_ms > 0:
                waits.append(timedelta(milliseconds=count.next_due_in_ms))
        return min(waits)

    def timed_out(self) -> DrainTimeout:
        """The error that lists the running jobs, and those that are left."""
        return self._recording.timed_out(self._timeout, f"Not done:\n{_left(self._recording)}")

    def unfinished(self, reason: str) -> UnfinishedJobs:
        """The error that lists the jobs that are left, for a reason."""
        return UnfinishedJobs(f"{reason}. Not done:\n{_left(self._recording)}")

    def _check_attempts(self) -> None:
        if self.most_attempts is not None and (
            self._recording.running.started > self.most_attempts
        ):
            raise self.unfinished(
                "More than max_jobs attempts were made, besides those of periodic tasks. Either "
                "jobs make ever more jobs, or the test needs more of them: then raise max_jobs"
            )

    def _idle(self, count: QueueCounts) -> bool:
        """Whether the queue has nothing to do now. One that is paused hands out nothing.

        Not while it has no living member: the clock may have passed the workers' leases, and the
        store counts ticks of periodic tasks again only after their next heartbeat.
        """
        held = sum(
            self._recording.ledger.held_by(member)
            for member, queue in self._recording.crashed.items()
            if queue == count.queue
        )
        # Jobs of a crashed member count as leased until the store takes it for dead.
        leased_by_crashed = max(0, held - count.leased_by_dead)
        due = count.next_due_in_ms is not None and count.next_due_in_ms <= 0
        # The crashed member may have been the timekeeper. Another one takes over some seconds
        # later, so the clock has to go on although jobs are due.
        return (
            count.members > 0
            and (not count.ready or self._recording.broker.survey(count.queue).paused)
            and count.leased <= leased_by_crashed
            and (not due or held > 0)
        )


def _left(recording: Recording) -> str:
    left = [each for each in recording.ledger.entries() if each.status in _OPEN]
    return listing.lines(left, recording.now_ms)


def workers_gone(recording: Recording) -> UnfinishedJobs | None:
    """The error for workers that ended too early, which lists what is left; None: they run."""
    pool = recording.engine._pool  # noqa: SLF001 - both are Spinach's own
    if pool is None or pool.running:
        return None
    why = (
        "by a task or a thread that called engine.stop_workers()"
        if pool.error is None
        else f"because a thread of the engine died of {pool.error!r}"
    )
    error = UnfinishedJobs(
        f"The workers were stopped meanwhile, {why}. Not done:\n{_left(recording)}"
    )
    error.__cause__ = pool.error
    return error


def queues_of(recording: Recording) -> list[str]:
    """The queues of the engine's tasks."""
    tasks = recording.engine._task_table.by_name.values()  # noqa: SLF001 - both are Spinach's own
    return list(dict.fromkeys(task.queue for task in tasks))


@contextmanager
def session(
    recording: Recording, workers: int, timeout: float, *, grace: timedelta | None = timedelta(0)
) -> Iterator[Session]:
    """Workers for the block.

    Args:
        recording: of the engine.
        workers: threads that run jobs.
        timeout: real seconds.
        grace: virtual time for jobs that run when the block ends; None waits for them until
            the timeout.

    Raises:
        WorkersRunning: the engine has workers already.
        DrainTimeout: with a grace of None, jobs still run after the timeout.
    """
    engine = recording.engine
    before = of_engine(engine.namespace)
    with ExitStack() as stack:
        clock = recording.broker.clock
        running = Session(recording, timeout)
        if isinstance(clock, VirtualClock):
            step = recording.broker.lease / BEATS_PER_LEASE
            sleeping = Sleeping(clock, step, lambda: running.threads)
            stack.enter_context(clock.reserved(sleeping))
        if queues_of(recording):
            engine.start_workers(workers, queue=ALL_QUEUES, block=False, grace=grace)
            running.has_workers = True
            running.threads = of_engine(engine.namespace) - before
            stack.callback(_stop, running, recording, grace=grace, timeout=timeout)
        yield running


def _stop(
    running: Session, recording: Recording, *, grace: timedelta | None, timeout: float
) -> None:
    engine = recording.engine
    engine.stop_workers(_join_arbiter=False)
    if grace is None and join(running.threads, timeout):
        error = running.timed_out()
        end_grace(recording)
        _join_idle(running, recording)
        raise error
    _join_idle(running, recording)


def _join_idle(running: Session, recording: Recording) -> None:
    """Join the threads that run no job; the end of the test names the others."""
    join_idle(running.threads, recording.running, _STOP_SECONDS)


def end_grace(recording: Recording) -> None:
    """End the grace of a stop: it no longer waits for jobs that run."""
    pool = recording.engine._pool  # noqa: SLF001 - what a second signal does
    if pool is not None:
        pool.hurry()
