"""A proxy that counts the commands which clients send through it.

The server's own counters hold those that scripts call as well.
"""

from __future__ import annotations

import re
from collections import Counter

from spinach_redis import scripts as script

from ..tests.proxy import Loss, Proxy

__all__ = ["CountingProxy"]

#: The head of a command, with the name of a script; clients that have nothing to do send no
#: other text like it.
_COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n(\w+)\r\n(?:\$40\r\n([0-9a-f]{40})\r\n)?")
_SCRIPTS = {each.sha: each.name for each in script.SCRIPTS}


class CountingProxy(Proxy):
    """Loses nothing unless told to."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._counts: Counter[str] = Counter()

    def _strike(self, data: bytes) -> tuple[int, Loss | None]:
        found = Counter(
            _SCRIPTS.get(sha) or name.decode().lower() for name, sha in _COMMAND.findall(data)
        )
        with self._lock:
            self._counts.update(found)
        return super()._strike(data)

    def counts(self) -> Counter[str]:
        """Name of a command, or of a script that is known → how many were sent so far."""
        with self._lock:
            return self._counts.copy()

    @property
    def scripts(self) -> int:
        """Scripts that were asked for so far, by name or by text."""
        counts = self.counts()
        return counts["eval"] + sum(counts[name] for name in _SCRIPTS.values())
