"""Nested calls: those that come in the middle of another call of Spinach, on its own thread.

Signal handlers, finalizers and log handlers make them, between any two steps of whatever
their thread is doing. The outer call goes on only when they have returned, so they must not
wait for it: neither for a lock that it holds, nor for threads that may need that lock.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from .exc import NestedCall

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OneAtATime", "is_nested"]

#: Whose functions are the calls that a program makes.
_MODULES: Final = frozenset(
    f"{__package__}.{name}" for name in ("at_exit", "engine", "failed", "producer", "task")
)

#: Those of them that call the program's own code.
_TRANSPARENT: Final = frozenset(("execute",))


def is_nested() -> bool:
    """Whether the caller's caller was called in the middle of a call of a program."""
    frame = sys._getframe(2)  # noqa: SLF001 - the stack knows; to count costs each call something
    while frame is not None:
        if frame.f_globals.get("__name__") in _MODULES and frame.f_code.co_name not in _TRANSPARENT:
            return True
        frame = frame.f_back  # type: ignore[assignment] # None at the end
    return False


class OneAtATime:
    """A lock that refuses a nested call, which would wait for itself.

    Args:
        what: it is for, as in "Cannot ... here".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        # Guards the flag, and what the owner of this object says.
        self._lock = threading.RLock()
        self._taken = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the lock for a block.

        Raises:
            NestedCall: this thread has it already.
        """
        with self._lock:
            if self._taken:
                raise NestedCall(
                    f"Cannot {self._what} in the middle of another call that does, on the same "
                    "thread: from a signal handler, a finalizer or a log handler. Make the call "
                    "after the handler."
                )
            self._taken = True
            try:
                yield
            finally:
                self._taken = False
