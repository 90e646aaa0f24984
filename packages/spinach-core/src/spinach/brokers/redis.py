"""The older path of `RedisBroker`; `from spinach import RedisBroker` is shorter."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spinach_redis import RedisBroker as RedisBroker  # noqa: PLC0414 - for type checkers alone


def __getattr__(name: str) -> Any:
    """Find the broker where it is installed."""
    if name != "RedisBroker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("spinach"), name)
