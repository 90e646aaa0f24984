"""How long, how many and how large: what the failed store of a queue keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from spinach.const import MAX_FAILED, MAX_FAILED_AGE, MAX_FAILED_BYTES
from spinach.exc import InvalidArgument
from spinach.support.checks import require_int, require_timedelta

__all__ = ["DEFAULT_RETENTION", "FailedRetention", "require_retention"]

_SHORTEST_AGE: Final = timedelta(seconds=1)
_LONGEST_AGE: Final = timedelta(days=3650)
_MOST_JOBS: Final = 1_000_000
_MOST_BYTES: Final = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRetention:
    """What the failed store of a queue keeps; beyond any of the three the oldest jobs go.

    Args:
        number: most jobs, from 1 to 1,000,000.
        age: how long a job stays, from a second to ten years.
        size: most bytes of arguments and tracebacks, from 1 to 2**40. They never cost the
            newest job, however large it is.

    Raises:
        InvalidArgument: one of them is out of its range.
    """

    number: int = MAX_FAILED
    age: timedelta = MAX_FAILED_AGE
    size: int = MAX_FAILED_BYTES

    def __post_init__(self) -> None:
        require_int(self.number, "number of FailedRetention", 1, _MOST_JOBS)
        require_timedelta(self.age, "age of FailedRetention", _SHORTEST_AGE)
        if self.age > _LONGEST_AGE:
            raise InvalidArgument(
                f"age of FailedRetention is {self.age!r}, expected a timedelta of at most "
                f"{_LONGEST_AGE.days} days."
            )
        require_int(self.size, "size of FailedRetention", 1, _MOST_BYTES)

    @property
    def age_ms(self) -> int:
        """The age in whole milliseconds."""
        return self.age // timedelta(milliseconds=1)


#: What a broker keeps that was told nothing else.
DEFAULT_RETENTION: Final = FailedRetention()


def require_retention(value: Any) -> FailedRetention:
    """Return the value, which is a `FailedRetention`.

    Raises:
        InvalidArgument: it is none.
    """
    if not isinstance(value, FailedRetention):
        raise InvalidArgument(
            f"failed_retention is {value!r} of type {type(value).__name__}, expected a "
            "FailedRetention, such as FailedRetention(age=timedelta(days=7))."
        )
    return value
