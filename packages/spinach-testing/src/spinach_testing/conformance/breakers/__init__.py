"""Broken brokers: each breaks one rule of the contract, so that the suite can be tested.

A breaker goes around any sound broker and knows nothing of its inside. The suite has to
reject all of `BREAKERS`::

    from spinach_testing.conformance.breakers import BREAKERS, rejections

    for breaker in BREAKERS:
        test, error = next(rejections(MyHarness, breaker))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import (
    clock,
    ends,
    failed_store,
    fetching,
    housekeeping,
    jobs,
    matching,
    nesting,
    operating,
    options,
    outcomes,
    producing,
    results,
    waiting,
)
from .base import Breaker, BrokenHarness
from .trial import rejections

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

__all__ = ["BREAKERS", "Breaker", "BrokenHarness", "rejections"]


def _found_in(module: ModuleType) -> Iterator[type[Breaker]]:
    """Every public subclass of `Breaker` in a module, by name."""
    for name, value in sorted(vars(module).items()):
        is_breaker = isinstance(value, type) and issubclass(value, Breaker)
        if is_breaker and value.__module__ == module.__name__ and not name.startswith("_"):
            yield value


#: All of them, by the calls in which they break a rule.
BREAKERS: tuple[type[Breaker], ...] = tuple(
    breaker
    for module in (
        producing,
        options,
        nesting,
        fetching,
        outcomes,
        housekeeping,
        clock,
        waiting,
        failed_store,
        jobs,
        matching,
        operating,
        results,
        ends,
    )
    for breaker in _found_in(module)
)
