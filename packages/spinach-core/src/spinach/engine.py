"""The engine: ties tasks, a broker and worker threads together."""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from spinach.brokers.base import Broker
from spinach.const import DEFAULT_NAMESPACE, DEFAULT_WORKER_NUMBER
from spinach.definition.call_options import CallOptions
from spinach.definition.overloads import Scheduling, typed_as
from spinach.exc import InvalidArgument, WaitInWorker, WorkersRunning
from spinach.failed import FailedStore
from spinach.jobs import Jobs
from spinach.operating.lookup import Lookup
from spinach.options import SchedulerWithOptions
from spinach.producer import scheduling as producer
from spinach.producer.task_table import TaskTable
from spinach.queues import NO_CHOICE, AllQueues, QueueChoice
from spinach.record.names import check_name
from spinach.results import require_wait, result_of, results_of
from spinach.support.checks import (
    MISSING,
    at_is_none,
    missing_position,
    require_int,
    require_timedelta,
)
from spinach.support.installation import warn_of_older_spinach
from spinach.support.log import ENGINE_LOGGER
from spinach.support.nested import OneAtATime, is_nested
from spinach.task import REGISTERING, Task, Tasks
from spinach.worker.pool import PoolOptions, WorkerPool
from spinach.worker.shutdown import Shutdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from spinach.backoff import RandomSource
    from spinach.batch import Batch
    from spinach.job import Job
    from spinach.operating.limits import Limits
    from spinach.operating.periodic import Periodic
    from spinach.operating.queues import Queues
    from spinach.operating.workers import Workers

__all__ = ["Engine"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound="Callable[..., object]")

#: Worker threads of one engine; beyond it another process serves better.
_MOST_WORKERS = 10_000

#: Longest single wait of the main thread: on Windows a signal cannot end one.
_MAIN_SLICE_SECONDS = 1.0


