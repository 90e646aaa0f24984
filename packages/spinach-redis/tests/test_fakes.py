"""A client or server of fakeredis is refused before a job is stored there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import fakeredis
import pytest
import redis
from fakeredis import FakeRedis, FakeServer, FakeStrictRedis, TcpFakeServer

from spinach import Engine
from spinach.exc import BrokerError, InvalidArgument
from spinach_redis import RedisBroker

from .servers import Server


def over_its_connections() -> redis.Redis:
    made_by = FakeRedis().connection_pool.connection_class
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=made_by))


def over_a_function_of_its_own() -> redis.Redis:
    # What some releases have in the place of the class of connections.
    def make(**options: object) -> object:
        raise AssertionError(options)

    make.__module__ = "fakeredis._connection"
    # Any callable makes connections; redis-py's types know of classes only.
    pool = redis.ConnectionPool(connection_class=make)  # type: ignore[type-var]
    return redis.Redis(connection_pool=pool)


CLIENTS: dict[str, Callable[[], object]] = {
    "FakeRedis": FakeRedis,
    "FakeStrictRedis": FakeStrictRedis,
    "of a shared server": lambda: FakeRedis(server=FakeServer()),
    "from_url": lambda: FakeRedis.from_url("redis://here:6379/1"),
    "subclass": type("Own", (FakeRedis,), {}),
    "its connections": over_its_connections,
    "a function that makes its connections": over_a_function_of_its_own,
    "its server": FakeServer,
    "asynchronous": fakeredis.FakeAsyncRedis,
}


@pytest.mark.parametrize("client", CLIENTS)
def test_client_of_fakeredis_is_refused_with_what_to_use(client: str) -> None:
    with pytest.raises(InvalidArgument, match="fakeredis") as caught:
        RedisBroker(CLIENTS[client]())
    assert "MemoryBroker()" in str(caught.value)
    assert "spinach-testing" in str(caught.value)


@pytest.fixture
def imitation() -> Iterator[TcpFakeServer]:
    with TcpFakeServer(("127.0.0.1", 0)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


CALLS: dict[str, Callable[[Engine], object]] = {
    "schedule": lambda spin: spin.schedule("nothing"),
    "failed.list": lambda spin: spin.failed.list(),
    "start_workers": lambda spin: spin.start_workers(1, stop_when_queue_empty=True),
}


@pytest.mark.parametrize("call", CALLS)
def test_server_of_fakeredis_is_refused_before_anything_is_stored(
    imitation: TcpFakeServer, call: str
) -> None:
    host, port = imitation.server_address[:2]
    broker = RedisBroker.from_url(f"redis://{host}:{port}")
    spin = Engine(broker, namespace="fake")
    spin.task(name="nothing")(print)
    with pytest.raises(BrokerError, match="is fakeredis") as caught:
        CALLS[call](spin)
    assert type(caught.value) is BrokerError
    assert "MemoryBroker()" in str(caught.value)
    assert FakeRedis(server=imitation.fake_server).keys() == []
    broker.close()


def test_real_server_is_asked_once_a_process(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.url)
    spin = Engine(broker, namespace="real")
    spin.task(name="nothing")(print)
    with own_server.client() as client:

        def asked() -> int:
            return int(client.info("commandstats").get("cmdstat_hello", {"calls": 0})["calls"])

        before = asked()
        for _ in range(3):
            spin.schedule("nothing")
            # The next call connects anew.
            broker.close()
        assert asked() - before == 1
