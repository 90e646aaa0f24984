"""Checks of what users hand in, with errors that name value, range and remedy.

They take `Any`, because callers without a type checker hand in anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from . import wire
from .const import MAX_RETRIES_LIMIT, MIN_PERIODICITY
from .exc import InvalidArgument, InvalidTask, SpinachError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clock import Clock

__all__ = [
    "require_callable",
    "require_clock",
    "require_concurrency",
    "require_int",
    "require_periodicity",
    "require_queues",
    "require_retries",
    "require_timedelta",
]


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


def require_clock(value: Any) -> Clock:
    """Return a clock.

    Raises:
        InvalidArgument: it lacks a method of one.
    """
    missing = [
        name for name in ("now", "monotonic", "wait") if not callable(getattr(value, name, None))
    ]
    if missing:
        raise InvalidArgument(
            f"clock is {value!r} of type {type(value).__name__} without {', '.join(missing)}, "
            "expected a clock such as spinach.clock.SystemClock()."
        )
    clock: Clock = value
    return clock


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
    names = tuple(wire.check_name(name, "queue") for name in queues)
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
    called = type(func).__call__ if not inspect.isroutine(func) else func
    for candidate in (func, called):
        if inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate):
            raise InvalidTask(
                f"{func!r} is an async function, and calling it in a worker thread would run "
                "nothing. Register a plain function that calls asyncio.run(...)."
            )
        if inspect.isgeneratorfunction(candidate):
            raise InvalidTask(
                f"{func!r} is a generator function, and calling it would run nothing. "
                "Register a plain function that consumes the generator."
            )
    checked: Callable[..., object] = func
    return checked


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
