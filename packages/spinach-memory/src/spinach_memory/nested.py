"""Nested calls: those that come in the middle of another call, on its own thread.

A signal handler, a finalizer or a log handler runs between any two steps of whatever its
thread is doing, also in a call that holds the store's lock. To wait for that lock would be
to wait for oneself. So jobs that come in such a moment are put by, and stored when the outer
call lets go of the lock, and so is an interrupt; all other nested calls are refused.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from spinach.exc import NestedCall

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Guarded", "WaitLock"]


class Guarded:
    """What a lock guards that a nested call may find taken by its own thread.

    Each call begins `with guarded, guarded.lock:`. Two context managers, since an exception
    of a signal handler may break off one that is written in Python: before it released the
    lock, for example.
    """

    __slots__ = ("_put_by", "held_here", "lock")

    def __init__(self) -> None:
        #: Never taken twice. It is one that knows its owner, which changes in one step
        #: with its state.
        self.lock = threading.RLock()
        #: Whether the calling thread has the lock, so that its call is a nested one.
        self.held_here: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined] # noqa: SLF001 - what conditions ask
        self._put_by: deque[Callable[[], object]] = deque()

    def put_by(self, step: Callable[[], object]) -> None:
        """Have a step made when this thread lets go of the lock, which it holds."""
        self._put_by.append(step)

    def __enter__(self) -> None:
        if self.held_here():
            raise NestedCall(
                "This call came in the middle of another call to the memory store, on the same "
                "thread: from a signal handler, a finalizer or a log handler. There you can "
                "only schedule. Make the call on another thread, or after the handler."
            )
        # A job that was accepted is there for every later call.
        if self._put_by:
            self.catch_up()

    def __exit__(self, *_: object) -> None:
        if self._put_by:
            self.catch_up()

    def catch_up(self) -> None:
        """Make the steps that were put by; the caller does not hold the lock."""
        # Until there is nothing left once the lock is free, since this may be interrupted, too.
        while self._put_by:
            with self.lock:
                while self._put_by:
                    # Not taken out before, so that an exception of a handler loses nothing.
                    self._put_by[0]()
                    self._put_by.popleft()


class WaitLock:
    """The lock as a condition needs it, which lets go of it in the middle of a call.

    Args:
        owner: whose lock it is.
    """

    __slots__ = ("_owner",)

    def __init__(self, owner: Guarded) -> None:
        self._owner = owner

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As of a `threading.Lock`: not a second time on the same thread."""
        if not blocking and self._owner.held_here():
            return False
        return self._owner.lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Release it, and make the steps that were put by: they may end the wait."""
        self._owner.lock.release()
        # A signal handler that turns a clock may have had it before.
        if not self._owner.held_here():
            self._owner.catch_up()

    def __enter__(self) -> bool:
        return self._owner.lock.__enter__()

    def __exit__(self, *_: object) -> None:
        self.release()
