"""Threads of the engine, which know in which process they began."""

from __future__ import annotations

import threading
from typing import Any

from spinach.support.process import PROCESS

__all__ = ["EngineThread"]


class EngineThread(threading.Thread):
    """A thread of a worker pool, or one that runs jobs in a test.

    Args:
        args: as for `threading.Thread`.
        kwargs: likewise.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Number of the process it belongs to. In a forked child it is not the child's.
        self.process = PROCESS.number
