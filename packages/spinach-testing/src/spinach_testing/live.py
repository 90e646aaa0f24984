"""The worker that runs during the whole test, in real time."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

from spinach import ALL_QUEUES
from spinach.brokers.calls import Verdict
from spinach.exc import InvalidArgument, WorkersRunning
from spinach.support.realtime import time

from .clock import VirtualClock
from .session import queues_of, workers_gone
from .threads import join, join_idle, of_engine
from .timeouts import require_timeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .errors import DrainTimeout
    from .recording import Recording

__all__ = ["LiveWorker", "live_worker"]

#: Between two polls whether everything is done, in real seconds.
_PAUSE_SECONDS = 0.002

#: Real seconds that idle threads get to end after the stop.
_STOP_SECONDS = 20.0


class LiveWorker:
    """Runs an engine's jobs while the test goes on; made by the fixture.

    Args:
        recording: of the engine whose tasks and queues are served.
        timeout: real seconds, unless a call says otherwise.
    """

    def __init__(self, recording: Recording, timeout: float) -> None:
        self._recording = recording
        self._timeout = timeout
        self._queues = dict.fromkeys(queues_of(recording))

    def wait_idle(self, *, timeout: float | None = None) -> None:
        """Wait until nothing is ready, running or due.

        It does not raise failures. Expect them with `spinach_jobs.expect_failure`; otherwise
        they fail the test at its end.

        Args:
            timeout: real seconds; None takes the number from the mark or the configuration.

        Raises:
            DrainTimeout: jobs still run; names them and shows their stacks.
            UnfinishedJobs: the workers ended too early, because a task stopped them, for
                example.
            InvalidArgument: a timeout that makes no sense.
            WorkersRunning: called inside a task, where it would wait for that task itself.
        """
        seconds = require_timeout(timeout, self._timeout)
        if self._recording.running.of(threading.current_thread()) is not None:
            raise WorkersRunning(
                "wait_idle() was called inside a task, which would wait for itself. "
                "Call it from the test."
            )
        end, pause = time.monotonic() + seconds, threading.Event()
        while not self._idle():
            if self._recording.out_of_time(end):
                raise self._recording.timed_out(seconds, f"Jobs:\n{self._recording.listing()}")
            # If it is idle now, they ended after their last job.
            if (gone := workers_gone(self._recording)) and not self._idle():
                raise gone
            pause.wait(_PAUSE_SECONDS)

    def advance(self, by: timedelta) -> NoReturn:
        """Not possible: the clock is the machine's.

        Raises:
            WorkersRunning: always.
        """
        raise WorkersRunning(
            f"Cannot advance by {by!r}: spinach_live_worker runs on the machine's clock. "
            "Ask for spinach_worker instead to turn time."
        )

    def _idle(self) -> bool:
        # A test may attach tasks meanwhile, and the workers join their queues.
        self._queues |= dict.fromkeys(queues_of(self._recording))
        for count in self._recording.broker.counts(list(self._queues)):
            if count.verdict is not Verdict.APPLIED and count.error is not None:
                raise count.error
            due = count.next_due_in_ms is not None and count.next_due_in_ms <= 0
            if count.ready or count.leased or due:
                return False
        return self._recording.ledger.up_to_date


@contextmanager
def live_worker(
    recording: Recording, workers: int, timeout: float, *, remedy: str = ""
) -> Iterator[LiveWorker]:
    """Workers for the block. Failures that the test does not expect fail it at its end.

    Args:
        recording: of the engine.
        workers: threads.
        timeout: real seconds that running jobs get at the end.
        remedy: what to do if the broker's clock stands still.

    Raises:
        InvalidArgument: the engine has no tasks, or its broker's clock stands still.
        WorkersRunning: the engine has workers already.
    """
    engine = recording.engine
    if not queues_of(recording):
        raise InvalidArgument(
            "spinach_live_worker has no tasks to serve. Override the fixture spinach_tasks so "
            "that it returns your registries."
        )
    clock = recording.broker.clock
    if isinstance(clock, VirtualClock) and not clock.flows:
        raise InvalidArgument(
            "spinach_live_worker needs a clock that runs, but the broker's clock stands until it "
            f"is turned. {remedy}"
        )
    before = of_engine(engine.namespace)
    engine.start_workers(workers, queue=ALL_QUEUES, block=False, grace=timedelta(seconds=timeout))
    threads = of_engine(engine.namespace) - before

    def too_long() -> DrainTimeout:
        return recording.timed_out(timeout, f"Jobs:\n{recording.listing()}")

    try:
        with recording.ledger.awaited.at_most(timeout, too_long):
            yield LiveWorker(recording, timeout)
    finally:
        engine.stop_workers(_join_arbiter=False)
        if join(threads, timeout):
            # Jobs that still run are left alone; the end of the test names their threads.
            join_idle(threads, recording.running, _STOP_SECONDS)
