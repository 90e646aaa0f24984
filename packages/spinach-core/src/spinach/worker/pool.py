"""The threads of a worker process: started together, stopped together.

n worker threads, and one each of arbiter, result notifier and subscriber. A pool
runs once; the engine makes a new one for each `start_workers`.
"""

from __future__ import annotations

import functools
import os
import platform
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spinach import signals
from spinach.clock import SystemClock
from spinach.const import DEFAULT_QUEUE, VERSION
from spinach.exc import BrokerError, WorkerLost
from spinach.job import log_fields
from spinach.queues import names_of
from spinach.support.forks import PROCESS, EngineThread, leave_child
from spinach.support.log import ENGINE_LOGGER, JOB_LOGGER
from spinach.support.realtime import time
from spinach.support.shield import SHIELD
from spinach.worker import at_exit
from spinach.worker.arbiter import STOP_FLUSH_SECONDS, Arbiter
from spinach.worker.conditions import Conditions
from spinach.worker.declaration import declare
from spinach.worker.early_end import tell_cancelled_unrun
from spinach.worker.fetching import Fetching
from spinach.worker.in_flight import InFlight
from spinach.worker.keep_alive import KeepAlive
from spinach.worker.memberships import Memberships
from spinach.worker.notifier import ResultNotifier
from spinach.worker.overdue import Overdue
from spinach.worker.prefetch import Prefetch
from spinach.worker.subscriber import Subscriber
from spinach.worker.wake_up import WakeUp
from spinach.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from spinach.backoff import RandomSource
    from spinach.brokers.base import Broker
    from spinach.job import Job
    from spinach.queues import QueueChoice
    from spinach.task import Task
    from spinach.worker.declaration import Declaration

__all__ = ["PoolOptions", "WorkerPool"]


#: A join wakes up this often: Windows cannot interrupt a longer wait on a lock.
_JOIN_SLICE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """What a pool is to do."""

    namespace: str
    #: Worker threads.
    number: int
    queues: QueueChoice
    #: Gives name → task that this process can run by now; another mapping after each change.
    tasks: Callable[[], Mapping[str, Task[..., object]]]
    stop_when_empty: bool
    #: How long a stop waits for running jobs; None waits for them all.
    grace: timedelta | None
    #: Of randomness for the backoff; None takes the `random` module.
    source: RandomSource | None


