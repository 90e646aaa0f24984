"""How long to wait before trying again.

Exponential backoff with full jitter: uniform between nothing and a bound that
doubles with each retry. Source: Marc Brooker, "Exponential Backoff And Jitter",
AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Protocol

__all__ = ["JOB_CAP_SECONDS", "Backoff", "RandomSource", "exponential_backoff"]

#: Base of the backoff between attempts of a job: 3 s, 6 s, 12 s ...
JOB_BASE_SECONDS = 3.0

#: Bound of the backoff between attempts of a job.
JOB_CAP_SECONDS = 1200

#: Base and bound of the backoff between calls to a broker that does not answer.
CALL_BASE_SECONDS = 0.02
CALL_CAP_SECONDS = 5.0


class RandomSource(Protocol):
    """Anything with `uniform`; `random.Random` fits."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between a and b."""
        ...


def jittered_seconds(
    retry: int,
    *,
    base_seconds: float,
    cap_seconds: float,
    source: RandomSource | None = None,
) -> float:
    """Seconds to wait: uniform over 0 to min(cap, base · 2^retry).

    Args:
        retry: how many retries came before; 0 for the first one.
        base_seconds: bound of the first wait.
        cap_seconds: bound of every wait.
        source: None takes the `random` module.
    """
    bound = min(cap_seconds, base_seconds * 2.0 ** min(retry, 64))
    # The module's functions rather than a generator of our own: the standard
    # library seeds them anew after a fork, so that siblings do not wait alike.
    return (random if source is None else source).uniform(0.0, bound)


def exponential_backoff(
    attempt: int, cap: int = JOB_CAP_SECONDS, *, source: RandomSource | None = None
) -> timedelta:
    """The wait before the next attempt of a job.

    Args:
        attempt: how many retries came before; 0 for the first one.
        cap: bound in seconds.
        source: of randomness; None takes the `random` module.
    """
    return timedelta(
        seconds=jittered_seconds(
            attempt, base_seconds=JOB_BASE_SECONDS, cap_seconds=cap, source=source
        )
    )


class Backoff:
    """Counts failed calls in a row and spaces them out; not thread safe."""

    __slots__ = ("_failures", "_source")

    def __init__(self, source: RandomSource | None = None) -> None:
        self._failures = 0
        self._source = source

    @property
    def failing(self) -> bool:
        """Whether the last call failed."""
        return self._failures > 0

    def failed(self) -> float:
        """Count a failure; seconds to wait before the next call."""
        seconds = jittered_seconds(
            self._failures,
            base_seconds=CALL_BASE_SECONDS,
            cap_seconds=CALL_CAP_SECONDS,
            source=self._source,
        )
        self._failures += 1
        return seconds

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures = 0
