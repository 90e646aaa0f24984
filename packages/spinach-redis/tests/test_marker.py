"""The marker is there when somebody has to be woken, and only then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spinach.brokers.calls import FetchTurn, Verdict
from spinach_redis import RedisBroker
from spinach_redis.keys import QueueKeys

from .jobs import QUEUE, Member, deposit
from .servers import Server

FAR_MS = 2**41


@pytest.fixture
def is_set(server: Server, namespace: str) -> Callable[[], bool]:
    def is_set() -> bool:
        with server.client() as client:
            return client.exists(QueueKeys(namespace, QUEUE).marker) == 1

    return is_set


def test_timekeeper_that_leaves_wakes_the_next_one(
    new_broker: Callable[..., RedisBroker], is_set: Callable[[], bool]
) -> None:  # I14
    broker = new_broker()
    keeper, other = Member(broker), Member(broker)
    broker.enqueue([deposit(due_ms=FAR_MS)])
    assert keeper.fetch().next_due_in_ms is not None
    assert other.fetch().next_due_in_ms is None
    assert not is_set()
    assert broker.leave(keeper.turn()).verdict is Verdict.APPLIED
    assert is_set()
    assert other.fetch().next_due_in_ms is not None
    assert not is_set()


def test_fetch_that_takes_the_last_job_takes_the_wake_up(
    new_broker: Callable[..., RedisBroker], is_set: Callable[[], bool]
) -> None:  # I14
    broker = new_broker()
    member = Member(broker)
    broker.enqueue([deposit(), deposit()])
    assert len(member.take(idle=1)) == 1
    assert is_set()
    assert len(member.take(idle=1)) == 1
    assert not is_set()


def test_refused_fetch_leaves_the_wake_up(
    new_broker: Callable[..., RedisBroker], is_set: Callable[[], bool]
) -> None:  # I14
    broker = new_broker()
    member = Member(broker)
    member.fetch()
    broker.enqueue([deposit()])
    earlier = FetchTurn(QUEUE, member.name, 1)
    foreign = FetchTurn(QUEUE, "nobody", 1)
    for turn, verdict in ((earlier, Verdict.STALE), (foreign, Verdict.FENCED)):
        [reply] = broker.fetch([turn], idle=1, extra=0, max_bytes=1_000)
        assert reply.verdict is verdict
        assert is_set()
    assert len(member.take()) == 1
