"""The memory broker: Spinach without a server, for development, tests and embedded use."""

from __future__ import annotations

from .broker import MemoryBroker
from .store import MemoryStore

__all__ = ["MemoryBroker", "MemoryStore"]
