"""The list of the queues of a namespace, and what brings it back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spinach.exc import BrokerUnavailable
from spinach_redis import RedisBroker
from spinach_redis.keys import queues_key

from .clusters import Cluster
from .jobs import QUEUE, Member, deposit
from .servers import Server

NewBroker = Callable[..., RedisBroker]


def test_cluster_has_one_list_for_all_its_nodes(cluster: Cluster, namespace: str) -> None:
    with cluster.client() as client:
        broker = RedisBroker(client)
        broker.bind(namespace, object())
        queues = [f"queue-{number}" for number in range(12)]
        broker.enqueue([deposit(queue=queue) for queue in queues])
        assert sorted(broker.queues()) == sorted(queues)
        broker.close()


def test_whoever_joins_lists_the_queue_that_the_server_forgot(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:
    broker = new_broker()
    Member(broker)
    with server.client() as client:
        client.delete(queues_key(namespace))
    assert broker.queues() == []
    # As one does whose membership was forgotten, too.
    Member(broker)
    assert broker.queues() == [QUEUE]


def test_server_that_is_down_is_told(
    new_broker: NewBroker, own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = new_broker(own_server.url)
    broker.enqueue([deposit()])
    monkeypatch.setattr(broker._process.client, "client_seconds", 0.2)
    own_server.stop()
    with pytest.raises(BrokerUnavailable):
        broker.queues()
