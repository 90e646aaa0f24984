"""Slots of limited tasks where members that know the limit and others take turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spinach.brokers.calls import Verdict
from spinach.outcome import Outcome, OutcomeKind
from spinach_redis import RedisBroker
from spinach_redis.keys import QueueKeys

from .jobs import QUEUE, TASK, Member, deposit, success
from .servers import Server

NewBroker = Callable[..., RedisBroker]


@pytest.fixture
def broker(new_broker: NewBroker) -> RedisBroker:
    return new_broker()


def leave(member: Member) -> None:
    assert member.broker.leave(member.turn()).verdict is Verdict.APPLIED


def test_jobs_taken_while_nobody_declares_the_limit_count_when_somebody_does(
    broker: RedisBroker,
) -> None:  # I10
    careless, careful = Member(broker), Member(broker, limits={TASK: 2})
    broker.enqueue([deposit() for _ in range(4)])
    [first] = careless.take()  # occupies a slot, so that the task stays known as limited
    leave(careful)
    [second] = careless.take()
    strict = Member(broker, limits={TASK: 1})
    broker.report([success(first)])
    assert strict.take() == [], "the second job still runs"
    broker.report([success(second)])
    assert len(strict.take()) == 1


def test_nothing_is_kept_of_jobs_that_waited_for_a_slot_when_the_limit_goes(
    broker: RedisBroker, server: Server, namespace: str
) -> None:  # I19
    careless, careful = Member(broker), Member(broker, limits={TASK: 1})
    broker.enqueue([deposit() for _ in range(3)])
    [running] = careful.take(idle=3)
    assert broker.counts([QUEUE])[0].held == 2
    broker.report([success(running)])
    leave(careful)
    assert len(careless.take(idle=3)) == 2
    with server.client() as client:
        brought = QueueKeys(namespace, QUEUE).fixed(("brought",))
        assert client.exists(*brought) == 0


def test_job_that_was_given_back_stays_before_those_that_wait_for_a_slot(
    broker: RedisBroker,
) -> None:  # I9
    member = Member(broker, limits={TASK: 2})
    jobs = [deposit() for _ in range(5)]
    broker.enqueue(jobs)
    first, second = member.take(idle=5)
    broker.report([Outcome(OutcomeKind.RELEASE, first, TASK)])
    broker.report([success(second)])
    order = []
    while leases := member.take(idle=1):
        order += [lease.stored_id for lease in leases]
        broker.report([success(lease) for lease in leases])
    assert order == [job.stored_id for job in (jobs[0], *jobs[2:])]


def test_job_that_was_given_back_waits_for_a_slot_before_those_behind_it(
    broker: RedisBroker,
) -> None:  # I9
    member = Member(broker, limits={TASK: 2})
    jobs = [deposit() for _ in range(4)]
    broker.enqueue(jobs)
    first, second = member.take(idle=4)
    Member(broker, limits={TASK: 1})
    broker.report([Outcome(OutcomeKind.RELEASE, first, TASK)])
    assert member.take(idle=4) == []
    broker.report([success(second)])
    [again] = member.take(idle=4)
    assert again.stored_id == first.stored_id


def test_limit_that_is_gone_goes_with_the_last_job_that_is_cancelled(
    broker: RedisBroker, server: Server
) -> None:
    jobs = [deposit() for _ in range(600)]
    broker.enqueue(jobs)
    member = Member(broker, limits={TASK: 1})
    leases = []
    while broker.counts([QUEUE])[0].held < len(jobs) - 1:
        leases += member.take(idle=10)
    assert set(broker.report([success(lease) for lease in leases]).verdicts) == {Verdict.APPLIED}
    # One call brings back 500 of them, and the others stay.
    leave(member)
    assert [limit.task for limit in broker.limits(QUEUE)] == [TASK]
    broker.cancel_jobs(QUEUE, [job.stored_id for job in jobs])
    assert broker.counts([QUEUE])[0].unfinished == 0
    assert broker.limits(QUEUE) == []
    names = QueueKeys(broker.namespace, QUEUE)
    with server.client() as client:
        assert client.exists(*names.fixed(("limits", "brought", "held", "ready", "cancelled"))) == 0
