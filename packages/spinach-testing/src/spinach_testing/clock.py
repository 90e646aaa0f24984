"""A clock that a test turns; it never moves by itself, and never back."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from spinach.clock import as_utc
from spinach.exc import InvalidArgument, WorkersRunning
from spinach.support.realtime import Real, time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sized

__all__ = ["LATEST", "START", "VirtualClock"]

#: Where every virtual clock starts unless told otherwise.
START = as_utc(datetime(2030, 1, 1, tzinfo=UTC))

#: It cannot be turned beyond. Datetimes end a year later, which leaves the engine room
#: for the instants it counts ahead from now.
LATEST = as_utc(datetime(9999, 1, 1, tzinfo=UTC))

#: Where no clock starts before: stores count from here.
_EARLIEST = as_utc(datetime(1970, 1, 1, tzinfo=UTC))

#: Sums of float seconds that should be equal may differ by less than this.
_TOLERANCE_SECONDS = 1e-6

#: A wait for a store ends within this time once it is broken off, in real seconds.
_BACK_SECONDS = 5.0

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
       threads it is told of are asleep in a wait, in one step with that check. Their
       calculations then never span two times, not even those that pass a duration
       from a broker to an engine, or from one thread to another. A thread that was
       notified counts as awake although it did not get the processor yet: it may have
       something to do at this very instant, such as a heartbeat.

    Args:
        start: what `now` answers first. Naive means UTC, and another zone is converted.

    Raises:
        InvalidArgument: no datetime, or none from 1970 to 9998.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = _require_start(start)
        self._turned = timedelta(0)
        # Guards everything below; never held while a condition is taken.
        self._lock = threading.Lock()
        self._waits: list[_Wait] = []
        self._away: list[_Away] = []
        # Real seconds when it began to run along; None: it stands.
        self._flows_from: float | None = None
        self._offset_ms = 0
        self._reserved = False
        self._looks = _Looks()

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
            first = self._looks.first
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

    @property
    def room(self) -> timedelta:
        """How far it can be turned yet."""
        return max(timedelta(0), LATEST - self._start - self._elapsed())

    def require_turn(self, by: Any) -> None:
        """Check a span that the clock is to be turned by.

        Raises:
            InvalidArgument: not a timedelta, negative, or beyond `LATEST`.
        """
        require_span(by)
        room = self.room
        if by > room:
            raise InvalidArgument(
                f"Cannot advance the clock by {by!r}: it shows {self._start + self._elapsed()} "
                f"and goes up to {LATEST}, which leaves {room!r}."
            )

    def advance(self, by: timedelta) -> None:
        """Move the clock and wake whoever's deadline is reached.

        Args:
            by: not negative.

        Raises:
            InvalidArgument: not a timedelta, negative, or beyond the year 9998.
            WorkersRunning: a worker of the plugin is at work; the call comes from
                one of its tasks.
        """
        with self._lock:
            self.require_turn(by)
            if self._reserved:
                raise WorkersRunning(
                    "Cannot advance the clock while spinach_worker runs jobs, as from inside a "
                    "task. Let the call of spinach_worker return, then advance from the test."
                )
            over = self._move(by)
        # This thread knows of the turn: its next wait counts from now.
        self._looks.first = None
        _wake(over)

    def turn(self, by: timedelta, threads: Collection[threading.Thread]) -> bool:
        """Move the clock if, at this moment, all of these threads sleep or have ended.

        Args:
            by: not negative.
            threads: of an engine on this clock.

        Returns:
            False when one of them was awake; nothing was moved then.

        Raises:
            InvalidArgument: as `advance`.
        """
        with self._lock:
            self.require_turn(by)
            if not self._at_rest(threads):
                return False
            over = self._move(by)
        self._looks.first = None
        _wake(over)
        return True

    def at_rest(self, threads: Collection[threading.Thread]) -> bool:
        """Whether all of these threads sleep on this clock, or have ended.

        If so, only time, the test, or a server can wake them.
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
                self._flows_from = time.monotonic()
                here = self._start + self._turned
                self._offset_ms = (here - Real.datetime.now(UTC)) // _MILLISECOND

    @property
    def flows(self) -> bool:
        """Whether it runs along with real time."""
        return self._flows_from is not None

    def offset_ms(self) -> int:
        """What to add to the machine's wall clock to get this one, in ms; after `flow`."""
        # Without the lock, which a producer may have that a signal handler interrupted here.
        return self._offset_ms + self._turned // _MILLISECOND

    @contextmanager
    def waiting_for_store(
        self, timeout_seconds: float, wake: Callable[[], None]
    ) -> Iterator[Absence]:
        """For the block the calling thread waits for a server, and counts as asleep.

        Args:
            timeout_seconds: virtual, as in `wait`.
            wake: ends the wait; called by whoever turns the clock to its deadline.

        Yields:
            What says, after the block, how much the clock was turned meanwhile. `turn`
            turns it no further until the thread waits again.
        """
        absence = Absence()
        with self._lock:
            deadline = self._elapsed().total_seconds() + timeout_seconds
            away = _Away(threading.get_ident(), deadline, wake)
            self._away.append(away)
            since = self._turned
        try:
            yield absence
        finally:
            self._looks.first = None
            with self._lock:
                self._away.remove(away)
                absence.turned = self._turned - since
            away.back.set()

    def rouse(self) -> None:
        """Waits for a store are being broken off: those threads are awake from now on."""
        with self._lock:
            for away in self._away:
                away.over = True

    # -- helpers -------------------------------------------------------------

    def _elapsed(self) -> timedelta:
        if self._flows_from is None:
            return self._turned
        return self._turned + timedelta(seconds=time.monotonic() - self._flows_from)

    def _look(self, elapsed: timedelta) -> None:
        if self._looks.first is None:
            self._looks.first = elapsed.total_seconds()

    def _real_timeout(self, deadline: float | None) -> float | None:
        if deadline is None or self._flows_from is None:
            return None
        return max(0.0, deadline - self._elapsed().total_seconds())

    def _reached(self, wait: _Wait | _Away) -> bool:
        if wait.deadline is None:
            return False
        return self._elapsed().total_seconds() + _TOLERANCE_SECONDS >= wait.deadline

    def _at_rest(self, threads: Collection[threading.Thread]) -> bool:
        waits: list[_Wait | _Away] = [*self._waits, *self._away]
        asleep = {wait.ident for wait in waits if not wait.over}
        if not all(thread.ident in asleep or not thread.is_alive() for thread in threads):
            return False
        # Who could notify is in a wait as well, so what follows cannot change meanwhile.
        entered = Counter(wait.condition for wait in self._waits)
        return all(_sleepers(condition) >= number for condition, number in entered.items())

    def _move(self, by: timedelta) -> list[_Wait | _Away]:
        """Turn, under the lock; what to wake after it."""
        self._turned += by
        # While it flows a wait sleeps for a real time that is too long now: all wake.
        over: list[_Wait | _Away] = [
            wait for wait in self._waits if self.flows or self._reached(wait)
        ]
        over += [away for away in self._away if self._reached(away)]
        for each in over:
            each.over = True
        return over


