"""Tells the log when the server goes away and comes back, and not more often."""

from __future__ import annotations

import logging
import threading
import time

__all__ = ["LOGGER", "Health"]

LOGGER = logging.getLogger("spinach.broker.redis")


class Health:
    """What the last call learned about the server; thread safe.

    Args:
        address: of the server, for the log.
    """

    def __init__(self, address: str) -> None:
        #: Of the server.
        self.address = address
        #: When a call last failed, on the clock of `time.monotonic`.
        self.failed_at = 0.0
        # Guards the change of `_down`, so that one of many threads logs it.
        self._lock = threading.Lock()
        self._down = False

    @property
    def down(self) -> bool:
        """Whether the last call found it unusable."""
        return self._down

    def failed(self, error: Exception) -> None:
        """A call found the server unusable."""
        self.failed_at = time.monotonic()
        if self._down:
            return
        with self._lock:
            first, self._down = not self._down, True
        if first:
            LOGGER.warning(
                "The Redis server at %s cannot be used, trying on: %s", self.address, error
            )

    def answered(self) -> None:
        """A call was answered."""
        if not self._down:
            return
        with self._lock:
            first, self._down = self._down, False
        if first:
            LOGGER.info("The Redis server at %s can be used again", self.address)
