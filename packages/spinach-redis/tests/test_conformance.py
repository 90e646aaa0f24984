"""The Redis broker keeps the whole contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spinach_testing.conformance import BrokerConformance

from .harness import RedisHarness
from .servers import Server


class TestRedisBroker(BrokerConformance):
    @pytest.fixture
    def harness(self, server: Server) -> Iterator[RedisHarness]:
        with RedisHarness(server) as harness:
            yield harness
