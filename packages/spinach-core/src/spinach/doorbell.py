"""A bell that one thread waits at and others ring."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clock import Clock

__all__ = ["Doorbell"]


class Doorbell:
    """Wakes one thread; a ring before the wait counts, several count as one.

    `ring` may be called while holding other locks; it takes none after its own.

    Args:
        clock: does the waiting.
        condition: makes the condition; tests put their own here.
    """

    __slots__ = ("_clock", "_condition", "_rung")

    def __init__(
        self, clock: Clock, condition: Callable[[], threading.Condition] = threading.Condition
    ) -> None:
        self._clock = clock
        self._condition = condition()  # guards _rung
        self._rung = False

    def ring(self) -> None:
        """Wake the waiting thread, or let its next wait return at once."""
        # Without the lock: who finds it rung has written its news before, and the
        # waiting thread reads the news after it cleared the flag.
        if self._rung:
            return
        with self._condition:
            self._rung = True
            self._condition.notify()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a ring.

        Returns:
            Whether it rang; False after the timeout.
        """
        with self._condition:
            if not self._rung and timeout_seconds > 0:
                self._clock.wait(self._condition, timeout_seconds)
            rung, self._rung = self._rung, False
            return rung
