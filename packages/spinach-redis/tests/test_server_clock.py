from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta

import pytest

from spinach.brokers.calls import Enrolment, Verdict
from spinach_redis import RedisBroker
from spinach_redis.scripts import SCRIPTS

from .jobs import LEASE_MS, QUEUE, TASK, Member, deposit

HOUR_MS = 3_600_000
NOW_MS = 1_900_000_000_000
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


@pytest.fixture
def set_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the time that scripts read, in us after `NOW_MS`."""
    kept = {each: each.parts for each in SCRIPTS}

    def set_time(us: int) -> None:
        seconds, ms = divmod(NOW_MS, 1000)
        time = b"{%d, %d}" % (seconds, ms * 1000 + us)
        for each, parts in kept.items():
            assert b"".join(parts).count(b"call('TIME')") == 1, each
            told = tuple(part.replace(b"call('TIME')", time) for part in parts)
            monkeypatch.setattr(each, "parts", told)
            monkeypatch.setattr(each, "sha", hashlib.sha1(each.text).hexdigest().encode())

    return set_time


def test_job_is_due_at_the_very_instant_that_was_told(
    broker: RedisBroker, set_time: Callable[[int], None]
) -> None:  # I8
    set_time(1)
    member = Member(broker)
    broker.enqueue([deposit(due_ms=NOW_MS + 2)])
    assert member.fetch().next_due_in_ms == 1.999
    assert broker.tick(QUEUE, []).next_due_in_ms == 1.999
    # 1 us before. Told that nothing is left, a process would tick again and again.
    set_time(1999)
    assert broker.tick(QUEUE, []).next_due_in_ms == 0.001
    assert member.take() == []
    set_time(2000)
    assert broker.tick(QUEUE, []).next_due_in_ms is None
    assert len(member.take()) == 1


def test_time_until_what_never_comes_is_no_time_at_all_in_no_reply(broker: RedisBroker) -> None:
    longest = timedelta.max // timedelta(milliseconds=1)
    told = [broker.join(QUEUE, "me", Enrolment(lease_ms=LEASE_MS, periodic={TASK: longest}))]
    told += [broker.tick(QUEUE, [TASK]), broker.fire(QUEUE, TASK, NOW_MS, deposit())]
    broker.enqueue([deposit(due_ms=longest)])
    told += [broker.tick(QUEUE, []), Member(broker).fetch()]
    centuries_ms = 100 * 365 * 24 * HOUR_MS
    assert all(each.next_due_in_ms > centuries_ms for each in told)


def test_periodic_task_is_due_at_the_very_instant_that_was_told(
    broker: RedisBroker, set_time: Callable[[int], None]
) -> None:  # I15
    set_time(250)
    enrolment = Enrolment(lease_ms=LEASE_MS, periodic={TASK: 1000})
    assert broker.join(QUEUE, "me", enrolment).next_due_in_ms == 999.75
    assert broker.tick(QUEUE, [TASK]).next_periodic_in_ms == 999.75
    set_time(999_999)
    early = broker.tick(QUEUE, [TASK])
    assert (early.due, early.next_periodic_in_ms) == ((), 0.001)
    refused = broker.fire(QUEUE, TASK, NOW_MS + 1000, deposit())
    assert (refused.verdict, refused.next_due_in_ms) == (Verdict.REFUSED, 0.001)
    set_time(1_000_100)
    [due] = broker.tick(QUEUE, [TASK]).due
    fired = broker.fire(QUEUE, TASK, due.due_ms, deposit())
    assert (fired.verdict, fired.next_due_in_ms) == (Verdict.APPLIED, 999.9)
