"""Outcomes that replicas have to know of, since a failover would undo them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from spinach.brokers.calls import Verdict
from spinach.exc import BrokerUnavailable
from spinach.outcome import Lease
from spinach_redis import RedisBroker

from .jobs import QUEUE, Member, deposit, success
from .replicas import Replicated

NewBroker = Callable[..., RedisBroker]


@pytest.fixture
def broker(new_broker: NewBroker, replicated: Replicated) -> RedisBroker:
    return new_broker(replicated.primary.url, wait_replicas=1)


@contextlib.contextmanager
def frozen(group: Replicated) -> Iterator[None]:
    """Replicas that answer nothing."""
    for replica in group.replicas:
        replica.freeze()
    try:
        yield
    finally:
        for replica in group.replicas:
            replica.thaw()


def taken(member: Member, *, max_retries: int) -> Lease:
    member.broker.enqueue([deposit(max_retries=max_retries)])
    [lease] = member.take()
    return lease


def test_outcome_of_an_at_most_once_job_counts_as_answered_when_the_replica_has_it(
    broker: RedisBroker, replicated: Replicated
) -> None:  # I3
    lease = taken(Member(broker), max_retries=0)
    with frozen(replicated):
        first = broker.report([success(lease)])
        # The repeat changes nothing, so that a write of its own has to be waited for.
        again = broker.report([success(lease)])
    for reply in (first, again):
        assert reply.verdicts == (Verdict.UNKNOWN,)
        assert isinstance(reply.error, BrokerUnavailable)
    assert broker.report([success(lease)]).verdicts == (Verdict.REFUSED,)
    assert broker.counts([QUEUE])[0].unfinished == 0


def test_lease_that_a_failover_brought_back_is_not_handed_to_who_ran_it(
    broker: RedisBroker, new_broker: NewBroker, replicated: Replicated
) -> None:  # I3
    member = Member(broker)
    lease = taken(member, max_retries=0)
    [replica] = replicated.replicas
    with replica.client() as client:
        client.execute_command("REPLICAOF", "NO", "ONE")
    assert broker.report([success(lease)]).verdicts == (Verdict.UNKNOWN,)
    # So it is still held when the process meets the new primary.
    successor = new_broker(replica.url)
    settled = successor.reconcile(member.turn(), [(lease.stored_id, lease.token)])
    assert (settled.missing, settled.strays) == ((), ())
    assert successor.report([success(lease)]).verdicts == (Verdict.APPLIED,)
    assert successor.counts([QUEUE])[0].unfinished == 0


def test_outcome_of_a_job_that_may_repeat_waits_for_no_replica(
    broker: RedisBroker, replicated: Replicated
) -> None:
    lease = taken(Member(broker), max_retries=1)
    with frozen(replicated):
        assert broker.report([success(lease)]).verdicts == (Verdict.APPLIED,)
