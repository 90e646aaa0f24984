from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from spinach.exc import BrokerUnavailable
from spinach_redis import RedisBroker

from .jobs import Member, deposit
from .servers import Server
from .tls import TlsServer, running_tls
from .wakeups import WaitingFetch, until_blocked

NewBroker = Callable[..., RedisBroker]


@pytest.fixture
def tls(server: Server, tmp_path: Path) -> Iterator[TlsServer]:
    with running_tls(server.port, tmp_path) as tls:
        yield tls


def test_settings_of_a_client_reach_the_broker_s_connections(
    new_broker: NewBroker, tls: TlsServer
) -> None:
    client = redis.Redis(host="127.0.0.1", port=tls.port, ssl=True, ssl_ca_certs=str(tls.authority))
    broker = new_broker(client)
    assert broker.enqueue([deposit() for _ in range(700)]) == [True] * 700
    assert len(Member(broker).take(idle=700)) == 700


def test_wait_for_several_queues_ends_through_tls(
    new_broker: NewBroker, tls: TlsServer, own_server: Server, tmp_path: Path
) -> None:
    """What TLS sends by itself is not taken for an answer."""
    (tmp_path / "own").mkdir()
    with running_tls(own_server.port, tmp_path / "own") as own:
        broker = new_broker(own.url)
        broker._process.client.topology.part()
        members = [Member(broker, queue) for queue in ("one", "two")]
        for _ in range(5):
            waiting = WaitingFetch(*members)
            until_blocked(own_server, count=2)
            broker.enqueue([deposit("two")])
            assert [len(reply.leases) for reply in waiting.end()] == [0, 1]
        broker.close()


def test_server_with_a_certificate_of_nobody_we_trust_is_not_used(
    new_broker: NewBroker, tls: TlsServer
) -> None:
    broker = new_broker(f"rediss://127.0.0.1:{tls.port}")
    broker._process.client.client_seconds = 0.1
    with pytest.raises(BrokerUnavailable, match=r"(?i)certificate") as caught:
        broker.enqueue([deposit()])
    assert len(caught.value.not_sent) == 1
