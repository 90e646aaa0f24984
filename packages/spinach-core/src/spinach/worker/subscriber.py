"""The subscriber: waits for a wake-up where the arbiter must not block.

1. The arbiter has idle threads and nothing to fetch, so it hands over its turn.
2. The subscriber makes one fetch that waits for a wake-up, at most some seconds.
3. What came goes straight to the worker threads.
4. A moment later, so that the one that was woken finds the interpreter free, the turn goes
   back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spinach.support.forks import leave_child
from spinach.support.realtime import time

if TYPE_CHECKING:
    from threading import Event

    from spinach.worker.consumer import Consumer
    from spinach.worker.wake_up import WakeUp

__all__ = ["Subscriber"]

#: The subscriber looks up this often although nobody rang, in seconds.
_IDLE_WAIT_SECONDS = 60.0

#: How long it lets a worker thread go first, in seconds: as long as one takes to wake up.
_YIELD_SECONDS: Final = 0.0001


class Subscriber:
    """What the subscriber thread does; `run` is its function.

    Args:
        consumer: makes the calls; used only while this thread has the turn.
        wake_up: this thread waits at it.
        arbiter_wake_up: rung when the turn goes back.
        ending: set when the thread should end.
    """

    def __init__(
        self, consumer: Consumer, wake_up: WakeUp, arbiter_wake_up: WakeUp, ending: Event
    ) -> None:
        self._consumer = consumer
        self._wake_up = wake_up
        self._arbiter_wake_up = arbiter_wake_up
        self._ending = ending
        # (idle, extra, block_seconds) while this thread has the turn. Only the
        # arbiter sets it, and only when it is None; only the subscriber clears it.
        self._order: tuple[int, int, float] | None = None
        # The thread died; the arbiter keeps its turn for the time that is left.
        self._dead = False

    @property
    def has_turn(self) -> bool:
        """Whether the calls with a number are this thread's to make."""
        return self._order is not None

    def take_turn(self, *, idle: int, extra: int, block_seconds: float) -> None:
        """Called by the arbiter, which has the turn: wait for jobs in its place."""
        if not self._dead:
            self._order = (idle, extra, block_seconds)
            self._wake_up.set()

    def run(self) -> None:
        """Take turns until told to end."""
        while not self._ending.is_set():
            if self._order is None:
                self._wake_up.wait(_IDLE_WAIT_SECONDS)
                continue
            idle, extra, block_seconds = self._order
            try:
                if self._consumer.fetch(idle=idle, extra=extra, block_seconds=block_seconds):
                    # Not on the broker's clock, which a test may have stopped.
                    time.sleep(_YIELD_SECONDS)
                leave_child()
            except BaseException as exc:
                leave_child(exc)
                self._dead = True
                raise
            finally:
                self._order = None
                self._arbiter_wake_up.set()
