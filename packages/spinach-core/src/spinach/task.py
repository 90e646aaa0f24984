"""Tasks: functions registered under a name, and the registries that hold them.

Nothing here knows of brokers or threads; an engine that a registry is attached to
does the scheduling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Never, Protocol, TypeVar

from spinach.backoff import DEFAULT_BACKOFF, require_backoff
from spinach.batch import Batch
from spinach.const import DEFAULT_MAX_RETRIES, DEFAULT_QUEUE
from spinach.definition.call_options import CallOptions
from spinach.definition.overloads import Scheduling, typed_as
from spinach.definition.task import Task, find_task
from spinach.exc import (
    AbortException,
    DuplicateTask,
    InvalidTask,
    RetryException,
    TasksNotAttached,
)
from spinach.options import SchedulerWithOptions
from spinach.record.names import check_name
from spinach.support.checks import (
    MISSING,
    require_callable,
    require_concurrency,
    require_keep_result,
    require_periodicity,
    require_retries,
    require_time_limit,
)
from spinach.support.nested import OneAtATime, ProcessLock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from spinach.backoff import Backoff
    from spinach.job import Job

__all__ = ["AbortException", "Batch", "RetryException", "Scheduler", "Task", "Tasks"]

F = TypeVar("F", bound="Callable[..., object]")

#: Held while a registry changes, is attached or is detached, so that all registries and engines
#: concerned see the change in one step. Calls that schedule do not take it.
REGISTERING: Final = ProcessLock()


class Scheduler(Protocol):
    """What a registry asks of the engine it is attached to."""

    @property
    def namespace(self) -> str:
        """For the warning about two engines."""
        ...

    def schedule(self, task: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """See `Engine.schedule`."""
        ...

    def schedule_at(self, task: Any, at: datetime, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """See `Engine.schedule_at`."""
        ...

    def schedule_batch(self, batch: Batch) -> list[Job[Any]]:
        """See `Engine.schedule_batch`."""
        ...

    def _schedule(
        self,
        options: CallOptions,
        task: Any,
        at: datetime | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Job: ...

    def _registry_may_grow(self, task: Task[..., Any], replaced: Task[..., Any] | None) -> None: ...

    def _registry_grows(self, task: Task[..., Any], replaced: Task[..., Any] | None) -> None: ...

    def _registry_grew(self) -> None: ...


class Tasks:
    """A registry of tasks, to be attached to an engine.

    Define it beside the functions, without an engine in sight, so that importing
    them has no side effect. The arguments are defaults for its tasks. Every method is
    thread safe; tasks may be added while workers run, which take them up at once or, when
    the broker does not answer, once it does.

    Args:
        queue: of tasks that name none; None is `spinach`.
        max_retries: of tasks that name none; None is 0, at most once.
        periodicity: of tasks that name none; None is not periodic.
        max_concurrency: of tasks that name none; None is no limit.
        backoff: of tasks that name none; None is `Backoff()`.
        keep_result: of tasks that name none; None keeps no results.
        time_limit: of tasks that name none; None is no limit.

    Raises:
        InvalidName: bad queue name.
        InvalidTask: a number out of range, or no backoff.
    """

    def __init__(
        self,
        queue: str | None = None,
        max_retries: int | None = None,
        periodicity: timedelta | None = None,
        max_concurrency: int | None = None,
        backoff: Backoff | Callable[[int], timedelta] | None = None,
        keep_result: timedelta | None = None,
        time_limit: timedelta | None = None,
    ) -> None:
        self._queue = DEFAULT_QUEUE if queue is None else check_name(queue, "queue")
        self._max_retries = (
            DEFAULT_MAX_RETRIES if max_retries is None else require_retries(max_retries)
        )
        self._periodicity = require_periodicity(periodicity)
        self._max_concurrency = require_concurrency(max_concurrency)
        self._backoff = DEFAULT_BACKOFF if backoff is None else require_backoff(backoff)
        self._keep_result = require_keep_result(keep_result)
        self._time_limit = require_time_limit(time_limit)
        # Both are replaced whole, so that they can be read without a lock.
        self._tasks: dict[str, Task[..., Any]] = {}
        # Engines it is attached to, the latest one last.
        self._engines: list[Scheduler] = []
        # A nested addition is refused: it could replace the task that the outer one is replacing.
        self._additions = OneAtATime("add tasks to a registry")

    @property
    def tasks(self) -> dict[str, Task[..., Any]]:
        """Name → task; a copy."""
        return dict(self._tasks)

    @property
    def names(self) -> list[str]:
        """Names of the tasks, in the order of registration."""
        return list(self._tasks)

    def get(self, name: str | Callable[..., object] | Task[..., Any]) -> Task[..., Any]:
        """The task of that name or function.

        Raises:
            UnknownTask: this registry has none.
        """
        return find_task(name, self._tasks)

    def task(
        self,
        *misused: Never,
        name: str = "",
        queue: str | None = None,
        max_retries: int | None = None,
        periodicity: timedelta | None = None,
        max_concurrency: int | None = None,
        backoff: Backoff | Callable[[int], timedelta] | None = None,
        keep_result: timedelta | None = None,
        time_limit: timedelta | None = None,
        replace: bool = False,
    ) -> Callable[[F], F]:
        """Decorator that registers a function, and returns that very function.

        Args:
            misused: what `@tasks.task` without parentheses would pass; refused.
            name: required; jobs refer to their task by it, so it must not change
                while jobs wait.
            queue: None takes the registry's.
            max_retries: how often a failed job is run again; None takes the
                registry's. 0 runs it at most once, ever; more run it at least
                once until it succeeds or they are used up.
            periodicity: run it once each period, at least one second; needs a
                function that can be called without arguments.
            max_concurrency: most jobs of it at once over all workers.
            backoff: how long a job waits between a failed attempt and the next one;
                None takes the registry's. A function is called in the worker thread
                with the number of the attempt that failed, from 1, and returns the
                wait, which 0 ends at once. If it raises, or returns anything else, a
                warning is logged and `Backoff()` chooses.
            keep_result: how long the broker keeps what the function returned, or why the job
                failed, for `Engine.result`: from one second to 366 days. None takes the
                registry's, which keeps nothing unless it says so.
            time_limit: how long an attempt may run, at least a millisecond; None takes the
                registry's. When it has passed, `current_job().should_stop` is True, the signal
                `job_overdue` is sent, and a warning shows where the thread is. Nothing ends the
                attempt but its own function, since a thread cannot be killed.
            replace: True takes the place of this registry's task of that name, if there is
                one. Jobs that workers have fetched run the former function, all others the
                new one.

        Raises:
            InvalidTask: no name, not a plain callable, a number out of range, or no
                backoff.
            InvalidName: bad task or queue name.
            DuplicateTask: the name is taken, here or in another registry of an engine that
                this one is attached to.
        """
        if misused or not name:
            given: Any = misused[0] if misused else name
            shown = given if isinstance(given, str) else getattr(given, "__name__", "")
            raise InvalidTask(
                f"The decorator got {given!r} and no name=, which it needs. "
                f"Write @tasks.task(name={shown or 'my.task'!r})."
            )

        def register(func: F) -> F:
            self.add(
                func,
                name=name,
                queue=queue,
                max_retries=max_retries,
                periodicity=periodicity,
                max_concurrency=max_concurrency,
                backoff=backoff,
                keep_result=keep_result,
                time_limit=time_limit,
                replace=replace,
            )
            return func

        return register

    def add(
        self,
        func: Callable[..., object],
        name: str,
        queue: str | None = None,
        max_retries: int | None = None,
        periodicity: timedelta | None = None,
        max_concurrency: int | None = None,
        backoff: Backoff | Callable[[int], timedelta] | None = None,
        *,
        keep_result: timedelta | None = None,
        time_limit: timedelta | None = None,
        replace: bool = False,
    ) -> None:
        """Register a function without decorating it; see `task`, also for what it raises.

        Raises:
            NestedCall: in the middle of another call that adds to this registry, on the same
                thread.
        """
        if not isinstance(replace, bool):
            raise InvalidTask(f"replace is {replace!r}, expected True or False.")
        task: Task[..., Any] = Task(
            func=require_callable(func),
            name=check_name(name, "task"),
            queue=self._queue if queue is None else check_name(queue, "queue"),
            max_retries=self._max_retries if max_retries is None else require_retries(max_retries),
            periodicity=(
                self._periodicity if periodicity is None else require_periodicity(periodicity)
            ),
            max_concurrency=(
                self._max_concurrency
                if max_concurrency is None
                else require_concurrency(max_concurrency)
            ),
            backoff=self._backoff if backoff is None else require_backoff(backoff),
            keep_result=(
                self._keep_result if keep_result is None else require_keep_result(keep_result)
            ),
            time_limit=(self._time_limit if time_limit is None else require_time_limit(time_limit)),
        )
        if task.periodicity is not None and (problem := task.signature.problem((), {})):
            raise InvalidTask(
                f"Task {name!r} is periodic, so it is called without arguments, but its "
                f"signature {task.signature} does not allow that: {problem}. Give its parameters "
                "defaults, or schedule it from a periodic task that takes none."
            )
        with REGISTERING.held(), self._additions.held():
            known = self._tasks.get(task.name)
            if known is not None and not replace:
                raise DuplicateTask(
                    f"This registry has a task {name!r} already, {known.func!r}. Give the second "
                    "one a name of its own, or write replace=True to put it in the place of the "
                    "first."
                )
            engines = self._engines
            for engine in engines:
                engine._registry_may_grow(task, known)  # noqa: SLF001 - two halves of one link
            for engine in engines:
                engine._registry_grows(task, known)  # noqa: SLF001 - two halves of one link
            self._tasks = {**self._tasks, task.name: task}
        for engine in engines:
            engine._registry_grew()  # noqa: SLF001 - two halves of one link

    @typed_as(Scheduling.schedule)
    def schedule(self, task: Any = MISSING, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Schedule on the engine attached last; see `Engine.schedule`.

        Raises:
            TasksNotAttached: no engine is attached. And what the engine raises.
        """
        return self._engine().schedule(task, *args, **kwargs)

    @typed_as(Scheduling.schedule_at)
    def schedule_at(
        self, task: Any = MISSING, at: datetime = MISSING, /, *args: Any, **kwargs: Any
    ) -> Job[Any]:
        """Schedule on the engine attached last; see `Engine.schedule_at`.

        Raises:
            TasksNotAttached: no engine is attached. And what the engine raises.
        """
        return self._engine().schedule_at(task, at, *args, **kwargs)

    def schedule_batch(self, batch: Batch) -> list[Job[Any]]:
        """Schedule on the engine attached last; see `Engine.schedule_batch`.

        Raises:
            TasksNotAttached: no engine is attached. And what the engine raises.
        """
        return self._engine().schedule_batch(batch)

    def options(
        self, *, expires_in: timedelta | None = None, headers: Mapping[str, str] | None = None
    ) -> SchedulerWithOptions:
        """A scheduler of jobs with options, on the engine attached last; see `Engine.options`.

        It may be made before an engine is attached. Each call takes the engine that is attached
        last by then, and raises `TasksNotAttached` without one.

        Args:
            expires_in: no attempt begins later than this after the instant at which the job is
                to start; None: the job never expires.
            headers: texts that travel with the job; None: it has none.

        Raises:
            InvalidArgument: one that cannot be used.
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
        return self._engine()._schedule(options, task, at, args, kwargs)  # noqa: SLF001 - two halves of one link

    def _attached(self, engine: Scheduler) -> list[Scheduler]:
        """Note the engine this registry is attached to.

        Returns:
            Those it was attached to before.
        """
        before = self._engines
        self._engines = [*before, engine]
        return before

    def _detached(self, engine: Scheduler) -> None:
        self._engines = [known for known in self._engines if known is not engine]

    def _engine(self) -> Scheduler:
        try:
            return self._engines[-1]
        except IndexError:
            raise TasksNotAttached(
                f"This registry (tasks: {', '.join(self._tasks) or 'none'}) is attached to no "
                "engine. Call engine.attach_tasks(tasks) before scheduling."
            ) from None
