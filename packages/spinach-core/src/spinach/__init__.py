"""A threaded task queue: jobs are neither lost nor doubled, tests run real workers.

``MemoryBroker`` and ``RedisBroker`` come with the distributions spinach-memory and
spinach-redis, and are importable from here once those are installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spinach.backoff import Backoff
from spinach.const import VERSION
from spinach.current import CurrentJob, current_job
from spinach.engine import Engine
from spinach.exc import JobCancelled, JobReleased
from spinach.job import Job, JobStatus
from spinach.job_filter import JobFilter
from spinach.queues import ALL_QUEUES
from spinach.retention import FailedRetention
from spinach.task import AbortException, Batch, RetryException, Task, Tasks

if TYPE_CHECKING:
    from spinach_memory import MemoryBroker as MemoryBroker
    from spinach_redis import RedisBroker as RedisBroker

__all__ = [
    "ALL_QUEUES",
    "AbortException",
    "Backoff",
    "Batch",
    "CurrentJob",
    "Engine",
    "FailedRetention",
    "Job",
    "JobCancelled",
    "JobFilter",
    "JobReleased",
    "JobStatus",
    "RetryException",
    "Task",
    "Tasks",
    "__version__",
    "current_job",
]

__version__ = VERSION

_BROKERS = {
    "MemoryBroker": ("spinach_memory", "spinach-memory"),
    "RedisBroker": ("spinach_redis", "spinach-redis"),
}


def __getattr__(name: str) -> Any:
    """Find the brokers where they are installed."""
    if name not in _BROKERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, distribution = _BROKERS[name]
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as exc:
        # A failure inside the broker's module is its own, not a missing install.
        if exc.name != module:
            raise
        raise ImportError(
            f"{name} comes with the distribution {distribution}, which is not installed. "
            f"Run: pip install {distribution}",
            name=module,
        ) from exc
