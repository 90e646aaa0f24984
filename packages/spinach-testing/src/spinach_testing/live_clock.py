"""The machine's time for `spinach_live_worker`, also inside a frozen test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NoReturn

from spinach.clock import SystemClock, as_utc
from spinach.exc import WorkersRunning
from spinach.support.realtime import time

__all__ = ["LiveClock"]


class LiveClock(SystemClock):
    """Starts at the time of the machine's clock, then runs in real time.

    freezegun and time-machine do not affect it later: a test that freezes time must not stop the
    engine's retries, nor end its leases at once.
    """

    def __init__(self) -> None:
        self._start = as_utc(datetime.now(UTC))
        self._start_seconds = time.monotonic()

    def now(self) -> datetime:
        """Real time; UTC."""
        return self._start + timedelta(seconds=time.monotonic() - self._start_seconds)

    def flow(self) -> None:
        """Does nothing: the clock moves with real time anyway."""

    def sleep(self, by: timedelta) -> None:
        """Wait as long, in real time."""
        time.sleep(by.total_seconds())

    def advance(self, by: timedelta) -> NoReturn:
        """Not possible.

        Raises:
            WorkersRunning: always.
        """
        raise WorkersRunning(
            f"Cannot advance by {by!r}: spinach_live_worker runs on the machine's clock. "
            "Ask for spinach_worker instead to turn time."
        )
