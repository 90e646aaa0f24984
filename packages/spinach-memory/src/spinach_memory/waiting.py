"""Processes that wait for something to take (I14)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from spinach.clock import Clock

    from .nested import WaitLock

__all__ = ["Waiter", "Waiters"]

#: What a clock is asked for at once, in seconds; waits without an end are several.
_LONGEST_WAIT_SECONDS: Final = 60 * 60.0


class Waiter:
    """One blocked fetch. It may wait for several queues.

    Every attribute is guarded by the store's lock, which its condition shares.
    """

    __slots__ = ("_condition", "_interrupted", "woken")

    def __init__(self, lock: WaitLock) -> None:
        self._condition = threading.Condition(lock)  # type: ignore[arg-type] # any such lock does
        self._interrupted = False
        #: Notified, and not back from its wait yet.
        self.woken = False

    def wake(self) -> None:
        """Let it look again."""
        self.woken = True
        self._condition.notify()

    def interrupt(self) -> None:
        """End its wait."""
        self._interrupted = True
        self._condition.notify()

    def wait(self, clock: Clock, seconds: float, ready: Callable[[], bool]) -> None:
        """Return when `ready()`, when interrupted, or after `seconds` of the clock, if ever.

        It may be woken and find that others were faster. Then it goes on waiting.
        """
        deadline = clock.monotonic() + seconds
        while not (self._interrupted or ready()):
            self.woken = False
            left = deadline - clock.monotonic()
            if left <= 0:
                return
            clock.wait(self._condition, min(left, _LONGEST_WAIT_SECONDS))


class Waiters:
    """The waiters of one queue, in the order they came."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[Waiter, None] = {}

    def add(self, waiter: Waiter) -> None:
        """Add one behind the others."""
        self._waiters[waiter] = None

    def remove(self, waiter: Waiter) -> None:
        """Remove one, wherever it is."""
        self._waiters.pop(waiter, None)

    def wake_one(self) -> None:
        """Wake the first that is not awake yet, if there is one."""
        for waiter in self._waiters:
            if not waiter.woken:
                waiter.wake()
                return

    def wake_all(self) -> None:
        """Wake all; those that find nothing to take go on waiting."""
        for waiter in self._waiters:
            waiter.wake()
