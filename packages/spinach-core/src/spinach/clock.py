"""Time as the engine sees it, and the instants that users hand in.

Every "now" and every wait of the engine goes through the broker's `Clock`, so
that a test can turn it.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from spinach.exc import InvalidArgument
from spinach.support.exception_text import class_name, message_of, shown
from spinach.support.realtime import Real, time

if TYPE_CHECKING:
    import threading

__all__ = ["Clock", "SystemClock", "as_utc", "from_ms", "to_ms"]

_DAY_SECONDS = 24 * 60 * 60.0
_EPOCH = Real.datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
#: Rounded up to the millisecond, it is still a datetime.
_LATEST = Real.datetime.max.replace(tzinfo=UTC) - _MILLISECOND


class Clock(Protocol):
    """What the engine needs of time; safe to share between threads."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary point; never goes back."""
        ...

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        """Wait on a condition that the caller holds.

        Args:
            condition: acquired by the caller, as for `threading.Condition.wait`.
            timeout_seconds: None waits for a notification without limit.

        Returns:
            False when the timeout ended the wait, else True. Either way the
            caller checks again what it waits for.
        """
        ...


class SystemClock:
    """The machine's clock, also in a test that froze the time with freezegun.

    So jobs come due there as they do on a server, whose clock no test freezes.
    time-machine does reach `now`.
    """

    def now(self) -> datetime:
        """The machine's wall clock."""
        return Real.datetime.now(UTC)

    # The function itself: called several times a job, it needs no frame of its own.
    monotonic = staticmethod(time.monotonic)

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        """`threading.Condition.wait`; a timeout longer than a day ends after one."""
        if timeout_seconds is None:
            return condition.wait()
        # The platform refuses timeouts of some centuries.
        return condition.wait(min(timeout_seconds, _DAY_SECONDS))


def as_utc(at: datetime, *, what: str = "at") -> datetime:
    """Return an instant in UTC, as a plain `datetime`; a naive datetime counts as UTC.

    Args:
        at: a datetime, or an object of a subclass, as other libraries have them.
        what: how the message of an error calls it.

    Raises:
        InvalidArgument: `at` is not a datetime, or names no instant.
    """
    if not isinstance(at, datetime):
        raise InvalidArgument(
            f"{what} is {at!r} of type {type(at).__name__}, expected a datetime. "
            "Pass an aware datetime such as datetime.now(timezone.utc) + timedelta(minutes=5)."
        )
    try:
        utc = _plain(at)
        if utc > _LATEST:
            raise OverflowError
    except OverflowError as exc:
        raise InvalidArgument(
            f"{what} is {shown(at)}, which is outside the years 1 to 9999 in UTC. "
            "Pass an instant inside them."
        ) from exc
    except Exception as exc:
        raise InvalidArgument(
            f"{what} is {shown(at)} of type {class_name(type(at))}, which names no instant "
            f"({message_of(exc)}). Pass a datetime.datetime of that instant."
        ) from exc
    return utc


def _plain(at: datetime) -> datetime:
    """The instant as a `datetime` of the standard library, in UTC.

    Made of the fields and the offset alone, since a subclass may compute in a way of its own.
    """
    plain = Real.datetime(
        at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, UTC
    )
    offset = at.utcoffset()
    if offset is None:
        return plain
    return plain - timedelta(offset.days, offset.seconds, offset.microseconds)


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970 of an aware datetime, rounded up: never early (I8)."""
    if type(at) is not Real.datetime:
        at = _plain(at)  # from a clock of the user's own
    return -((_EPOCH - at) // _MILLISECOND)


@functools.lru_cache(maxsize=16)  # the jobs of a batch share their instant
def from_ms(instant_ms: int) -> datetime:
    """The aware UTC datetime of milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=instant_ms)
