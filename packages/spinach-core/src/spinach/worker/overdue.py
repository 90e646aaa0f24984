"""Jobs that take longer than their time limit: they are told of, each once.

A thread cannot be killed, so nothing here ends a job. The arbiter looks when the first deadline has
passed, and wakes for none before a job with a time limit has started. What it finds it tells on
a thread of its own, since receivers of signals, log handlers and the reading of sources may take
their time.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from spinach import signals
from spinach.job import JobStatus, job_from_lease
from spinach.record.ids import job_id_of
from spinach.support.exception_text import stack_of, stack_text
from spinach.support.forks import EngineThread, leave_child
from spinach.support.log import WORKER_LOGGER
from spinach.support.realtime import time
from spinach.support.shield import SHIELD

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from traceback import FrameSummary
    from types import FrameType

    from spinach.clock import Clock
    from spinach.worker.buffer import LeasedJob
    from spinach.worker.in_flight import InFlight

__all__ = ["Overdue"]

#: A job, the name of the thread that runs it, and where that thread was; empty: it has ended.
_Finding = tuple["LeasedJob", str, "list[FrameSummary]"]


class Overdue:
    """Finds jobs beyond their time limit; used by the arbiter.

    Args:
        namespace: sender of the signal, and in the name of the thread.
        clock: the broker's.
        in_flight: knows what runs.
        thread_of: gives the thread of a worker by its key; None: there is none any more.
    """

    def __init__(
        self,
        namespace: str,
        clock: Clock,
        in_flight: InFlight,
        thread_of: Callable[[int], threading.Thread | None],
    ) -> None:
        self._namespace = namespace
        self._clock = clock
        self._in_flight = in_flight
        self._thread_of = thread_of
        #: Those that tell, or did; replaced whole, so that other threads read it without a lock.
        self._tellers: tuple[threading.Thread, ...] = ()

    def __contains__(self, thread: threading.Thread) -> bool:
        """Whether it is a thread that tells."""
        return thread in self._tellers

    def next_in(self) -> float:
        """Seconds until `step` may have something to do; math.inf: no time limit is running."""
        return self._in_flight.overdue_in()

    def step(self) -> None:
        """Tell of jobs whose time limit has passed."""
        found = self._in_flight.take_overdue()
        if not found:
            return
        frames = sys._current_frames()  # noqa: SLF001 - the documented way to see other threads
        findings = [self._finding(worker, item, frames) for worker, item in found]
        del frames
        teller = EngineThread(
            target=self._tell, args=(findings,), name=f"{self._namespace}-overdue", daemon=True
        )
        living = tuple(each for each in self._tellers if each.is_alive())
        self._tellers = (*living, teller)
        try:
            teller.start()
        except RuntimeError:  # the system gives no more threads
            self._tellers = living
            for finding in findings:
                with SHIELD:
                    self._log(*finding)

    def join(self, until: float) -> None:
        """Wait until all was told, or until an instant of the machine's monotonic clock."""
        for teller in self._tellers:
            teller.join(max(0.0, until - time.monotonic()))

    def _finding(self, worker: int, item: LeasedJob, frames: dict[int, FrameType]) -> _Finding:
        thread = self._thread_of(worker)
        name = "" if thread is None else thread.name
        frame = None if thread is None else frames.get(thread.ident or 0)
        stack = [] if frame is None else stack_of(frame)
        # It still runs, so what was seen of its thread was this job.
        return item, name, stack if self._in_flight.runs(worker, item) else []

    def _tell(self, findings: Sequence[_Finding]) -> None:
        for finding in findings:
            with SHIELD:
                self._log(*finding)
            with SHIELD:
                if signals.job_overdue.receivers:
                    job = job_from_lease(finding[0].lease, JobStatus.RUNNING, self._namespace)
                    signals.job_overdue.send(self._namespace, job=job)
            leave_child()

    def _log(self, item: LeasedJob, thread: str, stack: list[FrameSummary]) -> None:
        lease, task = item.lease, item.task
        limit = task.time_limit
        WORKER_LOGGER.warning(
            "Job is overdue: %s %s, attempt %d, time limit %g s, on thread %s. %s",
            task.name,
            job_id_of(lease.stored_id),
            lease.retries + 1,
            0.0 if limit is None else limit.total_seconds(),
            thread,
            f"A thread cannot be killed, so it goes on; it was here:\n{stack_text(stack)}"
            if stack
            else "It has ended meanwhile",
            extra={
                "job_id": job_id_of(lease.stored_id),
                "task": task.name,
                "queue": lease.queue,
                "attempt": lease.retries + 1,
                "duration_ms": (self._clock.monotonic() - item.started) * 1000,
                "thread_name": thread,
            },
        )
