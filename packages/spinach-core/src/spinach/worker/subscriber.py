"""The subscriber: fetches jobs for the worker threads.

1. What a fetch depends on goes first: a reconciliation, or a declaration of other tasks.
2. Threads idle or buffer low, and jobs known to be there: it fetches, over a distant line
   after a moment for threads that are about to be idle.
3. Threads idle and nothing known: it makes a fetch that waits for a wake-up, some seconds at
   most. What came goes straight to the worker threads.
4. Nothing to do: it waits until a thread is idle or the buffer runs low.
5. Told to stop: it fetches no more, settles what a lost answer left open, gives the buffer back
   in order, and ends.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from spinach.const import BLOCK_SECONDS
from spinach.support.forks import leave_child
from spinach.support.realtime import time

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from spinach.clock import Clock
    from spinach.worker.fetching import Fetching
    from spinach.worker.in_flight import InFlight
    from spinach.worker.wake_up import WakeUp

__all__ = ["Subscriber"]

#: The subscriber looks this often although nothing is due, in seconds.
_IDLE_WAIT_SECONDS: Final = 60.0

#: How often an empty process looks whether other processes are done, in seconds.
_EMPTY_POLL_SECONDS: Final = 1.0

#: How long it lets a worker thread go first, in seconds: as long as one takes to wake up.
_YIELD_SECONDS: Final = 0.0001


class Subscriber:
    """What the subscriber thread does; `run` is its function.

    Args:
        clock: the broker's.
        fetching: makes the calls.
        in_flight: between this thread and the workers.
        wake_up: this thread waits at it.
        ending: set when the thread should end at once.
        stop_when_empty: the arbiter stops the workers when the queues are empty.
        wake_arbiter: called when nothing came, if `stop_when_empty`, and at the end.
    """

    def __init__(
        self,
        clock: Clock,
        fetching: Fetching,
        in_flight: InFlight,
        wake_up: WakeUp,
        ending: Event,
        *,
        stop_when_empty: bool,
        wake_arbiter: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._fetching = fetching
        self._in_flight = in_flight
        self._wake_up = wake_up
        self._ending = ending
        self._stop_when_empty = stop_when_empty
        self._wake_arbiter = wake_arbiter
        # Each written by any thread, from False to True.
        self._opened = False
        self._closing = False
        # The last fetch brought nothing for the buffer; the next one waits for an idle
        # thread, since what is first in line is for those only. Asking all the same
        # made every second fetch of at-most-once jobs an empty one.
        self._unbuffered = False
        # When the buffer gets stale, as of the last wait; monotonic seconds.
        self._stale_at = 0.0
        #: It has ended, and nothing comes in any more. Any thread may read it.
        self.ended = False

    def open(self) -> None:
        """Fetch from now on; called once, when all threads have begun."""
        self._opened = True
        self._wake_up.set()

    def look(self) -> None:
        """Look at once what there is to do; from any thread."""
        self._wake_up.set()

    def close(self) -> None:
        """Fetch no more, and end when nothing is left open; from any thread, again is fine."""
        self._closing = True
        self._wake_up.set()

    def run(self) -> None:
        """Fetch until told to end."""
        try:
            while not (self._opened or self._is_over()):
                self._wake_up.wait(_IDLE_WAIT_SECONDS)
            while not self._is_over():
                again = self.step()
                leave_child()
                if not again and not self._is_over():
                    self._wake_up.wait(self._wait_seconds())
        except BaseException as exc:
            leave_child(exc)
            raise
        finally:
            self._in_flight.give_back()
            self.ended = True
            self._wake_arbiter()

    def _is_over(self) -> bool:
        return self._ending.is_set() or (self._closing and self._fetching.settled)

    def step(self) -> bool:
        """Make the calls that are due.

        Returns:
            Whether to look again at once.
        """
        self._fetching.catch_up(closing=self._closing)
        if self._closing:
            return False
        if self._clock.monotonic() >= self._stale_at:
            self._in_flight.withdraw_stale()
        return self._fetching.can_fetch and self._fetch()

    def _fetch(self) -> bool:
        if self._fetching.count_in == 0.0:
            self._fetching.fetch(idle=0, extra=0)
        size = self._in_flight.fetch_size()
        if size.idle:
            unbuffered, self._unbuffered = self._unbuffered, False
            if not self._fetching.backlog:
                self._wait_for_jobs(size.idle, size.extra)
                return True
            if unbuffered and size.gather:
                # Not on the broker's clock, which a test may have stopped.
                time.sleep(size.gather)
                if self._closing:
                    return True
                size = self._in_flight.fetch_size()
            came = self._fetching.fetch(idle=size.idle, extra=size.extra)
            self._unbuffered = size.extra > 0 and came <= size.idle
            self._tell_if_empty(came)
            # Else each thread has a job, and asks when it wants the next one.
            return came < size.idle
        if size.low and not self._unbuffered and self._fetching.backlog:
            self._unbuffered = self._fetching.fetch(idle=0, extra=size.extra) == 0
            return not self._unbuffered
        return False

    def _wait_for_jobs(self, idle: int, extra: int) -> None:
        most = _EMPTY_POLL_SECONDS if self._stop_when_empty else BLOCK_SECONDS
        seconds = self._fetching.wait_seconds(most)
        came = self._fetching.fetch(idle=idle, extra=extra, block_seconds=seconds)
        if came:
            # The worker thread that was woken goes first. Not on the broker's clock, which a
            # test may have stopped.
            time.sleep(_YIELD_SECONDS)
        self._tell_if_empty(came)

    def _tell_if_empty(self, came: int) -> None:
        if self._stop_when_empty and not came:
            self._wake_arbiter()

    def _wait_seconds(self) -> float:
        wait = min(_IDLE_WAIT_SECONDS, self._fetching.next_call_in(closing=self._closing))
        if self._closing:
            return wait
        wait = min(wait, self._fetching.count_in)
        stale_in = self._in_flight.stale_in()
        if stale_in is None:
            self._stale_at = math.inf
            return wait
        self._stale_at = self._clock.monotonic() + stale_in
        return min(wait, stale_in)