class _Looks(threading.local):
    """The calling thread's own: its first look since its last wait, in virtual seconds."""

    first: float | None = None


@dataclass(slots=True, eq=False)
class _Wait:
    """One wait of one thread."""

    ident: int
    #: Virtual seconds since the clock was made; None: notifications only.
    deadline: float | None
    condition: threading.Condition
    #: The clock ended it, though the thread did not come back yet.
    over: bool = False

    def wake(self) -> None:
        with self.condition:
            self.condition.notify_all()


@dataclass(slots=True, eq=False)
class _Away:
    """One wait of one thread for a store."""

    ident: int
    deadline: float
    wake: Callable[[], None]
    #: It is being broken off, though the thread did not come back yet.
    over: bool = False
    #: The thread came back.
    back: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class Absence:
    """What a thread missed while it waited for a store."""

    #: By how much the clock was turned; known after the wait.
    turned: timedelta = timedelta(0)


def _require_start(start: Any) -> datetime:
    utc = as_utc(start, what="start")
    if not _EARLIEST <= utc < LATEST:
        raise InvalidArgument(
            f"start is {start!r}, expected a datetime from {_EARLIEST} on and before {LATEST}."
        )
    return utc


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


def _sleepers(condition: threading.Condition) -> int:
    """How many threads sleep in a condition: `notify` takes a thread off this list
    before it wakes. The attribute is private, and older than Python 3."""
    waiters: Sized = condition._waiters  # type: ignore[attr-defined] # noqa: SLF001 - see above
    return len(waiters)


def _wake(over: list[_Wait | _Away]) -> None:
    """End waits, those for a store first.

    A call under way tells the store the time at which it was sent. A beat that another thread
    sends at the new time is to come after it, or the store would see its clock set back, and
    cut the lease that the beat has just renewed.
    """
    away = [each for each in over if isinstance(each, _Away)]
    for wait in away:
        wait.wake()
    for wait in away:
        wait.back.wait(_BACK_SECONDS)
    for each in over:
        if isinstance(each, _Wait):
            each.wake()
