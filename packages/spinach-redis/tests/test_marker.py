"""The marker is there when somebody has to be woken, and only then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spinach.brokers.calls import CancelVerdict, FetchTurn, Verdict
from spinach_redis import RedisBroker
from spinach_redis.keys import QueueKeys

from .jobs import QUEUE, TASK, Member, deposit, success
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


def test_cancel_of_the_last_job_takes_the_wake_up_away(
    new_broker: Callable[..., RedisBroker], is_set: Callable[[], bool]
) -> None:  # I14, I22
    broker = new_broker()
    jobs = [deposit(), deposit()]
    broker.enqueue(jobs)
    broker.cancel_jobs(QUEUE, [jobs[0].stored_id])
    assert is_set()
    broker.cancel_jobs(QUEUE, [jobs[1].stored_id])
    assert not is_set()
    broker.enqueue([deposit()])
    assert is_set()


def test_cancel_of_a_job_that_waits_leaves_the_wake_up_of_others(
    new_broker: Callable[..., RedisBroker], is_set: Callable[[], bool]
) -> None:  # I14, I22
    broker = new_broker()
    first, second = deposit(due_ms=FAR_MS), deposit(due_ms=FAR_MS)
    broker.enqueue([first, second])
    broker.cancel_jobs(QUEUE, [first.stored_id])
    # No member keeps the time of the other one yet.
    assert is_set()
    broker.cancel_jobs(QUEUE, [second.stored_id])
    assert not is_set()


def test_cancel_of_a_job_that_came_back_wakes_one_for_the_next(
    new_broker: Callable[..., RedisBroker], is_set: Callable[[], bool]
) -> None:  # I10, I14, I22
    broker = new_broker()
    member = Member(broker, limits={TASK: 1})
    jobs = [deposit() for _ in range(3)]
    broker.enqueue(jobs)
    [running] = member.take(idle=3)
    broker.report([success(running)])
    with_marker = is_set()
    assert with_marker
    [reply] = broker.cancel_jobs(QUEUE, [jobs[1].stored_id])
    assert reply.verdict is CancelVerdict.CANCELLED
    assert is_set()
    [counts] = broker.counts([QUEUE])
    assert (counts.ready, counts.held) == (1, 0)
