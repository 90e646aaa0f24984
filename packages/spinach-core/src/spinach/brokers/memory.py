"""The older path of `MemoryBroker`; `from spinach import MemoryBroker` is shorter."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spinach_memory import MemoryBroker as MemoryBroker  # noqa: PLC0414 - for type checkers alone


def __getattr__(name: str) -> Any:
    """Find the broker where it is installed."""
    if name != "MemoryBroker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("spinach"), name)
