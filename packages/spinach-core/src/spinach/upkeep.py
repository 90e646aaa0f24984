"""Threads of the engine's own."""

from __future__ import annotations

import os
import threading
from typing import Any

__all__ = ["EngineThread", "UpkeepThread"]


class EngineThread(threading.Thread):
    """A thread of a crew.

    Args:
        args: as for `threading.Thread`.
        kwargs: likewise.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Process it belongs to. In a forked child it is another one than the child's.
        self.pid = os.getpid()


class UpkeepThread(EngineThread):
    """Arbiter, subscriber or result notifier: it talks to the broker and runs no job.

    Brokers may tell their calls from those of the program by it.
    """
