"""Seconds of the machine, past what freezegun and time-machine make of its clock.

For limits on how long a test may hang: inside a frozen test they would never end.
"""

from __future__ import annotations

import sys
import time

__all__ = ["seconds"]

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
