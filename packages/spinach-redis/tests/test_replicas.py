"""Jobs and leases that replicas have to know of, and primaries that change."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

import pytest
from redis.sentinel import Sentinel

from spinach.brokers.calls import Verdict
from spinach.exc import BrokerUnavailable, InvalidArgument, ScheduleUncertain
from spinach_redis import RedisBroker

from .jobs import QUEUE, Member, deposit, success
from .replicas import Replicated
from .sentinels import FAILOVER_SECONDS, SERVICE, Watched, running_sentinels
from .servers import until

NewBroker = Callable[..., RedisBroker]


@pytest.fixture
def watched(binary: None) -> Iterator[Watched]:
    with running_sentinels(replicas=1) as watched:
        yield watched


@pytest.fixture
def broker(new_broker: NewBroker, watched: Watched) -> Iterator[RedisBroker]:
    sentinel = watched.sentinel()
    client = sentinel.master_for(SERVICE)
    broker = new_broker(client)
    with contextlib.ExitStack() as stack:
        for each in sentinel.sentinels:
            stack.enter_context(each)
        yield broker


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


def reconciled(member: Member) -> list[str]:
    reply = until(
        lambda: not (r := member.broker.reconcile(member.turn(), [])).error and r,
        "reconciliation",
    )
    return [lease.stored_id for lease in reply.missing]


@pytest.mark.parametrize("number", [-1, 1.5, "1", None, True])
def test_number_of_replicas_is_a_natural_number(number: object) -> None:
    with pytest.raises(InvalidArgument, match="wait_replicas"):
        RedisBroker(wait_replicas=number)
    with pytest.raises(InvalidArgument, match="wait_replicas"):
        RedisBroker.from_url("redis://there", wait_replicas=number)


def test_job_is_stored_once_the_replica_has_it(
    new_broker: NewBroker, replicated: Replicated
) -> None:
    broker = new_broker(replicated.primary.url, wait_replicas=1)
    broker.enqueue([deposit() for _ in range(1200)])
    with replicated.replicas[0].client() as copy:
        assert copy.llen(f"{{{broker.namespace}/{QUEUE}}}:ready") == 1200


def test_fate_of_a_job_that_no_replica_has_is_unknown(
    new_broker: NewBroker, replicated: Replicated
) -> None:
    broker = new_broker(replicated.primary.url, wait_replicas=1)
    broker.enqueue([deposit()])
    broker._process.client.client_seconds = 1.5
    job = deposit()
    with frozen(replicated), pytest.raises(ScheduleUncertain) as caught:
        broker.enqueue([job])
    assert [str(each) for each in caught.value.job_ids] == [job.stored_id[1:]]
    assert "NOREPLICAS 0 of 1" in str(caught.value)
    assert broker.enqueue([deposit()]) == [True]
    assert broker.counts([QUEUE])[0].ready == 3


def test_job_is_stored_once_though_the_replica_came_late(
    new_broker: NewBroker, replicated: Replicated, monkeypatch: pytest.MonkeyPatch
) -> None:  # I2
    broker = new_broker(replicated.primary.url, wait_replicas=1)
    with contextlib.ExitStack() as stack:
        stack.enter_context(frozen(replicated))
        monkeypatch.setattr("spinach_redis.producer.time.sleep", lambda _: stack.close())
        assert broker.enqueue([deposit()]) == [True]
    assert broker.counts([QUEUE])[0].ready == 1


def test_job_that_runs_at_most_once_starts_when_the_replica_has_its_lease(
    new_broker: NewBroker, replicated: Replicated
) -> None:  # I3
    broker = new_broker(replicated.primary.url, wait_replicas=1)
    job = deposit(max_retries=0)
    broker.enqueue([job])
    member = Member(broker)
    with frozen(replicated):
        reply = member.fetch()
        assert (reply.verdict, reply.leases) == (Verdict.UNKNOWN, ())
        assert isinstance(reply.error, BrokerUnavailable)
        withheld = broker.reconcile(member.turn(), [])
        assert (withheld.verdict, withheld.missing, withheld.more) == (Verdict.APPLIED, (), True)
        assert isinstance(withheld.error, BrokerUnavailable)
    assert reconciled(member) == [job.stored_id]
    assert broker.counts([QUEUE])[0].leased == 1


def test_job_that_may_repeat_starts_without_replicas(
    new_broker: NewBroker, replicated: Replicated
) -> None:
    broker = new_broker(replicated.primary.url, wait_replicas=1)
    broker.enqueue([deposit()])
    member = Member(broker)
    with frozen(replicated):
        [lease] = member.take()
        assert broker.report([success(lease)]).verdicts == (Verdict.APPLIED,)


@pytest.mark.timeout(FAILOVER_SECONDS)
def test_job_and_lease_outlive_the_primary(broker: RedisBroker, watched: Watched) -> None:
    """Those of a primary that died without a warning, and of one that stepped down."""
    broker._process.client.client_seconds = 90.0
    strict = RedisBroker(watched.sentinel().master_for(SERVICE), wait_replicas=1)
    strict.bind(broker.namespace, object())
    strict.enqueue([deposit(max_retries=0), deposit(max_retries=0)])
    member = Member(strict)
    [lease] = member.take()
    watched.primary().stop(kill=True)
    reply = member.fetch()
    assert reply.verdict is Verdict.UNKNOWN
    # Without `wait_replicas`: there is but one server left.
    assert broker.enqueue([deposit()]) == [True]
    member.broker = broker
    reply = until(
        lambda: (
            (r := broker.reconcile(member.turn(), [(lease.stored_id, lease.token)])).verdict
            is Verdict.APPLIED
            and r
        ),
        "reconciliation",
    )
    assert (reply.missing, reply.strays) == ((), ())
    assert broker.report([success(lease)]).verdicts == (Verdict.APPLIED,)
    assert len(member.take(idle=5)) == 2
    strict.close()


@pytest.mark.timeout(FAILOVER_SECONDS)
def test_primary_that_stepped_down_is_left_for_the_new_one(
    broker: RedisBroker, watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="spinach.broker.redis")
    broker.enqueue([deposit()])
    member = Member(broker)
    old = watched.primary()
    assert watched.fail_over() is not old
    assert broker.enqueue([deposit()]) == [True]
    reconciled(member)
    assert len(member.take(idle=5)) == 2
    old.stop()
    # Nobody is connected to it any more.
    assert broker.counts([QUEUE])[0].leased == 2
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "is unavailable, retrying" in line]) <= 1, lines
    assert all(SERVICE in line for line in lines)


def test_primary_that_no_sentinel_knows_is_an_answer(new_broker: NewBroker) -> None:
    sentinel = Sentinel([("127.0.0.1", 1)], sentinel_kwargs={"password": "secret"})
    broker = new_broker(sentinel.master_for(SERVICE))
    reply = broker.counts([QUEUE])[0]
    assert reply.verdict is Verdict.UNKNOWN
    assert isinstance(reply.error, BrokerUnavailable)
    assert "127.0.0.1:1" in str(reply.error)
    assert "secret" not in str(reply.error)


def test_client_of_replicas_is_refused() -> None:
    sentinel = Sentinel([("127.0.0.1", 1)])
    with pytest.raises(InvalidArgument, match=r"master_for"):
        RedisBroker(sentinel.slave_for(SERVICE))


def test_sentinels_may_have_timeouts_of_their_own(watched: Watched, namespace: str) -> None:
    sentinel = watched.sentinel(sentinel_kwargs={"socket_timeout": 0.3})
    broker = RedisBroker(sentinel.master_for(SERVICE))
    broker.bind(namespace, object())
    assert broker.enqueue([deposit()]) == [True]
    broker.close()


def test_nobody_is_taken_for_dead_because_no_replica_answers(
    new_broker: NewBroker, replicated: Replicated
) -> None:  # I3, I11
    now_ms = [0]
    brokers = [
        new_broker(replicated.primary.url, wait_replicas=1, _offset_ms=lambda: now_ms[0])
        for _ in range(2)
    ]
    waiting, other = map(Member, brokers)
    job = deposit(max_retries=0)
    brokers[0].enqueue([job])
    with frozen(replicated):
        assert waiting.fetch().verdict is Verdict.UNKNOWN
        for _ in range(10):
            now_ms[0] += 10_000
            waiting.broker.reconcile(waiting.turn(), [])
            assert other.broker.beat([other.turn()])[0].dead is None
    assert reconciled(waiting) == [job.stored_id]
