"""What the suite holds and what it would notice, as tables for people."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .breakers import BREAKERS, rejections
from .invariants import BROKER_INVARIANTS
from .suite import BrokerConformance, conformance_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .harness import Harness

__all__ = ["behaviour_table", "catches", "invariant_table"]

#: Breakers that are tried at once; what takes long is waiting for calls that hang.
_THREADS = 8


def catches(new_harness: Callable[[], Harness]) -> dict[str, list[str]]:
    """Try all breakers around a sound broker; takes about a minute.

    Args:
        new_harness: makes an empty store for each test; called from several threads.

    Returns:
        Name of a behaviour → names of the breakers that it catches. Only tests that
        hold the invariant which a breaker breaks are asked.
    """

    def catchers(index: int) -> set[str]:
        found = rejections(new_harness, BREAKERS[index])
        return {test.behaviour.__name__ for test, _ in found}

    with ThreadPoolExecutor(_THREADS) as pool:
        caught = list(pool.map(catchers, range(len(BREAKERS))))
    return {
        behaviour.__name__: [
            breaker.__name__
            for breaker, by in zip(BREAKERS, caught, strict=True)
            if behaviour.__name__ in by
        ]
        for behaviour in BrokerConformance.__bases__
    }


def behaviour_table(caught: Mapping[str, Collection[str]]) -> str:
    """A row for each behaviour, in Markdown: its tests, and the breakers that it catches.

    Args:
        caught: from `catches`.
    """
    rows = ["| Behaviour | Tests | Catches |", "|---|---|---|"]
    tests = list(conformance_tests())
    for behaviour in BrokerConformance.__bases__:
        held = [f"`{test.method}`" for test in tests if test.behaviour is behaviour]
        breakers = [f"`{name}`" for name in caught[behaviour.__name__]]
        rows.append(f"| `{behaviour.__name__}` | {'<br>'.join(held)} | {'<br>'.join(breakers)} |")
    return "\n".join(rows) + "\n"


def invariant_table() -> str:
    """A row for each invariant that brokers keep, in Markdown."""
    tests = list(conformance_tests())
    rows = ["| Invariant | Tests | Breakers |", "|---|---|---|"]
    for invariant in BROKER_INVARIANTS:
        held = [f"`{test.method}`" for test in tests if invariant in test.invariants]
        broken = [f"`{each.__name__}`" for each in BREAKERS if each.breaks == invariant]
        rows.append(f"| {invariant} | {'<br>'.join(held)} | {'<br>'.join(broken)} |")
    return "\n".join(rows) + "\n"
