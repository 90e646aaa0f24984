"""Nested calls: those that come in the middle of another call of Spinach, on its own thread.

Signal handlers, finalizers and log handlers make them, between any two steps of whatever
their thread is doing. The outer call goes on only when they have returned, so they must not
wait for it: neither for a lock that it holds, nor for threads that may need that lock.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from spinach.exc import NestedCall

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OneAtATime", "ProcessLock", "is_nested"]

#: The modules whose functions a program calls.
_MODULES: Final = frozenset(
    {
        "spinach.engine",
        "spinach.failed",
        "spinach.producer.scheduling",
        "spinach.task",
        "spinach.worker.at_exit",
    }
)

#: The functions among them that call the program's own code.
_TRANSPARENT: Final = frozenset(("execute",))


def is_nested() -> bool:
    """Whether the caller's caller was called in the middle of a call of a program."""
    # The stack knows; counting would cost each call something. The caller has no caller where
    # the interpreter called it, as it does at the end of a program.
    frame = sys._getframe(1).f_back  # noqa: SLF001
    while frame is not None:
        if frame.f_globals.get("__name__") in _MODULES and frame.f_code.co_name not in _TRANSPARENT:
            return True
        frame = frame.f_back
    return False


class ProcessLock:
    """A reentrant lock that each process has to itself.

    A forked child would inherit an ordinary lock as it was: locked for ever if another thread
    held it.
    """

    def __init__(self) -> None:
        # Needs no lock: `setdefault` gives all threads that come first the same entry.
        self._by_process: dict[int, threading.RLock] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the lock for a block."""
        process = os.getpid()
        lock = self._by_process.get(process)
        if lock is None:
            lock = self._by_process.setdefault(process, threading.RLock())
        with lock:
            yield


class OneAtATime:
    """A lock that refuses a nested call, which would wait for itself; a child has its own.

    Args:
        what: it is for, as in "Cannot ... here".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        # Guards the attribute below, and what the comment of this object's owner says.
        self._lock = ProcessLock()
        # The process whose call has it; 0: none.
        self._taken_by = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the lock for a block.

        Raises:
            NestedCall: this thread has it already.
        """
        with self._lock.held():
            if self._taken_by == os.getpid():
                raise NestedCall(
                    f"Cannot {self._what} in the middle of another call that does, on the same "
                    "thread: from a signal handler, a finalizer or a log handler. Make the call "
                    "after the handler."
                )
            self._taken_by = os.getpid()
            try:
                yield
            finally:
                self._taken_by = 0
