"""A clock that a test turns; it never moves by itself, and never back."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from spinach.exc import InvalidArgument

__all__ = ["VirtualClock"]

#: Where every virtual clock starts unless told otherwise.
START = datetime(2030, 1, 1, tzinfo=UTC)

#: Sums of float seconds that should be equal may differ by less than this.
_TOLERANCE_SECONDS = 1e-6


class VirtualClock:
    """Implements `spinach.clock.Clock`; safe to share between threads.

    A wait ends on a notification, or when `advance` moves the clock to its
    deadline. Real time never ends it, so that a wake-up that gets lost shows as a
    hang instead of passing as a delay.

    Args:
        start: what `now` answers first; aware.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = timedelta(0)
        # Guards the two attributes around it; never held while a condition is.
        self._lock = threading.Lock()
        self._waits: list[tuple[float, threading.Condition]] = []

    def now(self) -> datetime:
        """The virtual wall clock, UTC."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Virtual seconds since the clock was made."""
        return self._elapsed.total_seconds()

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        """Wait until the condition is notified or virtual time reaches the deadline.

        Args:
            condition: acquired by the caller.
            timeout_seconds: virtual; None waits for a notification only.

        Returns:
            False when the deadline is reached, else True.
        """
        if timeout_seconds is None:
            condition.wait()
            return True
        deadline = self.monotonic() + timeout_seconds
        entry = (deadline, condition)
        with self._lock:
            if self._reached(deadline):
                return False
            self._waits.append(entry)
        # `advance` cannot notify between here and the wait: it needs the condition.
        try:
            condition.wait()
        finally:
            with self._lock:
                self._waits.remove(entry)
        return not self._reached(deadline)

    def advance(self, by: timedelta) -> None:
        """Move the clock and wake whoever's deadline is reached.

        Args:
            by: not negative.

        Raises:
            InvalidArgument: not a timedelta, or negative.
        """
        if not isinstance(by, timedelta) or by < timedelta(0):
            raise InvalidArgument(
                f"Cannot advance the clock by {by!r}, expected a timedelta that is not "
                "negative. Write advance(timedelta(minutes=5))."
            )
        with self._lock:
            self._elapsed += by
            reached = [condition for deadline, condition in self._waits if self._reached(deadline)]
        for condition in reached:
            with condition:
                condition.notify_all()

    def _reached(self, deadline: float) -> bool:
        return self.monotonic() + _TOLERANCE_SECONDS >= deadline
