"""The loggers of Spinach: literal names, no handler but a null one, no level."""

from __future__ import annotations

import logging

__all__ = ["ENGINE_LOGGER", "JOB_LOGGER", "WORKER_LOGGER"]

ENGINE_LOGGER = logging.getLogger("spinach.engine")
JOB_LOGGER = logging.getLogger("spinach.job")
WORKER_LOGGER = logging.getLogger("spinach.worker")
