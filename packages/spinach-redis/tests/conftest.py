from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from spinach_redis import RedisBroker
from spinach_redis.scripts import SCRIPTS

from .clusters import Cluster, running_cluster
from .proxy import Proxy
from .replicas import Replicated, running_replicated
from .servers import NoServer, Server, find_binary, running_server


@pytest.fixture(scope="session")
def binary() -> None:
    """A server binary: without one tests are skipped, but never in CI."""
    try:
        find_binary()
    except NoServer as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def server(binary: None) -> Iterator[Server]:
    """A server that tests share; each takes a namespace of its own."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def module_server(binary: None) -> Iterator[Server]:
    """A server that the tests of one file share, and may empty."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def cluster(binary: None) -> Iterator[Cluster]:
    """A Cluster of three nodes that tests share; each takes a namespace of its own."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """Stands before the shared server, which knows all scripts."""
    with server.client() as client:
        for each in SCRIPTS:
            client.script_load(each.text)
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def own_server(binary: None) -> Iterator[Server]:
    """A server that the test may maltreat."""
    with running_server("--appendonly", "yes") as server:
        yield server


@pytest.fixture
def own_cluster(binary: None) -> Iterator[Cluster]:
    """A Cluster, each node with a replica, that the test may maltreat."""
    with running_cluster(replicas=True) as cluster:
        yield cluster


@pytest.fixture
def replicated(binary: None) -> Iterator[Replicated]:
    """A primary with one replica that the test may maltreat."""
    with running_replicated(1) as group:
        yield group


@pytest.fixture
def namespace() -> str:
    return "t" + uuid.uuid4().hex


@pytest.fixture
def new_broker(server: Server, namespace: str) -> Iterator[Callable[..., RedisBroker]]:
    """Makes brokers bound to the test's namespace: of a URL, a client, or the shared server."""
    brokers: list[RedisBroker] = []

    def make(source: object = server.unix_url, **options: object) -> RedisBroker:
        if isinstance(source, str):
            broker = RedisBroker.from_url(source, **options)
        else:
            broker = RedisBroker(source, **options)
        broker.bind(namespace, object())
        brokers.append(broker)
        return broker

    yield make
    for broker in brokers:
        broker.close()
