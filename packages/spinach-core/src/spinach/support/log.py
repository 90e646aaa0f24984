"""The loggers of Spinach: literal names, no handler, no level.

Not even a null handler: without one, the standard library prints warnings and errors to
stderr in a program that has not set up logging, so that no failure is silent there.
"""

from __future__ import annotations

import logging

__all__ = ["ENGINE_LOGGER", "JOB_LOGGER", "WORKER_LOGGER"]

ENGINE_LOGGER = logging.getLogger("spinach.engine")
JOB_LOGGER = logging.getLogger("spinach.job")
WORKER_LOGGER = logging.getLogger("spinach.worker")
