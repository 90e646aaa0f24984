"""Threads of the engine's own, which talk to the broker and run no user code."""

from __future__ import annotations

import signal
import threading
from typing import Final

__all__ = ["UpkeepThread"]

#: The kernel sends these to the thread that caused them, and ends the process where they
#: are blocked, without the traceback that faulthandler would print.
_OF_FAULTS: Final = ("SIGSEGV", "SIGFPE", "SIGILL", "SIGBUS", "SIGABRT", "SIGTRAP", "SIGSYS")


class UpkeepThread(threading.Thread):
    """A thread that signals do not interrupt, where the platform has a way to say so.

    A wait in the kernel begins anew after a signal, so that signals could prolong the wait
    for a server's answer without bound. They go to threads of the program instead.
    """

    #: Set by the thread itself when it starts. Brokers may read it of
    #: `threading.current_thread()`; threads of other classes have no such attribute.
    signals_blocked = False

    def run(self) -> None:
        """Block signals, then do what a thread does."""
        if hasattr(signal, "pthread_sigmask"):
            faults = {getattr(signal, name) for name in _OF_FAULTS if hasattr(signal, name)}
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
            self.signals_blocked = True
        super().run()
