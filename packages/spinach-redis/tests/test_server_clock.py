from __future__ import annotations

from collections.abc import Callable

import pytest

from spinach.brokers.calls import Verdict
from spinach_redis import RedisBroker

from .jobs import LEASE_MS, QUEUE, TASK, Member, deposit

HOUR_MS = 3_600_000
NewBroker = Callable[..., RedisBroker]


@pytest.fixture
def offset_ms() -> list[int]:
    return [0]


@pytest.fixture
def broker(new_broker: NewBroker, offset_ms: list[int]) -> RedisBroker:
    return new_broker(_offset_ms=lambda: offset_ms[0])


def live(member: Member, offset_ms: list[int], span_ms: int) -> list[str]:
    """Beat each ten seconds; the dead members that were named."""
    named = []
    for _ in range(0, span_ms, 10_000):
        offset_ms[0] += 10_000
        [reply] = member.broker.beat([member.turn()])
        assert reply.verdict is Verdict.APPLIED
        if reply.dead is not None:
            named.append(reply.dead)
    return named


def test_nobody_dies_of_a_clock_that_is_set_back_and_the_dead_stay_dead(
    broker: RedisBroker, offset_ms: list[int]
) -> None:  # I11
    dead, survivor = Member(broker), Member(broker)
    broker.enqueue([deposit()])
    assert len(dead.take()) == 1
    offset_ms[0] -= HOUR_MS
    assert live(survivor, offset_ms, LEASE_MS) == []
    assert broker.recover(QUEUE, dead.name).verdict is Verdict.REFUSED
    # Not an hour later, when the clock reaches the deadline that was written before.
    assert live(survivor, offset_ms, 20_000) == [dead.name]
    assert broker.recover(QUEUE, dead.name).verdict is Verdict.APPLIED


def test_second_of_going_back_delays_no_recovery(
    broker: RedisBroker, offset_ms: list[int]
) -> None:  # I11
    dead, survivor = Member(broker), Member(broker)
    assert live(survivor, offset_ms, 20_000) == []
    offset_ms[0] -= 500
    assert live(survivor, offset_ms, 20_000) == [dead.name]


def test_clock_that_is_set_back_leaves_a_timekeeper(
    broker: RedisBroker, offset_ms: list[int]
) -> None:
    keeper, other = Member(broker), Member(broker)
    broker.enqueue([deposit(due_ms=2**41)])
    assert keeper.fetch().next_due_in_ms is not None
    assert other.fetch().next_due_in_ms is None
    offset_ms[0] -= HOUR_MS
    assert other.fetch().next_due_in_ms is not None


def test_members_with_different_leases_are_judged_by_their_own(
    broker: RedisBroker, offset_ms: list[int]
) -> None:  # I11
    patient = Member(broker, lease_ms=300_000)
    dead, survivor = Member(broker), Member(broker)
    assert set(live(survivor, offset_ms, 60_000)) == {dead.name}
    assert broker.beat([patient.turn()])[0].verdict is Verdict.APPLIED


def test_periodic_task_does_not_wait_for_a_clock_that_was_set_back(
    broker: RedisBroker, offset_ms: list[int]
) -> None:  # I15
    member = Member(broker, periodic={TASK: 60_000})
    offset_ms[0] += HOUR_MS
    [tick] = broker.tick(QUEUE, [TASK]).due
    assert broker.fire(QUEUE, TASK, tick.due_ms, deposit()).verdict is Verdict.APPLIED
    offset_ms[0] -= HOUR_MS
    live(member, offset_ms, 10_000)
    reply = broker.tick(QUEUE, [TASK])
    assert reply.due == ()
    assert reply.next_periodic_in_ms is not None
    assert reply.next_periodic_in_ms <= 60_000
