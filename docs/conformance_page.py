"""Writes `reference/conformance.md`: what the conformance suite holds and would notice.

    python docs/conformance_page.py

Takes about a minute, in which each broken broker is put before the tests. A test compares
the page with what this would write.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spinach.retention import DEFAULT_RETENTION, FailedRetention
from spinach_memory import MemoryBroker, MemoryStore
from spinach_testing.conformance import Harness, WallClock, conformance_tests
from spinach_testing.conformance.breakers import BREAKERS
from spinach_testing.conformance.table import behaviour_table, catches, invariant_table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime, timedelta

PAGE = Path(__file__).parent / "reference" / "conformance.md"

HEAD = """\
# The conformance suite

<!-- Written by docs/conformance_page.py. -->

{tests} tests in {behaviours} behaviours run on every broker, and {breakers} brokers that each
break one rule prove that the tests would notice. [Brokers of your own](../guides/brokers.md)
shows how to run it.

## Behaviours

Each is a file of `spinach_testing.conformance.behaviours`. A breaker stands with every
behaviour that catches it.
"""

INVARIANTS = """
## Invariants

What each of them says stands in [the life of a job](../design/states.md#invariants). I16 and
I17 are kept inside a worker process, where no broker has a say; the tests of `spinach-core`
hold them.
"""


class MemoryHarness(Harness):
    """The sound broker that the breakers go around."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._clock = WallClock()

    def new_broker(
        self, *, namespace: str, failed_retention: FailedRetention = DEFAULT_RETENTION
    ) -> MemoryBroker:
        """See `Harness`."""
        broker = MemoryBroker(self._store, clock=self._clock, failed_retention=failed_retention)
        broker.bind(namespace, self)
        return broker

    def advance(self, by: timedelta) -> None:
        """See `Harness`."""
        self._clock.advance(by)

    def set_back(self, by: timedelta) -> None:
        """See `Harness`."""
        self._clock.set_back(by)

    def now(self) -> datetime:
        """See `Harness`."""
        return self._clock.now()

    def close(self) -> None:
        """Nothing outlives the store."""


def page(caught: Mapping[str, Collection[str]]) -> str:
    """The whole page, with the breakers that each behaviour was seen to catch."""
    head = HEAD.format(
        tests=len(list(conformance_tests())), behaviours=len(caught), breakers=len(BREAKERS)
    )
    return f"{head}\n{behaviour_table(caught)}{INVARIANTS}\n{invariant_table()}"


if __name__ == "__main__":
    PAGE.write_text(page(catches(MemoryHarness)), encoding="utf-8")
