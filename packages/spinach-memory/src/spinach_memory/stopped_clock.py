"""Warns of a clock that stands still: nothing comes due, and workers would wait for ever."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from spinach.clock import Clock

__all__ = ["StoppedClock"]

_LOGGER = logging.getLogger("spinach.broker.memory")

#: A wall clock stands still if it shows the same microsecond after this many seconds of the
#: monotonic clock. The coarsest wall clocks move every 16 ms.
_STANDS_SECONDS = 1.0


class StoppedClock:
    """Looks whether a broker's clock stands still; it needs no lock.

    The wall clock tells when jobs are due, the monotonic one how long to wait for them.
    A tool that stops only the first, as time-machine does, makes the engine wait for ever.
    Where both stand still, the clock belongs to a test, which turns it.

    Args:
        clock: of the broker.
    """

    __slots__ = ("_clock", "_seen", "_told")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # What the wall clock showed first, and when. Threads may overwrite it for each other.
        self._seen: tuple[datetime, float] | None = None
        self._told = False

    def look(self) -> None:
        """Warn, once, if the wall clock has not moved for a second."""
        if self._told:
            return
        now, seconds = self._clock.now(), self._clock.monotonic()
        if self._seen is None or self._seen[0] != now:
            self._seen = now, seconds
        elif seconds - self._seen[1] >= _STANDS_SECONDS:
            self._told = True
            _LOGGER.warning(
                "The clock stands at %s, so no retry, future job or periodic task comes due. "
                "Something has stopped it, such as time_machine.travel(..., tick=False): leave "
                "tick=False out, or use the pytest fixtures of spinach-testing, where "
                "spinach_worker.advance() turns the clock",
                now.isoformat(),
            )
