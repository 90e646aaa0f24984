"""Threads of the engine's own."""

from __future__ import annotations

import threading
from typing import Any

from spinach.support.process import PROCESS

__all__ = ["EngineThread", "ServiceThread"]


class EngineThread(threading.Thread):
    """A thread of a pool.

    Args:
        args: as for `threading.Thread`.
        kwargs: likewise.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Number of the process it belongs to. In a forked child it is not the child's.
        self.process = PROCESS.number


class ServiceThread(EngineThread):
    """Arbiter, subscriber or result notifier: it talks to the broker and runs no job.

    By its class a broker may tell calls of the engine from those of the program.
    """
