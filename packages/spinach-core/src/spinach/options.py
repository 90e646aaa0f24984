"""What `options` returns: schedulers that give their options to each job.

`schedule(task, *args, **kwargs)` passes everything on to the task, so options have a place of
their own: `spin.options(expires_in=...).schedule(task, ...)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from spinach.clock import as_utc, to_ms
from spinach.definition.overloads import Collecting, Scheduling, typed_as
from spinach.support.checks import MISSING, at_is_none, missing_position

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from spinach.definition.call_options import CallOptions
    from spinach.job import Job

__all__ = ["BatchWithOptions", "SchedulerWithOptions"]

Answer = TypeVar("Answer")

#: Called with the options, the task, when the job is to start (None: as soon as possible), and
#: the arguments.
Send: TypeAlias = (
    "Callable[[CallOptions, Any, datetime | None, tuple[Any, ...], dict[str, Any]], Answer]"
)


class SchedulerWithOptions:
    """Schedules jobs with the options it was made with; immutable and thread safe.

    `Engine.options` and `Tasks.options` make one. It may be kept and used for any number of jobs.
    """

    __slots__ = ("_options", "_send")

    def __init__(self, send: Send[Job[Any]], options: CallOptions) -> None:
        self._send = send
        self._options = options

    def __repr__(self) -> str:
        return f"<SchedulerWithOptions: {self._options!r}>"

    @typed_as(Scheduling.schedule)
    def schedule(self, task: Any = MISSING, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Schedule a job to start as soon as possible; see `Engine.schedule`.

        Raises:
            InvalidArgument: it would expire after the year 9999. And whatever `schedule` of the
                engine or registry raises.
        """
        if task is MISSING:
            raise missing_position("schedule", "task", kwargs)
        return self._send(self._options, task, None, args, kwargs)

    @typed_as(Scheduling.schedule_at)
    def schedule_at(
        self, task: Any = MISSING, at: datetime = MISSING, /, *args: Any, **kwargs: Any
    ) -> Job[Any]:
        """Schedule a job to start at an instant; see `Engine.schedule_at`.

        Raises:
            InvalidArgument: it would expire after the year 9999. And whatever `schedule_at` of
                the engine or registry raises.
        """
        if at is MISSING:
            raise missing_position("schedule_at", "task" if task is MISSING else "at", kwargs)
        if at is None:
            raise at_is_none()
        return self._send(self._options, task, at, args, kwargs)


class BatchWithOptions:
    """Adds jobs with the options it was made with to a batch; immutable, and as safe as that.

    `Batch.options` makes one. It may be kept as long as the batch is.
    """

    __slots__ = ("_add", "_options")

    def __init__(self, add: Send[None], options: CallOptions) -> None:
        self._add = add
        self._options = options

    def __repr__(self) -> str:
        return f"<BatchWithOptions: {self._options!r}>"

    @typed_as(Collecting.schedule)
    def schedule(self, task: Any = MISSING, /, *args: Any, **kwargs: Any) -> None:
        """Add a job that starts as soon as possible; see `Batch.schedule`, also for errors."""
        if task is MISSING:
            raise missing_position("schedule", "task", kwargs)
        self._add(self._options, task, None, args, kwargs)

    @typed_as(Collecting.schedule_at)
    def schedule_at(
        self, task: Any = MISSING, at: datetime = MISSING, /, *args: Any, **kwargs: Any
    ) -> None:
        """Add a job that starts at an instant; see `Batch.schedule_at`.

        Raises:
            InvalidArgument: it would expire after the year 9999. And whatever that raises.
        """
        if at is MISSING:
            raise missing_position("schedule_at", "task" if task is MISSING else "at", kwargs)
        start = as_utc(at)
        self._options.recorded(to_ms(start))
        self._add(self._options, task, start, args, kwargs)
