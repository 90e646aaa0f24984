from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from spinach_redis import RedisBroker
from spinach_redis.script import SCRIPTS

from .proxy import Proxy
from .servers import NoServer, Server, find_binary, running_server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that tests share; each takes a namespace of its own."""
    try:
        find_binary()
    except NoServer as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    with running_server() as server:
        yield server


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
def own_server() -> Iterator[Server]:
    """A server that the test may maltreat."""
    try:
        find_binary()
    except NoServer as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    with running_server("--appendonly", "yes") as server:
        yield server


@pytest.fixture
def namespace() -> str:
    return "t" + uuid.uuid4().hex


@pytest.fixture
def new_broker(server: Server, namespace: str) -> Iterator[Callable[..., RedisBroker]]:
    """Makes brokers on the shared server, bound to the test's namespace."""
    brokers: list[RedisBroker] = []

    def make(url: str = server.unix_url, **options: object) -> RedisBroker:
        broker = RedisBroker.from_url(url, **options)
        broker.bind(namespace, object())
        brokers.append(broker)
        return broker

    yield make
    for broker in brokers:
        broker.close()
