"""The conformance suite: every behaviour of `spinach.brokers.base.Broker`, as tests.

Whoever writes a broker runs it in a test file of their own::

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
`docs/design/states.md` that it holds. `spinach_testing.conformance.breakers` has
brokers that each break one rule, which prove that the suite would notice.
Needs pytest; nothing here imports a particular broker.
"""

from __future__ import annotations

import pytest

# The assertions of the behaviours are to show the values that they compare, as
# those of any test file do. Only before the modules are imported does this work.
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
