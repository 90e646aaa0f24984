"""Time as it is, past what freezegun and time-machine make of it.

Seconds for limits on how long a test may hang: inside a frozen test they would never end.
Datetimes of the real class: what is kept longer than a test must not be one of freezegun's.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime

__all__ = ["plain", "seconds"]

#: In a frozen test the name stands for a subclass of freezegun's.
_DATETIME: type[datetime] = next(each for each in datetime.__mro__ if each.__module__ == "datetime")


def plain(at: datetime) -> datetime:
    """The same instant as a datetime of the real class."""
    return _DATETIME.combine(at.date(), at.timetz())


if sys.platform == "win32":

    class _Kept:
        """Holds the function where freezegun, which replaces attributes of modules,
        does not find it."""

        monotonic = staticmethod(time.monotonic)

    def seconds() -> float:
        """Real seconds from an arbitrary point; never goes back."""
        return _Kept.monotonic()

else:

    def seconds() -> float:
        """Real seconds from an arbitrary point; never goes back."""
        # freezegun replaces time.monotonic, time-machine the wall clock; this they leave.
        return time.clock_gettime(time.CLOCK_MONOTONIC)
