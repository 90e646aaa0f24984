"""Nested calls: those that come in the middle of another call, on its own thread.

A signal handler, a finalizer or a log handler may run at any moment, also in the middle of
a call that has the store's lock. If it waited for that lock, it would wait for ever. So a
nested call that schedules jobs, or interrupts, is deferred: its step is made when the outer
call releases the lock. All other nested calls are refused.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from spinach.exc import NestedCall

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

__all__ = ["Guarded", "WaitLock"]


class Guarded:
    """Something with a lock, and the steps that nested calls have deferred.

    Each call begins `with guarded as it, it.lock:`. They are two context managers, since an
    exception of a signal handler may break off the one that is written in Python. If that one
    had the lock, it might not release it.
    """

    __slots__ = ("_deferred", "in_call", "lock")

    def __init__(self) -> None:
        #: Never taken twice by a thread. It is an RLock because that one knows its owner,
        #: from the same instant on that it is taken.
        self.lock = threading.RLock()
        #: Whether the calling thread has the lock, so that a call of it is a nested one.
        self.in_call: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined] # noqa: SLF001 - what conditions ask
        self._deferred: deque[Callable[[], object]] = deque()

    def defer(self, step: Callable[[], object]) -> None:
        """Make a step when this thread releases the lock, which it has."""
        self._deferred.append(step)

    def __enter__(self) -> Self:
        if self.in_call():
            raise NestedCall(
                "This call came in the middle of another call to the memory store, on the same "
                "thread: from a signal handler, a finalizer or a log handler. There you can "
                "only schedule. Make the call on another thread, or after the handler."
            )
        # A job that was accepted is there for every later call.
        if self._deferred:
            self.run_deferred()
        return self

    def __exit__(self, *_: object) -> None:
        if self._deferred:
            self.run_deferred()

    def run_deferred(self) -> None:
        """Make the deferred steps; the caller does not have the lock."""
        # A signal handler may defer one more at any moment, so look again without the lock.
        while self._deferred:
            with self.lock:
                while self._deferred:
                    # Removed afterwards, so that an exception of a handler loses nothing.
                    self._deferred[0]()
                    self._deferred.popleft()


class WaitLock:
    """The lock for a condition, which releases it while a call waits.

    Args:
        owner: has the lock.
    """

    __slots__ = ("_owner",)

    def __init__(self, owner: Guarded) -> None:
        self._owner = owner

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire it as a `threading.Lock`: not a second time on the same thread."""
        if not blocking and self._owner.in_call():
            return False
        return self._owner.lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Release it, and make the deferred steps: they may end the wait."""
        self._owner.lock.release()
        # The outer call still has the lock if this one is of a signal handler that turns a clock.
        if not self._owner.in_call():
            self._owner.run_deferred()

    def __enter__(self) -> bool:
        return self._owner.lock.__enter__()

    def __exit__(self, *_: object) -> None:
        self.release()
