"""A proxy that counts the commands which clients send through it.

The server's own counters hold those that scripts call as well.
"""

from __future__ import annotations

import re
from collections import Counter

from ..tests.proxy import Loss, Proxy

__all__ = ["CountingProxy"]

#: The head of a command; clients that have nothing to do send no other text like it.
_COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n(\w+)\r\n")


class CountingProxy(Proxy):
    """Loses nothing unless told to."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._counts: Counter[str] = Counter()

    def _strike(self, data: bytes) -> tuple[int, Loss | None]:
        found = Counter(name.decode().lower() for name in _COMMAND.findall(data))
        with self._lock:
            self._counts.update(found)
        return super()._strike(data)

    def counts(self) -> Counter[str]:
        """Name → how many were sent so far."""
        with self._lock:
            return self._counts.copy()
