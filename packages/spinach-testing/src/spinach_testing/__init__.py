"""Test support for Spinach: a pytest plugin and a suite that every broker must pass.

The fixtures come with the plugin, which pytest loads by itself; nothing has to be
imported. The names here are for type annotations, for `pytest.raises`, and for tests
that build brokers by hand.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import VirtualClock as VirtualClock
    from .errors import DrainTimeout as DrainTimeout
    from .errors import LeakedThreads as LeakedThreads
    from .errors import TaskRaised as TaskRaised
    from .errors import UnfinishedJobs as UnfinishedJobs
    from .jobs import Jobs as Jobs
    from .live import LiveWorker as LiveWorker
    from .worker import TestWorker as TestWorker

__all__ = [
    "DrainTimeout",
    "Jobs",
    "LeakedThreads",
    "LiveWorker",
    "TaskRaised",
    "TestWorker",
    "UnfinishedJobs",
    "VirtualClock",
]

_MODULES = {
    "DrainTimeout": "errors",
    "Jobs": "jobs",
    "LeakedThreads": "errors",
    "LiveWorker": "live",
    "TaskRaised": "errors",
    "TestWorker": "worker",
    "UnfinishedJobs": "errors",
    "VirtualClock": "clock",
}


def __getattr__(name: str) -> Any:
    """Import on first use: pytest loads this package into every test run."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
