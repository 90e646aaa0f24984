"""The Redis broker keeps the whole contract, on every kind of server it claims to serve."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from spinach_redis import RedisBroker, results
from spinach_redis.server.permissions import acl_line
from spinach_testing.conformance import BrokerConformance

from .clusters import Cluster
from .harness import RedisHarness
from .servers import Server, running_server
from .tls import TlsServer, running_tls


def of_url(url: str, namespace: str, **options: object) -> RedisBroker:
    return RedisBroker.from_url(url, **options)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends a wait without waking it is heard of in less than seconds."""
    monkeypatch.setattr(results, "WAIT_SECONDS", 0.5)


@pytest.fixture(scope="module")
def strict_server(binary: None) -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def tls(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    with running_tls(server.port, tmp_path_factory.mktemp("tls")) as tls:
        yield tls


class TestOneServer(BrokerConformance):
    @pytest.fixture
    def harness(self, server: Server) -> Iterator[RedisHarness]:
        make = partial(of_url, server.unix_url)
        with RedisHarness(make, server.client()) as harness:
            yield harness


class TestDatabase(BrokerConformance):
    """Another database number, where a namespace of the same name is another one."""

    pytestmark = pytest.mark.exhaustive

    @pytest.fixture
    def harness(self, server: Server) -> Iterator[RedisHarness]:
        make = partial(of_url, f"{server.url}/5")
        with RedisHarness(make, server.client()) as harness:
            yield harness


class TestAclUser(BrokerConformance):
    pytestmark = pytest.mark.exhaustive

    @pytest.fixture
    def harness(self, strict_server: Server) -> Iterator[RedisHarness]:
        with strict_server.client() as client:

            def make(namespace: str, **options: object) -> RedisBroker:
                """A broker of a user that may do nothing outside of the namespace."""
                rule = acl_line(namespace, namespace).split()
                client.execute_command("ACL", "SETUSER", *rule, "nopass")
                return RedisBroker.from_url(
                    f"redis://{namespace}:any@127.0.0.1:{strict_server.port}", **options
                )

            with RedisHarness(make, client) as harness:
                yield harness


class TestTls(BrokerConformance):
    pytestmark = pytest.mark.exhaustive

    @pytest.fixture
    def harness(self, server: Server, tls: TlsServer) -> Iterator[RedisHarness]:
        with RedisHarness(partial(of_url, tls.url), server.client()) as harness:
            yield harness


class TestCluster(BrokerConformance):
    @pytest.fixture
    def harness(self, cluster: Cluster) -> Iterator[RedisHarness]:
        def make(namespace: str, **options: object) -> RedisBroker:
            return RedisBroker(client, **options)

        with (
            cluster.client() as client,
            RedisHarness(make, cluster.nodes[0].client()) as harness,
        ):
            yield harness
