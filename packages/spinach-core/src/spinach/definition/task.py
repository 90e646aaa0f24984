"""What a task is: a function under a name, and how its jobs run; and how one is found."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar

from spinach.backoff import DEFAULT_BACKOFF, BackoffPolicy
from spinach.definition.signature import CallSignature
from spinach.exc import InvalidArgument, InvalidJobSignatureError, InvalidTask, UnknownTask
from spinach.record.header import header_line
from spinach.record.names import check_name
from spinach.record.options import NO_OPTIONS, RecordOptions
from spinach.support.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Task", "Wanted", "check_call", "find_task", "identity", "name_of_task"]

P = ParamSpec("P")
R = TypeVar("R")

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task(Generic[P, R]):
    """A function under a name, with how its jobs run; made by `Tasks`."""

    func: Callable[P, R]
    name: str
    queue: str
    max_retries: int
    #: None: not periodic.
    periodicity: timedelta | None
    #: Most jobs of this task that run at once over all workers; None: no limit.
    max_concurrency: int | None
    #: How long its jobs wait between a failed attempt and the next one.
    backoff: BackoffPolicy = DEFAULT_BACKOFF
    #: How long results of its jobs are kept; None: they have none.
    keep_result: timedelta | None = None
    #: How long an attempt may run before it is told to stop; None: as long as it takes.
    time_limit: timedelta | None = None
    signature: CallSignature = field(init=False, repr=False)
    #: What the record of each of its jobs says beside the arguments; a call may say more.
    options: RecordOptions = field(init=False, repr=False)
    #: First line of the record of each of its jobs, with the flags of these options.
    header: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        options = NO_OPTIONS
        if self.keep_result is not None:
            options = RecordOptions(keep_ms=self.keep_result // _MILLISECOND)
        object.__setattr__(self, "signature", CallSignature(self.func))
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "header", self.header_with(options))

    def header_with(self, options: RecordOptions) -> bytes:
        """First line of the record of a job with these options."""
        return header_line(
            max_retries=self.max_retries, queue=self.queue, task=self.name, flags=options.flags
        )


#: How a caller names a task.
Wanted: TypeAlias = "str | Callable[..., object] | Task[..., Any]"


def identity(func: object) -> tuple[int, int]:
    """What two function objects have in common when they are the same function.

    A bound method is made anew at each access, so it counts by its function and its object.
    """
    if isinstance(func, types.MethodType):
        return id(func.__self__), id(func.__func__)
    return id(func), 0


def find_task(wanted: Wanted, tasks: Mapping[str, Task[..., Any]]) -> Task[..., Any]:
    """Find a task by name, function or `Task`.

    Raises:
        UnknownTask: not there.
        InvalidTask: the function stands there under several names.
    """
    if isinstance(wanted, str):
        if (found := tasks.get(wanted)) is not None:
            return found
        raise _unknown(repr(wanted), wanted, tasks)
    if isinstance(wanted, Task):
        if tasks.get(wanted.name) is wanted:
            return wanted
        raise _unknown(repr(wanted.name), wanted.name, tasks)
    key = identity(wanted)
    matches = [task for task in tasks.values() if identity(task.func) == key]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(repr(task.name) for task in matches)
        raise InvalidTask(
            f"{wanted!r} is registered under several names: {names}. Schedule it by name."
        )
    name = getattr(wanted, "__name__", "")
    raise _unknown(repr(wanted), name if isinstance(name, str) else "", tasks)


def name_of_task(wanted: Any, resolve: Callable[[Any], Task[..., Any]]) -> str:
    """The name of a task that need not be attached if it is named by its name.

    Args:
        wanted: its name, its function, or the `Task`.
        resolve: finds the task of a function.

    Raises:
        InvalidName: a name that no task can have.
        InvalidArgument: nothing that names a task.
        UnknownTask: the function is no task that is attached.
    """
    if isinstance(wanted, str):
        return check_name(wanted, "task")
    if isinstance(wanted, Task):
        return wanted.name
    if callable(wanted):
        return resolve(wanted).name
    raise InvalidArgument(
        f"task is {wanted!r} of type {type(wanted).__name__}, expected the name of a task, its "
        "function, or the Task, such as job.task_name."
    )


def check_call(task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Check that arguments fit a task.

    Raises:
        InvalidJobSignatureError: they do not.
    """
    if problem := task.signature.problem(args, kwargs):
        raise InvalidJobSignatureError(
            f"Task {task.name!r} cannot be called like that: {problem}. "
            f"Its signature is {task.name}{task.signature}."
        )


def _unknown(shown: str, name: str, tasks: Mapping[str, Task[..., Any]]) -> UnknownTask:
    return UnknownTask(
        f"Unknown task {shown}.{did_you_mean(name, tasks)} Known tasks: "
        f"{', '.join(sorted(tasks)) or 'none'}. Register it with @tasks.task(name=...) and call "
        "engine.attach_tasks(tasks) before scheduling it."
    )
