"""Connections between calls: whose they may become, and how many are kept."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from spinach.brokers.calls import Verdict
from spinach_redis.client.client import MOST_IDLE, ConnectionPool
from spinach_redis.topology.topology import Node
from spinach_redis.topology.user_settings import settings_of_url
from spinach_redis.transport.connection import Connection
from spinach_redis.transport.settings import CALL_TIMEOUT_SECONDS
from spinach_redis.waiting import REST_SECONDS

from .jobs import QUEUE, Member, deposit
from .wakeups import WaitingFetch, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from spinach_redis import RedisBroker

    from .servers import Server


def node() -> Node:
    return Node(settings_of_url("redis://127.0.0.1:1"))


def test_connection_that_was_used_last_is_used_next() -> None:
    pool, there = ConnectionPool(), node()
    lent = [pool.take(there, 5.0) for _ in range(3)]
    assert len(set(lent)) == 3
    for each in lent:
        pool.give_back(there, each)
    assert [pool.take(there, 5.0) for _ in range(3)] == lent[::-1]


def test_connections_are_kept_apart_by_how_long_they_wait() -> None:
    pool, there, elsewhere = ConnectionPool(), node(), node()
    first = pool.take(there, 5.0)
    pool.give_back(there, first)
    other = pool.take(there, 7.0)
    assert other.timeout_seconds == 7.0
    assert first not in (other, pool.take(elsewhere, 5.0))
    assert pool.take(there, 5.0) is first


def test_those_that_are_too_many_are_closed_and_the_oldest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, there = ConnectionPool(), node()
    lent = [pool.take(there, 5.0) for _ in range(MOST_IDLE + 2)]
    closed: list[Connection] = []
    monkeypatch.setattr(Connection, "close", lambda self: closed.append(self))
    for each in lent:
        pool.give_back(there, each)
    assert closed == lent[:2]
    pool.close()
    assert set(closed) == set(lent)
    assert pool.take(there, 5.0) not in lent


def test_node_that_is_gone_takes_its_connections_along() -> None:
    pool, there = ConnectionPool(), node()
    connection = pool.take(there, 5.0)
    pool.give_back(there, connection)
    gone = weakref.ref(connection)
    del connection, there
    gc.collect()
    assert gone() is None


def test_calls_go_on_while_a_thread_waits_for_a_wake_up(
    new_broker: Callable[..., RedisBroker], own_server: Server
) -> None:
    broker = new_broker(own_server.unix_url)
    member = Member(broker)
    # The connection that the wait takes has answered before.
    WaitingFetch(member, seconds=0.01).end()
    waiting = WaitingFetch(member)
    until_blocked(own_server)
    assert broker.counts([QUEUE])[0].verdict is Verdict.APPLIED
    assert broker.failed_jobs(QUEUE) == []
    assert waiting.replies == []
    broker.enqueue([deposit()])
    assert len(waiting.end()[0].leases) == 1
    pool = broker._process.client.pool
    [by_timeout] = pool._idle.values()
    kept = {seconds: len(connections) for seconds, connections in by_timeout.items()}
    assert kept == {CALL_TIMEOUT_SECONDS: 1, REST_SECONDS: 1}
