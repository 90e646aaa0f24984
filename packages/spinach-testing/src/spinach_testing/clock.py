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

    from .sleeping import Sleeping

__all__ = ["LATEST", "START", "VirtualClock"]

#: Where every virtual clock starts unless told otherwise.
START = as_utc(datetime(2030, 1, 1, tzinfo=UTC))

#: The latest time that it can be turned to. Datetimes end a year later, so the engine can still
#: compute instants that lie ahead.
LATEST = as_utc(datetime(9999, 1, 1, tzinfo=UTC))

#: The earliest start: stores count from here.
_EARLIEST = as_utc(datetime(1970, 1, 1, tzinfo=UTC))

#: Rounding makes sums of float seconds differ by less than this.
_TOLERANCE_SECONDS = 1e-6

#: A wait for a store ends within this time once it is broken off, in real seconds.
_BACK_SECONDS = 5.0

_MILLISECOND = timedelta(milliseconds=1)


class VirtualClock:
    """Implements `spinach.clock.Clock`; safe to share between threads.

    A wait ends on a notification, or when the clock is turned to its deadline. Real time
    never ends it: a lost wake-up then shows as a hang, and not as a mere delay.

    **Turning it while threads run.** A thread looks at the clock, works out how long
    to wait, and waits. If the clock is turned in between, a deadline counted from the
    beginning of the wait lies too late by the turn, and nothing would ever end that
    wait. Two rules keep this from happening:

    1. A wait counts from the first look that its thread took at the clock since its last
       wait. So it never ends late. It may end early, by as much as the clock was turned
       meanwhile; the thread checks its condition anyway, and waits again.
    2. `turn`, which the plugin's workers use, moves the clock only while all threads that it
       is given sleep in a wait. It checks that and moves the clock in one step. So no
       calculation of these threads ever mixes two times, not even one that passes a duration
       from a broker to an engine, or from one thread to another. A thread that was notified
       counts as awake before it runs: it may have work to do at this very time, such as a
       heartbeat.

    Args:
        start: what `now` answers first. Naive means UTC, and another zone is converted.

    Raises:
        InvalidArgument: no datetime, or none from 1970 to 9998.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = _require_start(start)
        self._turned = timedelta(0)
        # Guards everything below. No condition is acquired while it is held.
        self._lock = threading.Lock()
        self._waits: list[_Wait] = []
        self._away: list[_Away] = []
        # When `flow` was called, in real seconds; None: real time does not move the clock.
        self._flows_from: float | None = None
        self._offset_ms = 0
        self._reserved = False
        # What lets jobs sleep while it is reserved.
        self._sleeping: Sleeping | None = None
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
        # No turn can notify between here and the wait: the caller holds the condition.
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
        """Move the clock and end the waits whose deadline is reached.

        Args:
            by: not negative.

        Raises:
            InvalidArgument: not a timedelta, negative, or beyond the year 9998.
            WorkersRunning: `spinach_worker` runs jobs, and the call comes from one of them, for
                example.
        """
        with self._lock:
            self.require_turn(by)
            if self._reserved:
                raise WorkersRunning(
                    "Cannot advance the clock while spinach_worker runs jobs, as from inside a "
                    "task. Let the call of spinach_worker return, then advance from the test. A "
                    "task that takes long calls sleep() of the clock instead."
                )
            over = self._move(by)
        # This thread has made the turn itself: its next wait counts from now.
        self._looks.first = None
        _wake(over)

    def sleep(self, by: timedelta) -> None:
        """Let virtual time pass here, as code that takes long does; put it in its place.

        Inside a task that `spinach_worker` runs, everything else goes on meanwhile: other jobs,
        heartbeats, time limits, further sleeps. Elsewhere it is the same as `advance`.

        Args:
            by: not negative.

        Raises:
            InvalidArgument: as `advance`.
            WorkersRunning: the call of `spinach_worker` has ended meanwhile.
        """
        self.require_turn(by)
        sleeping = self._sleeping
        if sleeping is None:
            self.advance(by)
        else:
            sleeping.sleep(by)

    @property
    def elapsed(self) -> timedelta:
        """Virtual time since the clock was made."""
        return self._elapsed()

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
        """Whether all of these threads sleep in a wait on this clock, or have ended.

        Then nothing but this clock, the test, or a server can wake them.
        """
        with self._lock:
            return self._at_rest(threads)

    @property
    def is_reserved(self) -> bool:
        """Whether only `turn` moves the clock now."""
        return self._reserved

    @contextmanager
    def reserved(self, sleeping: Sleeping | None = None) -> Iterator[None]:
        """For the block only `turn` and jobs that sleep move the clock.

        Args:
            sleeping: lets jobs sleep; None: they cannot.

        Raises:
            WorkersRunning: it is reserved already.
        """
        with self._lock:
            if self._reserved:
                raise WorkersRunning("Another worker of the plugin turns this clock already.")
            self._reserved = True
            self._sleeping = sleeping
        try:
            yield
        finally:
            with self._lock:
                self._reserved = False
                self._sleeping = None
            if sleeping is not None:
                sleeping.over = True

    # -- stores whose time cannot be stopped ---------------------------------

    def flow(self) -> None:
        """From now on move with real time; a turn adds to that. Twice is as once.

        For a broker on a server, whose time cannot be stopped. Otherwise a job could become due
        in the store while the engine, whose clock stands, still waits for it.
        """
        with self._lock:
            if self._flows_from is None:
                self._flows_from = time.monotonic()
                here = self._start + self._turned
                self._offset_ms = (here - Real.datetime.now(UTC)) // _MILLISECOND

    @property
    def flows(self) -> bool:
        """Whether real time moves the clock."""
        return self._flows_from is not None

    def offset_ms(self) -> int:
        """How far this clock is ahead of the machine's wall clock, in ms; after `flow`."""
        # Without the lock: a signal handler may ask while its own thread holds the lock.
        return self._offset_ms + self._turned // _MILLISECOND

    @contextmanager
    def waiting_for_store(
        self, timeout_seconds: float, wake: Callable[[], None]
    ) -> Iterator[Absence]:
        """For the block the calling thread waits for a server, and counts as asleep.

        Args:
            timeout_seconds: virtual, as in `wait`.
            wake: ends the wait; called in the thread that turns the clock to its deadline.

        Yields:
            An object that says, after the block, how far the clock was turned during it. From
            then on `turn` does not move the clock until the thread waits again.
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
        """Waits for a store are being interrupted: their threads count as awake from now on."""
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
        return min(threading.TIMEOUT_MAX, max(0.0, deadline - self._elapsed().total_seconds()))

    def _reached(self, wait: _Wait | _Away) -> bool:
        if wait.deadline is None:
            return False
        return self._elapsed().total_seconds() + _TOLERANCE_SECONDS >= wait.deadline

    def _at_rest(self, threads: Collection[threading.Thread]) -> bool:
        waits: list[_Wait | _Away] = [*self._waits, *self._away]
        asleep = {wait.ident for wait in waits if not wait.over}
        if not all(thread.ident in asleep or not thread.is_alive() for thread in threads):
            return False
        # Only these threads could notify, and all of them wait, so nothing changes meanwhile.
        entered = Counter(wait.condition for wait in self._waits)
        return all(_sleepers(condition) >= number for condition, number in entered.items())

    def _move(self, by: timedelta) -> list[_Wait | _Away]:
        """Turn the clock under the lock; the waits to be ended afterwards."""
        self._turned += by
        # With `flow` each wait has a timeout in real time, which is too long now: end them all.
        over: list[_Wait | _Away] = [
            wait for wait in self._waits if self.flows or self._reached(wait)
        ]
        over += [away for away in self._away if self._reached(away)]
        for each in over:
            each.over = True
        return over


class _Looks(threading.local):
    """When the calling thread first looked since its last wait, in virtual seconds."""

    first: float | None = None


@dataclass(slots=True, eq=False)
class _Wait:
    """One wait of one thread."""

    ident: int
    #: Virtual seconds since the clock was made; None: notifications only.
    deadline: float | None
    condition: threading.Condition
    #: The clock has ended it; its thread may not have returned yet.
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
    #: It is being interrupted; its thread may not have returned yet.
    over: bool = False
    #: The thread came back.
    back: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class Absence:
    """What happened while a thread waited for a store."""

    #: How far the clock was turned; set after the wait.
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
    """How many threads sleep in a condition. `notify` removes a thread at once, before the
    thread runs. The attribute is private, but older than Python 3."""
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