class WorkerPool:
    """The threads that run jobs; `stop` may be called from any thread.

    Args:
        broker: bound to the engine.
        options: what to do.
        on_end: called once, by the thread that finds that all is over.
    """

    def __init__(self, broker: Broker, options: PoolOptions, on_end: Callable[[], None]) -> None:
        self._broker = broker
        self._options = options
        self._on_end = on_end
        PROCESS.watch()
        self._process = PROCESS.number
        #: What ended the pool before its time.
        self.error: BaseException | None = None
        # The notifier lives; set to False, once, before the arbiter hears of its end.
        self._can_report = True
        self._ending = threading.Event()
        self._ended = threading.Event()
        clock = broker.clock
        arbiter_wake_up, self._notifier_wake_up, self._subscriber_wake_up = (
            WakeUp(clock) for _ in range(3)
        )
        self._hurry_wake_up = WakeUp(SystemClock())
        self._in_flight = InFlight(
            clock,
            Prefetch(),
            wake_subscriber=self._subscriber_wake_up.set,
            wake_arbiter=arbiter_wake_up.set,
            wake_notifier=self._notifier_wake_up.set,
            hurry_notifier=self._hurry_wake_up.set,
            on_cancelled=functools.partial(tell_cancelled_unrun, options.namespace),
            tell_empty=options.stop_when_empty,
        )
        # Tasks that a warning has named, with their queue.
        self._left_out: set[tuple[str, str]] = set()
        #: What the process says of itself when it joins a queue.
        self._info = {
            "host": platform.node(),
            "pid": str(os.getpid()),
            "process": uuid.uuid4().hex,
            "threads": str(options.number),
            "version": VERSION,
        }
        self._memberships = Memberships(self._declare, self._in_flight, options.source)
        conditions = Conditions(broker, lambda name: name in self._memberships.declaration().tasks)
        self._keep_alive = KeepAlive(
            broker, self._memberships, self._in_flight, conditions, self._tell_lost
        )
        fetching = Fetching(
            broker,
            self._memberships,
            self._in_flight,
            conditions,
            wake_arbiter=arbiter_wake_up.set,
            on_lost=self._tell_lost,
        )
        self._subscriber = Subscriber(
            clock,
            fetching,
            self._in_flight,
            self._subscriber_wake_up,
            self._ending,
            stop_when_empty=options.stop_when_empty,
            wake_arbiter=arbiter_wake_up.set,
        )
        self._workers: dict[int, threading.Thread] = {}
        self._overdue = Overdue(options.namespace, clock, self._in_flight, self._workers.get)
        self._arbiter = Arbiter(
            broker,
            self._memberships,
            self._keep_alive,
            fetching,
            self._in_flight,
            self._subscriber,
            self._overdue,
            arbiter_wake_up,
            stop_when_empty=options.stop_when_empty,
            grace=options.grace,
            reporting=lambda: self._can_report,
        )
        notifier = ResultNotifier(
            broker,
            self._in_flight,
            self._notifier_wake_up,
            self._ending,
            options.source,
            hurry=self._hurry_wake_up,
        )
        for number in range(1, options.number + 1):
            name = f"{options.namespace}-worker-{number}"
            worker = Worker(
                number,
                name,
                options.namespace,
                broker,
                self._in_flight,
                options.source,
                stopping=lambda: self._arbiter.stopping,
            )
            self._workers[number] = self._thread(name, worker.run)
        prefix = options.namespace
        self._notifier = self._thread(f"{prefix}-result-notifier", notifier.run)
        self._service = [
            self._notifier,
            self._thread(f"{prefix}-subscriber", self._subscriber.run),
        ]
        self._lead = self._thread(f"{prefix}-arbiter", self._run_arbiter)

    @property
    def running(self) -> bool:
        """Whether it was not stopped to the end; False in a forked child."""
        return not self._ended.is_set() and self.here

    @property
    def here(self) -> bool:
        """Whether its threads are in this process, and not in one that it was forked from."""
        return self._process == PROCESS.number

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop, or stops by itself."""
        return self._arbiter.stopping

    @property
    def namespace(self) -> str:
        """Of the engine."""
        return self._options.namespace

    def start(self, *, main_waits: bool = False) -> None:
        """Join the queues and start the threads.

        Args:
            main_waits: the main thread is going to wait for the end.

        Raises:
            BrokerError: the broker refuses us, for a reason that does not pass by
                itself. One that is down does not count: the pool keeps trying.
        """
        try:
            # Before the threads start: the pool may end with its first job.
            at_exit.watch(self, main_waits=main_waits)
            self._keep_alive.step()
            for thread in (*self._service, *self._workers.values(), self._lead):
                thread.start()
            # No job runs before: it might fork this thread in the middle of `Thread.start`,
            # which would wait in the child for a thread that is not there.
            self._subscriber.open()
        except BaseException:  # refused by the broker, or the system gives no more threads
            if self._lead.ident is not None:
                # A signal handler raised it after all threads had started; they end as usual.
                self._arbiter.stop()
                raise
            self._in_flight.close()
            self._in_flight.dissolve()
            self._end_service()
            at_exit.forget(self)
            self._ended.set()
            # Queues that were joined are left, so that none waits until the lease ends.
            with suppress(BrokerError):
                self._keep_alive.leave()
            raise

    def request_stop(self) -> None:
        """Ask for the stop and return; again is fine. In a forked child it does nothing."""
        if not self.here:
            return
        if threading.current_thread() in (self._lead, *self._service):
            # A finalizer calls, maybe in the middle of a wait that `stop` would have to end.
            threading.Thread(target=self._arbiter.stop, daemon=True).start()
            return
        self._arbiter.stop()

    def tasks_changed(self) -> None:
        """Tasks came, changed or went; from any thread, takes effect soon."""
        self._memberships.tasks_changed()
        self._arbiter.tasks_changed()

    def warn_of_left_out(self) -> None:
        """Warn of tasks that no worker here runs, of each once, unless queues were chosen."""
        left_out = {
            (task.name, task.queue): task
            for task in self._options.queues.left_out(self._options.tasks())
        }
        told, self._left_out = self._left_out, set(left_out)
        if news := [task for key, task in left_out.items() if key not in told]:
            ENGINE_LOGGER.warning(
                "Workers of this process do not run %s: start_workers() without queue= consumes "
                "queue %s only. Write start_workers(queue=spinach.ALL_QUEUES), or name the queues "
                "to consume.",
                names_of(news),
                DEFAULT_QUEUE,
            )

    def hurry(self) -> None:
        """End the grace of a stop now. In a forked child it does nothing."""
        if self.here:
            self._arbiter.hurry()

    def flush(self) -> None:
        """Report outcomes that wait for others to leave with them now; again is fine."""
        self._hurry_wake_up.set()

    def join(self) -> None:
        """Wait until it is over; returns at once on its own threads and in a forked child."""
        if threading.current_thread() in self or not self.here:
            return
        while not self._ended.wait(_JOIN_SLICE_SECONDS):
            pass
        if self._lead.ident is not None:  # it was started
            self._lead.join()  # only its last steps are left

    def __contains__(self, thread: threading.Thread) -> bool:
        return (
            thread is self._lead
            or thread in self._service
            or thread in self._workers.values()
            or thread in self._overdue
        )

    # -- threads -----------------------------------------------------------

    def _thread(self, name: str, run: Callable[[], None]) -> threading.Thread:
        return EngineThread(target=self._guarded, args=(name, run), name=name, daemon=True)

    def _guarded(self, name: str, run: Callable[[], None]) -> None:
        """Run a thread's function; if it fails, stop the pool and say so."""
        try:
            run()
            leave_child()
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the pool must hear of it
            leave_child(exc)
            # The arbiter first: a log handler may take its time.
            self.error = self.error or exc
            if threading.current_thread() is self._notifier:
                self._can_report = False
            self._arbiter.stop()
            ENGINE_LOGGER.critical(
                "Engine thread %s died, stopping the workers", name, exc_info=exc,
                extra={"thread_name": name},
            )  # fmt: skip
            leave_child()

    def _run_arbiter(self) -> None:
        """The arbiter is the last to end, and sees the others off."""
        try:
            self._arbiter.run()
        except BaseException as exc:
            leave_child(exc)
            self.error = self.error or exc
            raise
        finally:
            self._end_service()
            for thread in self._service:
                thread.join()
            # Threads that still run a job when the grace is over are left to it.
            # So are those that do not come back from a receiver of a signal.
            end = time.monotonic() + STOP_FLUSH_SECONDS
            for number in self._workers.keys() - self._in_flight.busy_workers:
                self._workers[number].join(max(0.0, end - time.monotonic()))
            self._overdue.join(end)
            at_exit.forget(self)
            self._ended.set()
            self._on_end()

    def _end_service(self) -> None:
        self._ending.set()
        self._notifier_wake_up.set()
        self._hurry_wake_up.set()
        self._subscriber_wake_up.set()

    # -- what the parts need -----------------------------------------------

    def _declare(self, consumed: Sequence[str]) -> Declaration:
        tasks = self._options.tasks()
        return declare(
            tasks,
            # A queue that was joined is kept, also when its last task goes.
            (*consumed, *self._options.queues.queues(tasks)),
            lease_ms=int(self._broker.lease.total_seconds() * 1000),
            info=self._info,
        )

    def _tell_lost(self, job: Job) -> None:
        """Tell of a job that lost its worker for good; on a worker thread."""
        err = WorkerLost(
            f"The worker of job {job.id_text} ({job.task_name}, attempt {job.attempt}) died or "
            "lost its lease. The job is in the failed store."
        )
        with SHIELD:
            JOB_LOGGER.error(
                "Job failed: %s %s, its worker process was lost", job.task_name, job.id_text,
                extra=log_fields(job),
            )  # fmt: skip
        signals.job_failed.send(self._options.namespace, job=job, err=err)
