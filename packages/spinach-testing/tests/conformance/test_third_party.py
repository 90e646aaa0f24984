"""Whoever writes a broker runs the suite in a test file of a few lines."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

THEIR_FILE = """
import pytest
from spinach_memory import MemoryBroker, MemoryStore
from spinach_testing.conformance import BrokerConformance, Harness, WallClock
from spinach_testing.conformance.breakers import Breaker, BrokenHarness
from spinach_testing.conformance.breakers.outcomes import HidesStrays

class MyHarness(Harness):
    def __init__(self):
        self.store, self.clock = MemoryStore(), WallClock()
        self.advance, self.now = self.clock.advance, self.clock.now
        self.set_back = self.clock.set_back

    def new_broker(self, *, namespace, **options):
        broker = MemoryBroker(self.store, clock=self.clock, **options)
        broker.bind(namespace, self)
        return broker

    def advance(self, by): ...
    def set_back(self, by): ...
    def now(self): ...
    def close(self): ...

class TestMyBroker(BrokerConformance):
    @pytest.fixture
    def harness(self):
        with HARNESS as harness:
            yield harness
"""


def test_suite_runs_in_a_file_of_their_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(THEIR_FILE.replace("HARNESS", "MyHarness()"))

    result = pytester.runpytest_subprocess("-q", "-k", "retry or reconcil", "--strict-markers")

    outcomes = result.parseoutcomes()
    assert outcomes["passed"] > 5
    assert set(outcomes) == {"passed", "deselected"}


def test_failure_shows_the_values_that_were_compared(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(THEIR_FILE.replace("HARNESS", "BrokenHarness(MyHarness(), HidesStrays)"))

    result = pytester.runpytest_subprocess("-q", "-k", "made_up_pairs_are_strays")

    result.assert_outcomes(failed=1)
    # The assertion is rewritten although it stands in an installed package.
    result.stdout.fnmatch_lines(["*assert [[]] == [[](*"])


def test_missing_harness_is_explained(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "from spinach_testing.conformance import BrokerConformance\n"
        "class TestMyBroker(BrokerConformance): pass\n"
    )

    result = pytester.runpytest_subprocess("-q", "-k", "enqueue_of_nothing")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*TestMyBroker has no fixture named harness*"])
