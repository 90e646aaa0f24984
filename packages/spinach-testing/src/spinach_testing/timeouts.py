"""How long jobs may take, in real seconds: one check for calls, mark and configuration.

Imports nothing of Spinach until a check fails, since every test run imports this module.
"""

from __future__ import annotations

from typing import Any

__all__ = ["problem_of", "require_timeout"]

#: Real seconds: a day. On some platforms locks cannot wait for more than some weeks.
_MOST = 86_400


def problem_of(value: Any, what: str = "timeout") -> str | None:
    """What is wrong with a timeout, as part of a sentence; None: nothing."""
    # The comparison refuses NaN and infinity, too.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _MOST:
        return None
    return f"{what} is {value!r}, expected real seconds above 0, {_MOST} at most"


def require_timeout(given: Any, default: float) -> float:
    """The timeout that a call was given; None takes the default.

    Raises:
        InvalidArgument: not a number, or out of range.
    """
    if given is None:
        return default
    if problem := problem_of(given):
        from spinach.exc import InvalidArgument  # see the module

        raise InvalidArgument(f"{problem}. Write timeout=5, or leave it out.")
    return float(given)
