"""A flag that one thread waits for and others set."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from spinach.clock import Clock

__all__ = ["Sync", "WakeUp"]


class Sync(Protocol):
    """What makes locks and conditions; the module `threading` is one."""

    def Lock(self) -> threading.Lock:  # noqa: N802 - the name that threading has
        """A lock that is not reentrant."""
        ...

    def Condition(self, lock: threading.Lock) -> threading.Condition:  # noqa: N802
        """A condition on that lock."""
        ...


class WakeUp:
    """Wakes one thread; a set before the wait counts, several count as one.

    `set` may be called while holding other locks; it takes none after its own. It may also
    be called in the middle of another `set` on the same thread, by a signal handler or a
    finalizer, but not in the middle of a wait.

    Args:
        clock: does the waiting.
        sync: makes lock and condition; tests put their own here.
    """

    __slots__ = ("_clock", "_condition", "_set")

    def __init__(self, clock: Clock, sync: Sync = threading) -> None:
        self._clock = clock
        self._condition = sync.Condition(sync.Lock())  # guards _set
        self._set = False

    def set(self) -> None:
        """Wake the waiting thread, or let its next wait return at once."""
        # Without the lock: a caller that finds it set has written its news before, and the
        # waiting thread reads the news after it cleared the flag.
        if self._set:
            return
        # Before the lock, so that a set in the middle of this one does not want it.
        self._set = True
        with self._condition:
            self._condition.notify()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until it is set.

        Returns:
            Whether it was set; False after the timeout.
        """
        with self._condition:
            if not self._set and timeout_seconds > 0:
                self._clock.wait(self._condition, timeout_seconds)
            is_set, self._set = self._set, False
            return is_set
