"""Threads of the engine's own."""

from __future__ import annotations

import threading

__all__ = ["UpkeepThread"]


class UpkeepThread(threading.Thread):
    """Arbiter, subscriber or result notifier: it talks to the broker and runs no job.

    Brokers may tell their calls from those of the program by it.
    """