class Engine:
    """Schedules jobs, and runs them when told to; every method is thread safe.

    As a client it only sends jobs and needs no thread. As a worker it runs a set of
    threads in this process. Building one opens no connection and starts nothing.

    Args:
        broker: stores the jobs; serves this engine for life.
        namespace: keeps applications on one server apart, and engines in one
            process: it is the sender of the signals.
        random_source: of the jitter in backoffs; None takes the `random` module.

    Raises:
        InvalidArgument: `broker` is no broker.
        InvalidName: bad namespace.
        BrokerInUse: the broker serves another engine.
    """

    def __init__(
        self,
        broker: Broker,
        namespace: str = DEFAULT_NAMESPACE,
        *,
        random_source: RandomSource | None = None,
    ) -> None:
        self._namespace = check_name(namespace, "namespace")
        self._bind(broker)
        self._broker = broker
        self._random_source = random_source
        self._task_table = TaskTable()
        self._tasks = Tasks()
        #: Jobs that ended in failure, to look at, to run again, to forget.
        self.failed = FailedStore(lambda: self._broker, self._task_table.resolve)
        self._lookup = Lookup(
            lambda: self._broker, lambda: self._task_table.by_name, self._task_table.resolve
        )
        # Guards the pool, from its making to its end.
        self._lock = OneAtATime("start workers")
        self._pool: WorkerPool | None = None
        #: Jobs wherever they are: `get`, `list`, `cancel`, `wait`.
        self.jobs = Jobs(
            lambda: self._broker, self._namespace, self._task_table.resolve, self._may_wait
        )
        self.attach_tasks(self._tasks)

    def __repr__(self) -> str:
        return f"<Engine {self._namespace!r} on {type(self._broker).__name__}>"

    @property
    def namespace(self) -> str:
        """Namespace of this engine."""
        return self._namespace

    # -- tasks -------------------------------------------------------------

    @property
    def task(self) -> Callable[..., Callable[[F], F]]:
        """Decorator that registers a function with this engine; see `Tasks.task`."""
        return self._tasks.task

    def attach_tasks(self, tasks: Tasks) -> None:
        """Make the tasks of a registry known; again does nothing.

        Workers that run take them up at once or, when the broker does not answer, once it
        does; limits and periods count from then on.

        Args:
            tasks: `tasks.schedule` goes to this engine from now on.

        Raises:
            InvalidArgument: not a registry.
            DuplicateTask: one of its names is taken; nothing is attached.
        """
        self._check_registry(tasks)
        with REGISTERING.held():
            if not self._task_table.attach(tasks):
                return
            others = tasks._attached(self)  # noqa: SLF001 - two halves of one link
        if others:
            ENGINE_LOGGER.warning(
                "Tasks (%s) are attached to namespace %s and now to %s as well; "
                "tasks.schedule goes to the latter",
                ", ".join(tasks.names),
                others[-1].namespace,
                self._namespace,
            )
        self._registry_grew()

    def detach_tasks(self, tasks: Tasks) -> None:
        """Undo `attach_tasks`; a registry that is not attached does nothing.

        Workers that run finish the jobs they have fetched, and no longer fire its periodic
        tasks. Its other jobs wait for a worker that knows their task.

        Raises:
            InvalidArgument: not a registry.
        """
        self._check_registry(tasks)
        with REGISTERING.held():
            if not self._task_table.detach(tasks):
                return
            tasks._detached(self)  # noqa: SLF001 - two halves of one link
        self._registry_grew()

    def _registry_may_grow(self, task: Task[..., Any], replaced: Task[..., Any] | None) -> None:
        self._task_table.check_new(task, replaced)

    def _registry_grows(self, task: Task[..., Any], replaced: Task[..., Any] | None) -> None:
        self._task_table.grow(task, replaced)

    def _registry_grew(self) -> None:
        """Tell the workers, if any, that there are other tasks now."""
        if (pool := self._running_pool()) is not None:
            pool.tasks_changed()
            pool.warn_of_left_out()

    # -- client ------------------------------------------------------------

    @typed_as(Scheduling.schedule)
    def schedule(self, task: Any = MISSING, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Schedule a job to start as soon as possible.

        Args:
            task: its name, its function, or the `Task`.
            args: for the function; JSON values. A tuple comes back as a list.
            kwargs: for the function.

        Returns:
            A snapshot of the job as the broker stored it.

        Raises:
            UnknownTask: not attached to this engine.
            InvalidJobSignatureError: the arguments do not fit the function.
            InvalidArgument: a value that would not come back equal; `task` as a keyword.
            PayloadTooLarge: the encoded arguments exceed the broker's limit.
            BrokerError: the broker did not accept it; says what became of the job.
        """
        if task is MISSING:
            raise missing_position("schedule", "task", kwargs)
        return producer.schedule_one(self._broker, self._task_table, task, None, args, kwargs)

    @typed_as(Scheduling.schedule_at)
    def schedule_at(
        self, task: Any = MISSING, at: datetime = MISSING, /, *args: Any, **kwargs: Any
    ) -> Job[Any]:
        """Schedule a job to start at an instant, never before it.

        Args:
            task: its name, its function, or the `Task`.
            at: a naive datetime is UTC; the past means now. Rounded up to the
                millisecond.
            args: for the function; JSON values.
            kwargs: for the function.

        Returns:
            A snapshot of the job as the broker stored it.

        Raises:
            InvalidArgument: also when `at` is no datetime, or a keyword. And whatever
                `schedule` raises.
        """
        if at is MISSING:
            raise missing_position("schedule_at", "task" if task is MISSING else "at", kwargs)
        if at is None:
            raise at_is_none()
        return producer.schedule_one(self._broker, self._task_table, task, at, args, kwargs)

    def schedule_batch(self, batch: Batch) -> list[Job[Any]]:
        """Schedule many jobs with few round trips.

        Everything is checked before anything is sent.

        Args:
            batch: not scheduled before; an empty one makes no call.

        Returns:
            A snapshot of each job, in the order they were added.

        Raises:
            BrokerError: its `stored`, `unknown` and `not_sent` tell the fate of each
                job; the batch then holds those not sent, and may be scheduled again.
                And whatever `schedule` raises, before anything is sent.
        """
        return producer.schedule_batch(self._broker, self._task_table, batch)

    def options(
        self, *, expires_in: timedelta | None = None, headers: Mapping[str, str] | None = None
    ) -> SchedulerWithOptions:
        """Options of single calls: a scheduler of jobs that have them.

        ::

            spin.options(expires_in=timedelta(minutes=5)).schedule(send_code, "ada")

        It makes no call, and may be kept for any number of jobs.

        Args:
            expires_in: an attempt that would begin later than this after the instant at which
                the job is to start is not made: the job ends as EXPIRED, and enters no failed
                store. It counts from now for `schedule`. From 1 ms to 3650 days, rounded up to
                the millisecond. None: the job never expires.
            headers: texts that travel with the job, beside its arguments: `Job.headers`. They
                count for the broker's limit of bytes. None or empty: it has none.

        Raises:
            InvalidArgument: `expires_in` is no such timedelta; `headers` is no mapping of str
                to str.
        """
        return SchedulerWithOptions(
            self._schedule, CallOptions.of(expires_in=expires_in, headers=headers)
        )

    def _schedule(
        self,
        options: CallOptions,
        task: Any,
        at: datetime | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Job[Any]:
        return producer.schedule_one(
            self._broker, self._task_table, task, at, args, kwargs, options
        )

    def result(self, job: Job[R], *, timeout: timedelta | None) -> R:
        """Wait for a job to end, and return what its function returned.

        The task has to keep its results: `@tasks.task(keep_result=...)`. A result may be asked for
        any number of times while it is kept, in any process that has the job.

        Args:
            job: as `schedule` answered it.
            timeout: longest wait, on the broker's clock; 0 looks once, None waits without an end.

        Raises:
            JobFailed: it failed for good; carries error, message and traceback of the last attempt.
            NoResult: it was cancelled, or expired before an attempt began.
            ResultTimeout: it has not ended yet.
            ResultExpired: its task keeps no results, or the result is not kept any more.
            WaitInWorker: called in one of this engine's own worker threads, and the timeout is
                not 0.
            InvalidArgument: no job, a job of another namespace, or a timeout that makes no sense.
            BrokerError: the broker could not answer. One that goes away meanwhile is asked again
                for as long as any call may take.
        """
        seconds = self._may_wait("result", timeout)
        return result_of(self._broker, self._namespace, job, seconds)

    def results(self, jobs: Iterable[Job[R]], *, timeout: timedelta | None) -> list[R]:
        """Wait for many jobs to end, and return what their functions returned.

        Few round trips read many results, some hundred of a queue with each. The first job that is
        found to have no result ends the wait.

        Args:
            jobs: as `schedule` or `schedule_batch` answered them.
            timeout: as for `result`, of all of them.

        Returns:
            The results, in the order of the jobs.

        Raises:
            InvalidArgument: also when `jobs` is not iterable. And whatever `result` raises.
        """
        seconds = self._may_wait("results", timeout)
        return results_of(self._broker, self._namespace, jobs, seconds)

    @overload
    def execute(self, task: str, /, *args: Any, **kwargs: Any) -> Any: ...

    @overload
    def execute(self, task: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def execute(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def execute(self, task: Any = MISSING, /, *args: Any, **kwargs: Any) -> Any:
        """Call a task's function here and now: no broker, no signals, no retries.

        Returns:
            What the function returns; what it raises passes.

        Raises:
            UnknownTask: not attached to this engine.
            InvalidArgument: `task` as a keyword.
        """
        if task is MISSING:
            raise missing_position("execute", "task", kwargs)
        return self._task_table.resolve(task).func(*args, **kwargs)

    # -- operators ---------------------------------------------------------
    #
    # Each imports its module at the first look: most programs never look, and the import of
    # every program would pay for it.

    @cached_property
    def queues(self) -> Queues:
        """Queues: `list`, `get`, `pause`, `resume`, `purge`."""
        from spinach.operating.queues import Queues

        return Queues(self._lookup)

    @cached_property
    def workers(self) -> Workers:
        """Worker processes on all hosts: `list`."""
        from spinach.operating.workers import Workers

        return Workers(self._lookup)

    @cached_property
    def limits(self) -> Limits:
        """How many jobs of a task run at once: `list`, `set`."""
        from spinach.operating.limits import Limits

        return Limits(self._lookup)

    @cached_property
    def periodic(self) -> Periodic:
        """Periodic tasks: `list`, `run_now`, `pause`, `resume`."""
        from spinach.operating.periodic import Periodic

        return Periodic(self._lookup, self.schedule)

    # -- workers -----------------------------------------------------------

    def start_workers(
        self,
        number: int = DEFAULT_WORKER_NUMBER,
        queue: str | Sequence[str] | AllQueues = NO_CHOICE,
        block: bool = True,
        stop_when_queue_empty: bool = False,
        *,
        grace: timedelta | None = None,
    ) -> None:
        """Start worker threads in this process.

        Besides `number` worker threads there are an arbiter, a result notifier and a
        subscriber. All are daemons. When the main thread of the program ends they are
        stopped, as by `stop_workers`, and a warning says so.

        Args:
            number: of worker threads, at least one.
            queue: to consume, or several in strict order: a later one is served
                while the ones before it have nothing. `ALL_QUEUES` means those of all
                attached tasks, in the order of their registration; without any task, the
                default. Without this argument a warning names tasks of other queues.
            block: wait until the workers are stopped. On the main thread SIGINT,
                SIGTERM and SIGBREAK stop them, and a second signal ends the grace;
                the handlers there were before are put back. From another thread, or
                without `block`, no handler is touched.
            stop_when_queue_empty: stop when the queues hold nothing ready, held by a
                limit or leased in any process, and no retry waits. Jobs for the
                future do not count.
            grace: how long a stop waits for running jobs; None waits for them all.

        Raises:
            InvalidArgument: a number, queue or grace that makes no sense.
            InvalidName: bad queue name.
            WorkersRunning: this engine has workers already.
            NestedCall: in the middle of another start on the same thread, or of a call of a
                `MemoryBroker`.
            BrokerError: the broker refuses us for good. One that is merely down does
                not count: workers keep trying until it is back.
        """
        queues = QueueChoice.of(queue)
        require_int(number, "number of workers", 1, _MOST_WORKERS)
        if grace is not None:
            require_timedelta(grace, "grace", timedelta(0))
        self._forget_parent()
        if not isinstance(stop_when_queue_empty, bool):
            raise InvalidArgument(
                f"stop_when_queue_empty is {stop_when_queue_empty!r}, expected True or False."
            )
        warn_of_older_spinach()
        shutdown = Shutdown()
        # The handlers come first: a signal counts from the moment that jobs may run.
        with shutdown if block else nullcontext():
            with self._lock.held():
                self._refuse_while_running("start workers")
                options = PoolOptions(
                    namespace=self._namespace,
                    number=number,
                    queues=queues,
                    tasks=lambda: self._task_table.by_name,
                    stop_when_empty=stop_when_queue_empty,
                    grace=grace,
                    source=self._random_source,
                )
                # Known before it starts: its first job may already ask for the stop.
                pool = self._pool = WorkerPool(self._broker, options, shutdown.wake)
                pool.start(main_waits=block and shutdown.on_main)
            ENGINE_LOGGER.info(
                "Started %d workers of namespace %s on %s",
                number,
                self._namespace,
                ", ".join(queues.queues(self._task_table.by_name)),
            )
            pool.warn_of_left_out()
            if block:
                self._block(pool, shutdown)

    def stop_workers(self, _join_arbiter: bool = True) -> None:
        """Stop the workers and wait until they have ended.

        Jobs that were fetched and not started go back to the front of their queue,
        running ones get the grace of `start_workers`, every outcome is reported.
        Without workers it does nothing. From a task or another of the engine's own
        threads it asks for the stop and returns. It does the same in the middle of another
        call of Spinach on the same thread, such as from a signal handler, since the workers
        may need what that call holds. The end of the program then waits for them.

        Args:
            _join_arbiter: False asks for the stop and returns.
        """
        self._stop(wait=_join_arbiter and not is_nested())

    def _stop(self, *, wait: bool) -> None:
        pool = self._running_pool()
        if pool is None:
            return
        pool.request_stop()
        if wait:
            pool.join()

    @contextmanager
    def using_broker(self, broker: Broker) -> Iterator[Broker]:
        """Use another broker inside a block, mostly in tests.

        Args:
            broker: serves this engine for life, too.

        Raises:
            WorkersRunning: on entry, workers run; on exit, some were left running
                (they are stopped, and the former broker is back).
            InvalidArgument, BrokerInUse: as for `Engine`.
        """
        self._refuse_while_running("change the broker")
        self._bind(broker)
        before, self._broker = self._broker, broker
        left_running = False
        try:
            yield broker
        finally:
            left_running = self._running_pool() is not None
            self._stop(wait=True)
            self._broker = before
        if left_running:
            raise WorkersRunning(
                "Workers were still running when the block of using_broker ended, and were "
                "stopped. Call engine.stop_workers() inside the block."
            )

    # -- helpers -----------------------------------------------------------

    def _block(self, pool: WorkerPool, shutdown: Shutdown) -> None:
        """Wait for the end of a pool on the calling thread; signals bring it about."""
        signalled = False
        try:
            while pool.running:
                if shutdown.wait(_MAIN_SLICE_SECONDS):
                    if signalled:
                        pool.hurry()
                    pool.request_stop()
                    signalled = True
        finally:
            pool.request_stop()
            pool.join()
        if pool.error is not None:
            raise pool.error

    def _may_wait(self, call: str, timeout: Any) -> float:
        """The seconds of a timeout, unless the calling thread must not wait at all."""
        seconds = require_wait(timeout)
        pool = self._running_pool()
        thread = threading.current_thread()
        if seconds > 0 and pool is not None and thread in pool:
            raise WaitInWorker(
                f"{call}() would wait in {thread.name}, a thread of this engine. If all threads "
                "waited, none would be left to run what they wait for. Let a job follow instead: "
                "as its last step, what you wait for schedules the job that goes on. Or look "
                "without waiting: timeout=timedelta(0)."
            )
        return seconds

    def _bind(self, broker: Any) -> None:
        if not isinstance(broker, Broker):
            raise InvalidArgument(
                f"broker is {broker!r} of type {type(broker).__name__}, expected a Broker "
                "such as MemoryBroker() or RedisBroker()."
            )
        broker.bind(self._namespace, self)

    @staticmethod
    def _check_registry(tasks: Any) -> None:
        if not isinstance(tasks, Tasks):
            raise InvalidArgument(
                f"tasks is {tasks!r} of type {type(tasks).__name__}, expected a Tasks registry."
            )

    def _forget_parent(self) -> None:
        """After a fork: the parent's pool is not ours."""
        if self._pool is not None and not self._pool.here:
            self._pool = None

    def _running_pool(self) -> WorkerPool | None:
        pool = self._pool
        return pool if pool is not None and pool.running else None

    def _refuse_while_running(self, what: str) -> None:
        if self._running_pool() is not None:
            raise WorkersRunning(
                f"Cannot {what} of namespace {self._namespace!r} while its workers run. "
                "Call engine.stop_workers() first."
            )
