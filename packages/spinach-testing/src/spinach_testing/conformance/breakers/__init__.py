"""Broken brokers: each breaks one rule of the contract, so that the suite can be tested.

A breaker goes around any sound broker and knows nothing of its inside. The suite has to
reject all of `BREAKERS`::

    from spinach_testing.conformance.breakers import BREAKERS, rejections

    for breaker in BREAKERS:
        test, error = next(rejections(MyHarness, breaker))
"""

from __future__ import annotations

from . import clock, fetching, nesting, outcomes, people, producing, upkeep, waiting
from .base import Breaker, BrokenHarness
from .trial import rejections

__all__ = ["BREAKERS", "Breaker", "BrokenHarness", "rejections"]

#: All of them, by the calls in which they break a rule.
BREAKERS: tuple[type[Breaker], ...] = tuple(
    value  # every public subclass of `Breaker` in these modules
    for module in (producing, nesting, fetching, outcomes, upkeep, clock, waiting, people)
    for name, value in sorted(vars(module).items())
    if not name.startswith("_")
    and isinstance(value, type)
    and issubclass(value, Breaker)
    and value.__module__ == module.__name__
)
