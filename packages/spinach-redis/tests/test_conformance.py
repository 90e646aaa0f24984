"""The Redis broker keeps the whole contract, on every kind of server it claims to serve."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from spinach_redis import RedisBroker
from spinach_testing.conformance import BrokerConformance

from .clusters import Cluster
from .harness import RedisHarness
from .servers import Server


class TestOneServer(BrokerConformance):
    @pytest.fixture
    def harness(self, server: Server) -> Iterator[RedisHarness]:
        make = partial(RedisBroker.from_url, server.unix_url)
        with RedisHarness(make, server.client()) as harness:
            yield harness


class TestCluster(BrokerConformance):
    @pytest.fixture
    def harness(self, cluster: Cluster) -> Iterator[RedisHarness]:
        with (
            cluster.client() as client,
            RedisHarness(partial(RedisBroker, client), cluster.nodes[0].client()) as harness,
        ):
            yield harness
