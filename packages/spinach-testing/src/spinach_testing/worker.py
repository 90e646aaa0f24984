"""Workers for tests: the production threads, running just while the test waits."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from spinach import RetryException, signals
from spinach.brokers.calls import Verdict
from spinach.checks import require_timedelta
from spinach.const import BEATS_PER_LEASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spinach import Engine, Job
    from spinach.brokers.calls import QueueCounts

    from .clock import VirtualClock

__all__ = ["DrainTimeout", "TestWorker"]

#: How often a drain looks whether all is done, in real seconds.
_POLL_SECONDS = 0.001


class DrainTimeout(AssertionError):
    """Jobs still ran when the time for a drain was over."""


class _Watch:
    """What jobs do while workers run, from the engine's signals; thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below
        self.running: dict[int, Job] = {}
        self.failures: list[BaseException] = []

    def started(self, _: object, *, job: Job, **__: object) -> None:
        with self._lock:
            self.running[threading.get_ident()] = job

    def finished(self, _: object, **__: object) -> None:
        with self._lock:
            self.running.pop(threading.get_ident(), None)

    def raised(self, _: object, *, job: Job, err: BaseException, **__: object) -> None:
        if isinstance(err, RetryException):
            return
        arguments = [repr(value) for value in job.task_args]
        arguments += [f"{name}={value!r}" for name, value in job.task_kwargs.items()]
        err.add_note(
            f"raised by job {job.task_name}({', '.join(arguments)}), attempt {job.attempt}"
        )
        with self._lock:
            self.failures.append(err)

    def stacks(self) -> str:
        """The running jobs, each with the stack of its thread."""
        frames = sys._current_frames()  # noqa: SLF001 - the documented way to other threads' stacks
        with self._lock:
            running = dict(self.running)
        parts = []
        for ident, job in running.items():
            stack = "".join(traceback.format_stack(frames[ident])) if ident in frames else ""
            parts.append(f"{job.task_name} {job.id}, attempt {job.attempt}:\n{stack}")
        return "\n".join(parts) or "none"


class TestWorker:
    """Runs an engine's jobs in real worker threads while the test waits.

    Between calls nothing executes. One test uses it from one thread.

    Args:
        engine: whose tasks and queues are served.
        clock: that the engine's broker runs on.
    """

    __test__ = False  # pytest would take the name for a test class

    def __init__(self, engine: Engine, clock: VirtualClock) -> None:
        self._engine = engine
        self._clock = clock
        self._broker = engine._broker  # noqa: SLF001 - both are Spinach's own

    def drain(
        self,
        *,
        workers: int = 5,
        timeout: float = 10.0,
        on_failure: Literal["raise", "collect"] = "raise",
    ) -> list[BaseException]:
        """Run jobs until nothing is ready, running or due, jobs made by jobs included.

        Args:
            workers: threads.
            timeout: real seconds.
            on_failure: whether attempts that raised fail the test, or are returned.

        Returns:
            What attempts raised, with `collect`.

        Raises:
            DrainTimeout: jobs still run; names them and shows their stacks.
            WorkersRunning: also when called inside a task.
            BaseException: what an attempt raised; several as an ExceptionGroup.
        """
        with self._session(workers) as watch:
            self._until_idle(watch, timeout)
        return self._settle(watch, on_failure)

    def advance(
        self,
        by: timedelta,
        *,
        workers: int = 5,
        timeout: float = 10.0,
        on_failure: Literal["raise", "collect"] = "raise",
    ) -> list[BaseException]:
        """Drain, then move the clock from one due job or tick to the next, draining
        at each, until so much time has passed.

        Args:
            by: not negative.
            workers: threads.
            timeout: real seconds for each drain.
            on_failure: as in `drain`.

        Raises:
            InvalidArgument: not a timedelta, or negative. And whatever `drain` raises.
        """
        require_timedelta(by, "the span to advance by", timedelta(0))
        target = self._clock.now() + by
        with self._session(workers) as watch:
            while True:
                self._until_idle(watch, timeout)
                left = target - self._clock.now()
                if not left:
                    break
                self._clock.advance(min(left, self._next_step()))
        return self._settle(watch, on_failure)

    # -- helpers -----------------------------------------------------------

    @property
    def _queues(self) -> list[str]:
        tasks = self._engine._catalog.by_name.values()  # noqa: SLF001 - both are Spinach's own
        return list(dict.fromkeys(task.queue for task in tasks))

    @contextmanager
    def _session(self, workers: int) -> Iterator[_Watch]:
        watch = _Watch()
        namespace = self._engine.namespace
        with ExitStack() as stack:
            for signal, receiver in (
                (signals.job_started, watch.started),
                (signals.job_finished, watch.finished),
                (signals.job_failed, watch.raised),
                (signals.job_schedule_retry, watch.raised),
            ):
                stack.enter_context(signal.connected_to(receiver, namespace))
            if self._queues:
                self._engine.start_workers(workers, queue=self._queues, block=False,
                                           grace=timedelta(0))  # fmt: skip
                stack.callback(self._engine.stop_workers)
            yield watch

    def _until_idle(self, watch: _Watch, timeout: float) -> None:
        end = time.monotonic() + timeout
        look = threading.Event()
        while not self._idle():
            if time.monotonic() > end:
                raise DrainTimeout(
                    f"Jobs were not done after {timeout} s. Running:\n{watch.stacks()}"
                )
            look.wait(_POLL_SECONDS)

    def _counts(self) -> list[QueueCounts]:
        counts = self._broker.counts(self._queues)
        for count in counts:
            if count.verdict is not Verdict.APPLIED and count.error is not None:
                raise count.error
        return counts

    def _idle(self) -> bool:
        """Nothing to do now. A worker whose lease the clock has passed beats first,
        because the store counts no ticks of tasks that nobody alive declares."""
        return all(
            count.members
            and not count.ready
            and not count.leased
            and (count.next_due_in_ms is None or count.next_due_in_ms > 0)
            for count in self._counts()
        )

    def _next_step(self) -> timedelta:
        """How far the clock may move in one step: to the next due job. While a dead
        worker holds a lease, to the next heartbeat at most, because a jump over it
        would look like an outage of the store, which puts its recovery off."""
        waits = [timedelta.max]
        for count in self._counts():
            if count.leased_by_dead:
                waits.append(self._broker.lease / BEATS_PER_LEASE)
            if count.next_due_in_ms is not None:
                waits.append(timedelta(milliseconds=max(1, count.next_due_in_ms)))
        return min(waits)

    @staticmethod
    def _settle(watch: _Watch, on_failure: str) -> list[BaseException]:
        if on_failure == "collect" or not watch.failures:
            return watch.failures
        if len(watch.failures) == 1:
            raise watch.failures[0]
        raise BaseExceptionGroup("several attempts raised", watch.failures)
