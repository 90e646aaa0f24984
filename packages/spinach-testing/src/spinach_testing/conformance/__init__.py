"""The conformance suite: every behaviour of `spinach.brokers.base.Broker`, as tests.

To test a broker of your own, write a test file like this::

    import pytest
    from spinach_testing.conformance import BrokerConformance, Harness

    class MyHarness(Harness):
        ...  # new_broker, advance, set_back, now, close

    class TestMyBroker(BrokerConformance):
        @pytest.fixture
        def harness(self):
            with MyHarness() as harness:
                yield harness

Each test gets a harness of its own and cites the invariants of
`docs/design/states.md` that it holds. The brokers of
`spinach_testing.conformance.breakers` each break one rule, and prove that the suite
notices.
Needs pytest; nothing here imports a particular broker.
"""

from __future__ import annotations

import pytest

# With this the assertions of the behaviours show the values that they compare, as in any
# test file. It has to come before the modules are imported.
pytest.register_assert_rewrite(
    "spinach_testing.conformance.behaviours",
    "spinach_testing.conformance.lab",
    "spinach_testing.conformance.process",
)

from .behaviour import BrokerBehaviour  # noqa: E402 - after register_assert_rewrite
from .clock import WallClock  # noqa: E402
from .deposits import deposit, ids  # noqa: E402
from .harness import Harness  # noqa: E402
from .invariants import BROKER_INVARIANTS, holds, invariants_of  # noqa: E402
from .lab import Lab  # noqa: E402
from .process import Process  # noqa: E402
from .suite import BrokerConformance, ConformanceTest, conformance_tests  # noqa: E402

__all__ = [
    "BROKER_INVARIANTS",
    "BrokerBehaviour",
    "BrokerConformance",
    "ConformanceTest",
    "Harness",
    "Lab",
    "Process",
    "WallClock",
    "conformance_tests",
    "deposit",
    "holds",
    "ids",
    "invariants_of",
]
