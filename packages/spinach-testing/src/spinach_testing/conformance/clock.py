"""A clock that can be set back, for harnesses."""

from __future__ import annotations

from datetime import datetime, timedelta

from spinach.exc import InvalidArgument

from ..clock import VirtualClock

__all__ = ["WallClock"]


class WallClock(VirtualClock):
    """A virtual clock that can be set back; what it measures goes on all the same."""

    def __init__(self) -> None:
        super().__init__()
        self._back = timedelta(0)

    def now(self) -> datetime:
        """The time of day, UTC."""
        return super().now() - self._back

    def set_back(self, by: timedelta) -> None:
        """Set the time of day back.

        Args:
            by: not negative.

        Raises:
            InvalidArgument: not a timedelta, or negative.
        """
        if not isinstance(by, timedelta) or by < timedelta(0):
            raise InvalidArgument(
                f"Cannot set the clock back by {by!r}, expected a timedelta that is not negative."
            )
        self._back += by
