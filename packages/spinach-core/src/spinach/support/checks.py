"""Checks of what users hand in, with errors that name value, range and remedy.

They take `Any`, because callers without a type checker hand in anything.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from spinach.const import (
    MAX_KEEP_RESULT,
    MAX_RETRIES_LIMIT,
    MAX_TIME_LIMIT,
    MIN_KEEP_RESULT,
    MIN_PERIODICITY,
)
from spinach.exc import InvalidArgument, InvalidTask, SpinachError
from spinach.record.names import check_name
from spinach.support.exception_text import class_name, shown

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MISSING",
    "at_is_none",
    "deferred",
    "missing_position",
    "refuse_unfinished",
    "require_callable",
    "require_clock",
    "require_concurrency",
    "require_int",
    "require_keep_result",
    "require_periodicity",
    "require_progress",
    "require_queues",
    "require_retries",
    "require_time_limit",
    "require_timedelta",
]

_OF_ASYNC = (
    "and calling it in a worker thread would run nothing. Register a plain function that calls "
    "asyncio.run(...)."
)
_OF_GENERATOR = (
    "and calling it would run nothing. Register a plain function that consumes the generator."
)

#: Classes of results that have to be awaited or iterated; what an error calls such a result, and
#: the rest of its message.
_UNFINISHED = (
    (Coroutine, "a coroutine", _OF_ASYNC),
    (AsyncGenerator, "an async generator", _OF_ASYNC),
    (Generator, "a generator", _OF_GENERATOR),
    (Awaitable, "an awaitable", _OF_ASYNC),
)

#: Results of these classes need no closer look.
_FINISHED = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict, set})


class _Missing:
    """Stands in for an argument that was left out."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<missing>"


#: Default of what a call takes by position and cannot do without. Python's own message would
#: say that it is missing even where it was given by name.
MISSING: Final[Any] = _Missing()


def missing_position(call: str, parameter: str, named: Mapping[str, object]) -> InvalidArgument:
    """The error for a call without the task, or without the instant, at its position.

    Args:
        call: name of the method.
        parameter: "task" or "at".
        named: keyword arguments of the call; all of them are meant for the task.
    """
    example = f"{call}(task, when, ...)" if call == "schedule_at" else f"{call}(task, ...)"
    place = {"task": "the task as the first", "at": "the instant as the second"}[parameter]
    if parameter in named:
        return InvalidArgument(
            f"{call} got {parameter}= as a keyword, which would be an argument of the task's "
            f"function. Pass {place} positional argument: {example}."
        )
    return InvalidArgument(f"{call} lacks {place} positional argument. Write {example}.")


def at_is_none() -> InvalidArgument:
    """The error for a `schedule_at` with None as its instant."""
    return InvalidArgument(
        "at is None, expected a datetime. Use schedule() to start as soon as possible."
    )


