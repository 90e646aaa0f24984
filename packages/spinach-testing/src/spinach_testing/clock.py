"""A clock that a test turns; it never moves by itself, and never back."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from spinach.exc import InvalidArgument, WorkersRunning

from . import realtime

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["START", "VirtualClock"]

#: Where every virtual clock starts unless told otherwise.
START = datetime(2030, 1, 1, tzinfo=UTC)

#: Sums of float seconds that should be equal may differ by less than this.
_TOLERANCE_SECONDS = 1e-6

_MILLISECOND = timedelta(milliseconds=1)


class VirtualClock:
    """Implements `spinach.clock.Clock`; safe to share between threads.

    A wait ends on a notification, or when the clock is turned to its deadline. Real
    time never ends it, so that a wake-up that gets lost shows as a hang instead of
    passing as a delay.

    **Turning it while threads run.** A thread looks at the clock, works out how long
    to wait, and waits. If the clock is turned in between, a deadline counted from the
    beginning of the wait lies too late by the turn, and nothing would ever end that
    wait. Two rules keep this from happening:

    1. A wait counts from the first look that its thread took at the clock since its
       last wait. So it is never late. It may end early, by what was turned meanwhile;
       who waits checks what it waits for anyway, and its next wait counts from there.
    2. `turn`, which the plugin's workers use, moves the clock only while all the
       threads it is told of are inside a wait, in one step with that check. Their
       calculations then never span two times, not even those that pass a duration
       from a broker to an engine, or from one thread to another.

    Args:
        start: what `now` answers first; aware.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._turned = timedelta(0)
        # Guards everything below; never held while a condition is taken.
        self._lock = threading.Lock()
        self._waits: list[_Wait] = []
        # Thread → how many of its calls wait for a store, and for no clock.
        self._away: dict[int, int] = {}
        # Real seconds when it began to run along; None: it stands.
        self._flows_from: float | None = None
        self._offset_ms = 0
        self._reserved = False
        # `first`: the first look of a thread since its last wait, in virtual seconds.
        self._looks = threading.local()

    # -- as the engine sees it -----------------------------------------------

    def now(self) -> datetime:
        """The virtual wall clock, UTC."""
        elapsed = self._elapsed()
        self._look(elapsed)
        return self._start + elapsed

    def monotonic(self) -> float:
        """Virtual seconds since the clock was made."""
        elapsed = self._elapsed()
        self._look(elapsed)
        return elapsed.total_seconds()

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        """Wait until the condition is notified or virtual time reaches the deadline.

        Args:
            condition: acquired by the caller.
            timeout_seconds: virtual, from the thread's first look at the clock since
                its last wait; None waits for a notification only.

        Returns:
            False when the deadline is reached, else True.
        """
        deadline = None
        if timeout_seconds is not None:
            first: float | None = getattr(self._looks, "first", None)
            if first is None:
                first = self._elapsed().total_seconds()
            deadline = first + timeout_seconds
        self._looks.first = None
        wait = _Wait(threading.get_ident(), deadline, condition)
        with self._lock:
            if self._reached(wait):
                return False
            self._waits.append(wait)
        # A turn cannot notify between here and the wait: it needs the condition.
        try:
            condition.wait(self._real_timeout(deadline))
        finally:
            with self._lock:
                self._waits.remove(wait)
        return not self._reached(wait)

    # -- as a test turns it --------------------------------------------------

    def advance(self, by: timedelta) -> None:
        """Move the clock and wake whoever's deadline is reached.

        Args:
            by: not negative.

        Raises:
            InvalidArgument: not a timedelta, or negative.
            WorkersRunning: a worker of the plugin is at work; the call comes from
                one of its tasks.
        """
        require_span(by)
        with self._lock:
            if self._reserved:
                raise WorkersRunning(
                    "Cannot advance the clock while spinach_worker runs jobs, as from inside a "
                    "task. Let the call of spinach_worker return, then advance from the test."
                )
            reached = self._move(by)
        # This thread knows of the turn: its next wait counts from now.
        self._looks.first = None
        _notify(reached)

    def turn(self, by: timedelta, threads: Collection[threading.Thread]) -> bool:
        """Move the clock if, at this moment, all of these threads wait or have ended.

        Args:
            by: not negative.
            threads: of an engine on this clock.

        Returns:
            False when one of them did not wait; nothing was moved then.
        """
        require_span(by)
        with self._lock:
            if not self._at_rest(threads):
                return False
            reached = self._move(by)
        self._looks.first = None
        _notify(reached)
        return True

    def at_rest(self, threads: Collection[threading.Thread]) -> bool:
        """Whether all of these threads wait on this clock, or have ended.

        A thread that was notified and did not get the processor yet still counts as
        waiting.
        """
        with self._lock:
            return self._at_rest(threads)

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """For the block only `turn` moves the clock.

        Raises:
            WorkersRunning: it is reserved already.
        """
        with self._lock:
            if self._reserved:
                raise WorkersRunning("Another worker of the plugin turns this clock already.")
            self._reserved = True
        try:
            yield
        finally:
            with self._lock:
                self._reserved = False

    # -- stores whose time cannot be stopped ---------------------------------

    def flow(self) -> None:
        """From now on run along with real time, too; turning it adds to that.

        For a broker on a server, whose time flows by itself: else the store would
        find a job due while the engine, whose clock stands, waits on. Again does
        nothing.
        """
        with self._lock:
            if self._flows_from is None:
                self._flows_from = realtime.seconds()
                here = self._start + self._turned
                self._offset_ms = (here - datetime.now(UTC)) // _MILLISECOND

    @property
    def flows(self) -> bool:
        """Whether it runs along with real time."""
        return self._flows_from is not None

    def offset_ms(self) -> int:
        """What to add to the machine's wall clock to get this one, in ms; after `flow`."""
        with self._lock:
            return self._offset_ms + self._turned // _MILLISECOND

    def step_out(self) -> timedelta:
        """The calling thread waits for a store from now on, and counts as waiting.

        Returns:
            To be handed to `step_in`.
        """
        ident = threading.get_ident()
        with self._lock:
            self._away[ident] = self._away.get(ident, 0) + 1
            return self._turned

    def step_in(self, since: timedelta) -> timedelta:
        """The wait for the store is over.

        Args:
            since: what `step_out` returned.

        Returns:
            How much the clock was turned meanwhile. It is not turned further by `turn`
            until the thread waits again.
        """
        ident = threading.get_ident()
        self._looks.first = None
        with self._lock:
            self._away[ident] -= 1
            if not self._away[ident]:
                del self._away[ident]
            return self._turned - since

    # -- helpers -------------------------------------------------------------

    def _elapsed(self) -> timedelta:
        if self._flows_from is None:
            return self._turned
        return self._turned + timedelta(seconds=realtime.seconds() - self._flows_from)

    def _look(self, elapsed: timedelta) -> None:
        if getattr(self._looks, "first", None) is None:
            self._looks.first = elapsed.total_seconds()

    def _real_timeout(self, deadline: float | None) -> float | None:
        if deadline is None or self._flows_from is None:
            return None
        return max(0.0, deadline - self._elapsed().total_seconds())

    def _reached(self, wait: _Wait) -> bool:
        if wait.deadline is None:
            return False
        return self._elapsed().total_seconds() + _TOLERANCE_SECONDS >= wait.deadline

    def _at_rest(self, threads: Collection[threading.Thread]) -> bool:
        waiting = {wait.ident for wait in self._waits if not wait.over} | self._away.keys()
        return all(thread.ident in waiting or not thread.is_alive() for thread in threads)

    def _move(self, by: timedelta) -> list[threading.Condition]:
        """Turn, under the lock; the conditions to notify after it."""
        self._turned += by
        # While it flows a wait sleeps for a real time that is too long now: all wake.
        over = [wait for wait in self._waits if self.flows or self._reached(wait)]
        for wait in over:
            wait.over = True
        return [wait.condition for wait in over]


class _Wait:
    """One wait of one thread."""

    __slots__ = ("condition", "deadline", "ident", "over")

    def __init__(self, ident: int, deadline: float | None, condition: threading.Condition) -> None:
        self.ident = ident
        #: Virtual seconds since the clock was made; None: notifications only.
        self.deadline = deadline
        self.condition = condition
        #: The clock ended it, though the thread did not come back yet.
        self.over = False


def require_span(by: Any) -> None:
    """Check a span that a clock is to be turned by.

    Raises:
        InvalidArgument: not a timedelta, or negative.
    """
    if not isinstance(by, timedelta) or by < timedelta(0):
        raise InvalidArgument(
            f"Cannot advance the clock by {by!r}, expected a timedelta that is not "
            "negative. Write advance(timedelta(minutes=5))."
        )


def _notify(conditions: list[threading.Condition]) -> None:
    for condition in conditions:
        with condition:
            condition.notify_all()
