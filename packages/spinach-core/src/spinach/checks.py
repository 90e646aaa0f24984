"""Checks of what users hand in, with errors that name value, range and remedy.

They take `Any`, because callers without a type checker hand in anything.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .exc import InvalidArgument, SpinachError

__all__ = ["require_int", "require_timedelta"]


def require_int(
    value: Any, what: str, lowest: int, highest: int, error: type[SpinachError] = InvalidArgument
) -> int:
    """Return an int of a range; a bool is none.

    Raises:
        InvalidArgument: or `error`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise error(f"{what} is {value!r}, expected an int from {lowest} to {highest}.")
    return int(value)


def require_timedelta(
    value: Any, what: str, lowest: timedelta, error: type[SpinachError] = InvalidArgument
) -> timedelta:
    """Return a timedelta that is long enough.

    Raises:
        InvalidArgument: or `error`.
    """
    if not isinstance(value, timedelta) or value < lowest:
        raise error(
            f"{what} is {value!r}, expected a timedelta of at least "
            f"{lowest.total_seconds():g} seconds, such as timedelta(minutes=5)."
        )
    return value
