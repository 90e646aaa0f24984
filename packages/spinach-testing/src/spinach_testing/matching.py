"""Compares the arguments of a job with those that a test expects."""

from __future__ import annotations

import inspect
from collections import Counter, OrderedDict
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY, call

from spinach.clock import as_utc, to_ms
from spinach.exc import InvalidArgument, InvalidJobSignatureError

from .listing import call_text

if TYPE_CHECKING:
    from spinach import Job, Task

__all__ = ["ExpectedCall", "expected_instant"]

_CALL = type(call)

#: How containers compare that are equal when their contents are.
_LISTS: tuple[object, ...] = (list.__eq__, tuple.__eq__)
_DICTS: tuple[object, ...] = (dict.__eq__, OrderedDict.__eq__, Counter.__eq__)


class ExpectedCall:
    """A call that jobs of one task are compared with.

    Both sides are bound to the task's parameters, defaults included, so it does not matter which
    arguments are passed by name. Tuples count as lists, and subclasses of containers as their
    base, since workers get them so. Everything else is compared by `expected == actual`, so
    that matchers such as `unittest.mock.ANY` work.

    Args:
        task: of the jobs.
        expected: `unittest.mock.call(...)`, or ANY.

    Raises:
        InvalidArgument: something else.
        InvalidJobSignatureError: the task cannot be called like that.
    """

    def __init__(self, task: Task[..., Any], expected: Any) -> None:
        self._task = task
        self._any = expected is ANY
        if self._any:
            return
        if not isinstance(expected, _CALL):
            raise _no_call(task, expected)
        *name, args, kwargs = expected
        # Not `call` itself, nor a call of an attribute such as call.send(...).
        if expected is call or any(name):
            raise _no_call(task, expected)
        self._args, self._kwargs = tuple(args), dict(kwargs)
        try:
            self._signature: inspect.Signature | None = inspect.signature(task.func)
        except (TypeError, ValueError):  # some builtins and extension types have none
            self._signature = None
        try:
            self._bound = self._bind(self._args, self._kwargs)
        except TypeError as exc:
            raise InvalidJobSignatureError(
                f"No job of task {task.name!r} can match {self}: {exc}. "
                f"Its signature is {task.name}{task.signature}."
            ) from None

    def __str__(self) -> str:
        if self._any:
            return f"{self._task.name}(...)"
        return call_text(self._task.name, self._args, self._kwargs)

    def matches(self, job: Job) -> bool:
        """Whether the job was called like that."""
        if self._any:
            return True
        try:
            actual = self._bind(job.task_args, job.task_kwargs)
        except TypeError:  # scheduled before the signature changed, or by another release
            return False
        # The expected side first, so that its matchers are asked.
        return bool(self._bound == actual)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._signature is None:
            return _as_sent([args, kwargs])
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return _as_sent(dict(bound.arguments))


def _no_call(task: Task[..., Any], expected: object) -> InvalidArgument:
    return InvalidArgument(
        f"call is {expected!r}, expected unittest.mock.call(...) with the arguments of "
        f"the job, or unittest.mock.ANY. Write assert_scheduled({task.name!r}, "
        "call('ada', urgent=True))."
    )


def expected_instant(at: Any) -> Any:
    """What the instant of a job is compared with. Stores keep whole milliseconds.

    Args:
        at: a datetime (naive is UTC), or a matcher.

    Raises:
        InvalidArgument: a date, a timedelta, a number or a text.
    """
    if isinstance(at, datetime):
        return _Instant(to_ms(as_utc(at)))
    if isinstance(at, date | timedelta | int | float | str):
        raise InvalidArgument(
            f"at is {at!r}, expected a datetime or a matcher. "
            "Write at=spinach_clock.now() + timedelta(hours=1)."
        )
    return at


class _Instant:
    """Equal to every datetime of its millisecond."""

    def __init__(self, instant_ms: int) -> None:
        self._instant_ms = instant_ms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, datetime) and to_ms(other) == self._instant_ms

    __hash__ = None  # type: ignore[assignment] # like every matcher, it has none


def _as_sent(value: Any) -> Any:
    """The value with containers as workers get them: tuples as lists, and subclasses such as
    named tuples as their base. Containers with an `__eq__` of their own are matchers, and stay."""
    compares: object = type(value).__eq__
    if compares in _LISTS and isinstance(value, list | tuple):
        return [_as_sent(item) for item in value]
    if compares in _DICTS and isinstance(value, dict):
        return {key: _as_sent(item) for key, item in value.items()}
    return value
