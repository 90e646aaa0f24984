"""How long to wait before trying again: a job that failed, and a call without an answer.

Waits grow exponentially, and a part of each is random, so that what failed together does
not come back together. For jobs users choose a `Backoff`; by default half of each wait is
certain, so that retries span a known time. Calls to a broker wait anything from nothing to a
bound that doubles (full jitter; Marc Brooker, "Exponential Backoff And Jitter", AWS
Architecture Blog, 2015).
"""

from __future__ import annotations

import inspect
import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol, TypeAlias

from spinach.exc import InvalidTask
from spinach.support.checks import deferred, require_timedelta

__all__ = [
    "DEFAULT_BACKOFF",
    "MAX_WAIT",
    "Backoff",
    "BackoffPolicy",
    "CallBackoff",
    "RandomSource",
    "exponential_backoff",
    "jittered_seconds",
    "require_backoff",
]

#: Longest wait that a policy may choose; no instant overflows with it.
MAX_WAIT: Final = timedelta(days=3650)

#: Shortest first wait: the unit in which brokers count delays.
_SHORTEST_WAIT: Final = timedelta(milliseconds=1)

#: Base of `exponential_backoff`.
_EXPONENTIAL_BASE_SECONDS: Final = 3

#: Base and bound of the wait between calls to a broker that does not answer.
CALL_BASE_SECONDS: Final = 0.02
CALL_CAP_SECONDS: Final = 5.0


class RandomSource(Protocol):
    """Anything with `uniform`; `random.Random` fits."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between a and b."""
        ...


def jittered_seconds(
    retry: int,
    *,
    base_seconds: float,
    cap_seconds: float,
    factor: float = 2.0,
    jitter: float = 1.0,
    source: RandomSource | None = None,
) -> float:
    """Seconds to wait: uniform over (1 - jitter) · w to w = min(cap, base · factor^retry).

    Args:
        retry: how many retries came before; 0 for the first one.
        base_seconds: w of the first wait.
        cap_seconds: bound of every wait.
        factor: from one wait to the next.
        jitter: share of a wait that is random.
        source: None takes the `random` module.
    """
    try:
        bound = min(cap_seconds, base_seconds * float(factor) ** retry)
    except OverflowError:  # beyond what a float holds
        bound = cap_seconds
    # The module's functions rather than a generator of our own: the standard
    # library seeds them anew after a fork, so that siblings do not wait alike.
    return (random if source is None else source).uniform((1.0 - jitter) * bound, bound)


def _require_number(value: Any, what: str, lowest: float, highest: float) -> None:
    """Check an int or float of a range; a bool is none, nor is one beyond what a float holds."""
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not lowest <= value <= min(highest, sys.float_info.max)
    ):
        until = "" if highest == math.inf else f" and at most {highest:g}"
        raise InvalidTask(
            f"{what} of Backoff is {value!r}, expected a number of at least {lowest:g}{until}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long jobs of a task wait between a failed attempt and the next one.

    After attempt number n, counted from 1 as in `Job.attempt`, the wait is drawn evenly
    from `(1 - jitter) · w` to `w`, where `w` is the smaller of `cap` and
    `first · factor ** (n - 1)`.

    Raises:
        InvalidTask: a value of another type or out of its range.
    """

    #: The longest wait after the first attempt; at least a millisecond.
    first: timedelta = timedelta(seconds=6)
    #: How many times as long as the one before it a wait is; at least 1, with which waits do
    #: not grow.
    factor: float = 2.0
    #: No wait is longer; at least `first`, at most 3650 days.
    cap: timedelta = timedelta(minutes=20)
    #: Share of the wait that is random, from 0.0 (none) to 1.0 (all of it).
    jitter: float = 0.5

    def __post_init__(self) -> None:
        require_timedelta(self.first, "first of Backoff", _SHORTEST_WAIT, InvalidTask)
        require_timedelta(self.cap, "cap of Backoff", self.first, InvalidTask)
        if self.cap > MAX_WAIT:
            raise InvalidTask(
                f"cap of Backoff is {self.cap!r}, expected a timedelta of at most "
                f"{MAX_WAIT.days} days, such as timedelta(minutes=20)."
            )
        _require_number(self.factor, "factor", 1.0, math.inf)
        _require_number(self.jitter, "jitter", 0.0, 1.0)

    def after(self, attempt: int, source: RandomSource | None = None) -> timedelta:
        """The wait after an attempt that failed; drawn anew at each call.

        Args:
            attempt: its number, from 1.
            source: of randomness; None takes the `random` module.
        """
        return timedelta(
            seconds=jittered_seconds(
                attempt - 1,
                base_seconds=self.first.total_seconds(),
                cap_seconds=self.cap.total_seconds(),
                factor=self.factor,
                jitter=self.jitter,
                source=source,
            )
        )


#: What a task may say of its waits. A function gets the number of the attempt that failed,
#: from 1, and returns the wait before the next one.
BackoffPolicy: TypeAlias = Backoff | Callable[[int], timedelta]

#: Of tasks that name none.
DEFAULT_BACKOFF: Final = Backoff()


def require_backoff(value: Any) -> BackoffPolicy:
    """Return a `backoff`, or raise InvalidTask.

    A function is not called here: what it returns is judged when an attempt failed.
    """
    if isinstance(value, Backoff):
        return value
    checked: Callable[[int], timedelta] = value
    if isinstance(value, type) or not callable(value):
        raise InvalidTask(
            f"backoff is {value!r} of type {type(value).__name__}, expected a Backoff such as "
            "Backoff(first=timedelta(seconds=6)), or a function that takes the number of the "
            "attempt that failed, from 1, and returns a timedelta."
        )
    if deferred(value) is not None:
        raise InvalidTask(
            f"backoff is {value!r}, an async or generator function, and calling it would return "
            "no timedelta. Use a plain function."
        )
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # some builtins and extension types have none
        return checked
    try:
        signature.bind(1)
    except TypeError as exc:
        raise InvalidTask(
            f"backoff is {value!r} with the signature {signature}, which does not take one "
            f"argument, the number of the attempt that failed: {exc}."
        ) from None
    return checked


def exponential_backoff(
    attempt: int, cap: int = 1200, *, source: RandomSource | None = None
) -> timedelta:
    """A wait for a plan of your own: whole seconds, half to all of min(cap, 3 s · 2^attempt).

    Half of that is rounded down, and as much again is the most that chance adds. It is what the
    older `spinach` has under this name. After attempt number n a task waits by default
    `Backoff().after(n)`, which draws from the span of `exponential_backoff(n)`, fractions
    included.

    Args:
        attempt: how many attempts were made.
        cap: bound in seconds.
        source: of randomness; None takes the `random` module.
    """
    half = int(min(cap, _EXPONENTIAL_BASE_SECONDS * 2 ** min(attempt, 64))) // 2
    added = int((random if source is None else source).uniform(0, half + 1))
    return timedelta(seconds=half + min(half, added))


class CallBackoff:
    """Counts failed calls in a row and spaces them out; not thread safe."""

    __slots__ = ("_failures", "_source")

    def __init__(self, source: RandomSource | None = None) -> None:
        self._failures = 0
        self._source = source

    @property
    def failing(self) -> bool:
        """Whether the last call failed."""
        return self._failures > 0

    def failed(self) -> float:
        """Count a failure; seconds to wait before the next call."""
        seconds = jittered_seconds(
            self._failures,
            base_seconds=CALL_BASE_SECONDS,
            cap_seconds=CALL_CAP_SECONDS,
            source=self._source,
        )
        self._failures += 1
        return seconds

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures = 0
