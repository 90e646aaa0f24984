"""Test support for Spinach: a pytest plugin and a suite that every broker must pass.

The fixtures come with the plugin, which pytest loads by itself; nothing has to be
imported. `VirtualClock` is for tests that build brokers by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import VirtualClock as VirtualClock
    from .worker import TestWorker as TestWorker

__all__ = ["TestWorker", "VirtualClock"]


def __getattr__(name: str) -> Any:
    """Import on first use: pytest loads this package into every test run."""
    if name == "VirtualClock":
        from .clock import VirtualClock

        return VirtualClock
    if name == "TestWorker":
        from .worker import TestWorker

        return TestWorker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
