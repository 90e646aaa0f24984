"""Tasks that let virtual time pass while they run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from spinach.exc import WorkersRunning
from spinach.support.realtime import time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import timedelta

    from .clock import VirtualClock

__all__ = ["Sleeping"]

#: Between two tries to turn the clock, in real seconds.
_PAUSE_SECONDS = 0.0002

#: What is due at the same instant has so many real seconds to be done, at most.
_MOMENT_SECONDS = 1.0


class Sleeping:
    """The jobs that sleep during one call of a test's worker; thread safe.

    The clock goes on in steps, each when all threads of the engine wait or sleep here, so that
    heartbeats and whatever else is due meanwhile are not late.

    Args:
        clock: to turn.
        step: so far at once, at most.
        threads: gives those of the engine; empty until they have started.
    """

    def __init__(
        self,
        clock: VirtualClock,
        step: timedelta,
        threads: Callable[[], Collection[threading.Thread]],
    ) -> None:
        self._clock = clock
        self._step = step
        self._threads = threads
        self._lock = threading.Lock()  # guards the instants, and each turn
        self._until: dict[threading.Thread, timedelta] = {}
        self._pause = threading.Event()  # never set, only waited for
        #: The call has ended.
        self.over = False

    def sleep(self, by: timedelta) -> None:
        """Return when so much virtual time has passed.

        Raises:
            WorkersRunning: the call of the worker has ended meanwhile.
        """
        me, start = threading.current_thread(), self._clock.now()
        end = self._clock.elapsed + by
        with self._lock:
            self._until[me] = end
        try:
            while self._clock.elapsed < end:
                if self.over:
                    raise WorkersRunning(
                        f"A task has slept since {start}, and the call of spinach_worker that ran "
                        "it is over. Give the call a longer timeout=."
                    )
                if not self._turn():
                    self._pause.wait(_PAUSE_SECONDS)
            self._let_others_go_first()
        finally:
            with self._lock:
                del self._until[me]

    def _let_others_go_first(self) -> None:
        """Return when all that is due at this instant is done, such as the heartbeat that tells
        of a cancel, or after a moment: a job that began at it may wait for the one that slept."""
        end = time.monotonic() + _MOMENT_SECONDS
        while not self.over and time.monotonic() < end:
            with self._lock:
                awake = self._awake()
            if self._clock.at_rest(awake):
                return
            self._pause.wait(_PAUSE_SECONDS)

    def _awake(self) -> list[threading.Thread]:
        return [thread for thread in self._threads() if thread not in self._until]

    def _turn(self) -> bool:
        with self._lock:
            step = min(self._step, min(self._until.values()) - self._clock.elapsed)
            # One that has slept enough, and has not noticed yet, goes first.
            return (
                bool(self._threads()) and step > step * 0 and self._clock.turn(step, self._awake())
            )