def require_int(
    value: Any, what: str, lowest: int, highest: int, error: type[SpinachError] = InvalidArgument
) -> int:
    """Return an int of a range; a bool is none.

    Raises:
        InvalidArgument: or `error`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise error(f"{what} is {value!r}, expected an int from {lowest} to {highest}.")
    return int(value)


def require_timedelta(
    value: Any, what: str, lowest: timedelta, error: type[SpinachError] = InvalidArgument
) -> timedelta:
    """Return a timedelta that is long enough.

    Raises:
        InvalidArgument: or `error`.
    """
    if not isinstance(value, timedelta) or value < lowest:
        raise error(
            f"{what} is {value!r}, expected a timedelta of at least "
            f"{lowest.total_seconds():g} seconds, such as timedelta(minutes=5)."
        )
    return value


def require_clock(value: Any) -> Any:
    """Return the value, which has all methods of a `spinach.clock.Clock`.

    Raises:
        InvalidArgument: it lacks one.
    """
    missing = [
        name for name in ("now", "monotonic", "wait") if not callable(getattr(value, name, None))
    ]
    if missing:
        raise InvalidArgument(
            f"clock is {value!r} of type {type(value).__name__} without {', '.join(missing)}, "
            "expected a clock such as spinach.clock.SystemClock()."
        )
    return value


def require_queues(queue: Any) -> tuple[str, ...]:
    """Return the names of one queue or several, each once.

    Raises:
        InvalidArgument: neither a name nor a sequence, empty, or with a name twice.
        InvalidName: bad queue name.
    """
    queues = (queue,) if isinstance(queue, str) else queue
    if not isinstance(queues, Sequence) or isinstance(queues, (bytes, bytearray)):
        raise InvalidArgument(
            f"queue is {queue!r} of type {type(queue).__name__}, expected a name or a sequence "
            "of names in the order of preference, such as a list, or spinach.ALL_QUEUES."
        )
    names = tuple(check_name(name, "queue") for name in queues)
    if not names:
        raise InvalidArgument("queue is an empty sequence, expected at least one queue name.")
    if len(set(names)) != len(names):
        raise InvalidArgument(f"queue is {queue!r}, where a name stands twice. Name each once.")
    return names


def require_callable(func: Any) -> Callable[..., object]:
    """Return what can be a task's function.

    Raises:
        InvalidTask: not callable, or calling it would run nothing.
    """
    if not callable(func):
        raise InvalidTask(
            f"{func!r} of type {type(func).__name__} is not callable. Register a function."
        )
    match deferred(func):
        case "async":
            raise InvalidTask(f"{func!r} is an async function, {_OF_ASYNC}")
        case "generator":
            raise InvalidTask(f"{func!r} is a generator function, {_OF_GENERATOR}")
        case None:
            checked: Callable[..., object] = func
            return checked


def deferred(func: Callable[..., object]) -> Literal["async", "generator"] | None:
    """What kind of function runs nothing when it is called; None of a plain one.

    Args:
        func: a function, a method, a partial of either, or an object with `__call__`.
    """
    while isinstance(func, functools.partial):
        func = func.func
    called = func if inspect.isroutine(func) else type(func).__call__
    for candidate in (func, called):
        if inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate):
            return "async"
        if inspect.isgeneratorfunction(candidate):
            return "generator"
    return None


def refuse_unfinished(func: Callable[..., object], result: object) -> InvalidTask | None:
    """Why a call does not count as done, with the remedy that registering would have named.

    A call is not done when what it returned has to be awaited or iterated first: a coroutine, a
    generator, an async generator, or anything else that can be awaited. Other iterators, such as
    a `map` or a file, are results like any other. A coroutine or generator is closed, so that
    Python does not warn of it as well.

    Args:
        func: what was called, for the message.
        result: what it returned.

    Returns:
        The error, to be told; None: the result is as good as any other.
    """
    kind = type(result)
    if kind in _FINISHED:
        return None
    for unfinished, what, remedy in _UNFINISHED:
        try:
            # By its class, as `await` looks: an object may pretend to have any attribute.
            if not issubclass(kind, unfinished):
                continue
        except Exception:  # noqa: BLE001 - a class that refuses to tell is no failure of the job
            return None
        if isinstance(result, (Coroutine, Generator)):
            with suppress(BaseException):  # one that had begun runs to its end, which may raise
                result.close()
        named = f"{what} of type {class_name(kind)}" if unfinished is Awaitable else what
        return InvalidTask(f"{shown(func)} returned {named}, {remedy}")
    return None


def require_progress(value: Any, takes: str) -> None:
    """Check a function that is called after each part of the work; None: there is none.

    Args:
        value: to check.
        takes: what it is called with.

    Raises:
        InvalidArgument: neither None nor callable.
    """
    if value is not None and not callable(value):
        raise InvalidArgument(
            f"progress is {shown(value)}, expected a function that takes {takes}."
        )


def require_retries(value: Any) -> int:
    """Return a `max_retries`, or raise InvalidTask."""
    return require_int(value, "max_retries", 0, MAX_RETRIES_LIMIT, InvalidTask)


def require_concurrency(value: Any) -> int | None:
    """Return a `max_concurrency`, None for no limit, or raise InvalidTask."""
    if value is None:
        return None
    return require_int(value, "max_concurrency", 1, MAX_RETRIES_LIMIT, InvalidTask)


def require_periodicity(value: Any) -> timedelta | None:
    """Return a `periodicity`, None for not periodic, or raise InvalidTask."""
    if value is None:
        return None
    return require_timedelta(value, "periodicity", MIN_PERIODICITY, InvalidTask)


def require_keep_result(value: Any) -> timedelta | None:
    """Return a `keep_result`, None for no results, or raise InvalidTask."""
    if value is None:
        return None
    kept = require_timedelta(value, "keep_result", MIN_KEEP_RESULT, InvalidTask)
    if kept > MAX_KEEP_RESULT:
        raise InvalidTask(
            f"keep_result is {value!r}, expected {MAX_KEEP_RESULT.days} days at most. Store what "
            "is to be kept for longer in a database."
        )
    return kept


def require_time_limit(value: Any) -> timedelta | None:
    """Return a `time_limit`, None for none, or raise InvalidTask."""
    if value is None:
        return None
    limit = require_timedelta(value, "time_limit", timedelta(milliseconds=1), InvalidTask)
    if limit > MAX_TIME_LIMIT:
        raise InvalidTask(
            f"time_limit is {value!r}, expected a timedelta of at most {MAX_TIME_LIMIT.days} days. "
            "Write None for a task that may take as long as it likes."
        )
    return limit
