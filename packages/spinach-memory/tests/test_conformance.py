"""The memory broker keeps the whole contract."""

from __future__ import annotations

import pytest

from spinach_testing.conformance import BrokerConformance, Harness


class TestMemoryBroker(BrokerConformance):
    @pytest.fixture
    def harness(self, memory: Harness) -> Harness:
        return memory
