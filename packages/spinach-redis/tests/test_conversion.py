"""A queue of schema 1 is converted by the first worker that joins it, and by nobody else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from spinach import Engine, Tasks
from spinach.brokers.calls import Enrolment, FetchTurn, Turn, Verdict
from spinach.const import MAX_FETCH_BYTES
from spinach.exc import BrokerError
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach.record.header import UnreadableRecord, read_header
from spinach_redis import RedisBroker, conversion, keys
from spinach_redis.client.client import RedisClient
from spinach_redis.keys import QueueKeys
from spinach_redis.migrate import migrate
from spinach_redis.server.permissions import commands
from spinach_redis.topology.user_settings import settings_of

from . import original
from .clusters import Cluster
from .jobs import LEASE_MS, Member, deposit
from .schema1 import QUEUE, StoreClock, captured, jobs_by_place, restore
from .servers import Server

NewBroker = Callable[..., RedisBroker]

PARKS = ("mail.scan", "record", "record|2")

#: How long after the first attempt a member that is gone is not waited for any more.
LATER_MS = LEASE_MS + 1_000


@pytest.fixture
def clock() -> StoreClock:
    return StoreClock()


@pytest.fixture
def client(server: Server, namespace: str) -> Iterator[Any]:
    with server.client() as client:
        restore(client, namespace)
        yield client


@pytest.fixture
def broker(client: Any, new_broker: NewBroker, clock: StoreClock) -> RedisBroker:
    return new_broker(_offset_ms=clock.offset_ms)


@pytest.fixture
def reach(server: Server) -> Iterator[RedisClient]:
    """For a conversion that a test makes step by step."""
    reach = RedisClient(settings_of(None, server.unix_url))
    yield reach
    reach.close()


def convert_later(broker: RedisBroker, clock: StoreClock, **enrolment: object) -> Member:
    """Joins twice: the first attempt finds members that may still run."""
    with pytest.raises(BrokerError, match="may still run"):
        Member(broker, **enrolment)
    clock.passed_ms += LATER_MS
    return Member(broker, **enrolment)


def version(client: Any, namespace: str) -> bytes:
    found: bytes = client.get(f"{{{namespace}/{QUEUE}}}:version")
    return found


def everything(client: Any, namespace: str) -> dict[bytes, bytes]:
    return {key: client.dump(key) for key in client.scan_iter(f"{{{namespace}*")}


def end(broker: RedisBroker, lease: Lease) -> str:
    """Report a job as done; its id."""
    try:
        task = read_header(lease.record).task
    except UnreadableRecord as error:
        task = error.park
    verdicts = broker.report([Outcome(OutcomeKind.SUCCEEDED, lease, task)]).verdicts
    assert verdicts == (Verdict.APPLIED,)
    return lease.stored_id


def test_workers_that_may_still_run_are_named_and_nothing_is_changed(
    broker: RedisBroker, client: Any, namespace: str, clock: StoreClock
) -> None:
    before = everything(client, namespace)
    clock.passed_ms = 5_500
    with pytest.raises(BrokerError, match=r"'letters' has storage version 1.* Stop them") as told:
        Member(broker)
    for worker in ("process 4711 on app1", "process 815 on app2"):
        assert f"{worker}, last seen 5 s ago" in str(told.value)
    guard = f"{{{namespace}/{QUEUE}}}:guard"
    assert client.hdel(guard, "asked") == 1
    assert everything(client, namespace) == before


def test_engine_does_not_start_beside_workers_of_the_earlier_release(
    client: Any, server: Server, namespace: str, clock: StoreClock
) -> None:
    tasks = Tasks(queue=QUEUE)
    tasks.add(print, "mail.send")
    broker = RedisBroker.from_url(server.unix_url, _offset_ms=clock.offset_ms)
    engine = Engine(broker, namespace)
    engine.attach_tasks(tasks)
    with pytest.raises(BrokerError, match="process 4711 on app1"):
        engine.start_workers(1, QUEUE, block=False)
    assert version(client, namespace) == b"1"


def test_nobody_is_taken_for_gone_right_after_the_server_was_away(
    broker: RedisBroker, client: Any, namespace: str, clock: StoreClock
) -> None:  # I11
    """Workers that live prove it within a lease, in which the first attempt is remembered."""
    clock.passed_ms = 3_600_000
    with pytest.raises(BrokerError, match="may still run"):
        Member(broker)
    clock.passed_ms += LEASE_MS - 1_000
    with pytest.raises(BrokerError, match="may still run"):
        Member(broker)
    client.zadd(f"{{{namespace}/{QUEUE}}}:members", {"other": clock.offset_ms() + 2 * 10**12})
    clock.passed_ms += 2_000
    with pytest.raises(BrokerError, match=r"run there: process 815 on app2, last seen 0 s ago\."):
        Member(broker)
    assert version(client, namespace) == b"1"


def test_attempts_beside_a_living_worker_do_not_count_once_the_server_was_away(
    broker: RedisBroker, client: Any, namespace: str, clock: StoreClock
) -> None:  # I11
    """As when a supervisor starts the new worker again and again while the old one runs."""

    def attempt() -> None:
        with pytest.raises(BrokerError, match="may still run"):
            Member(broker)

    clock.passed_ms = 3_600_000
    client.hset(f"{{{namespace}/{QUEUE}}}:guard", "lease", LEASE_MS)
    for _ in range(3):
        clock.passed_ms += LEASE_MS
        now = clock.offset_ms() + time.time_ns() // 1_000_000
        client.zadd(f"{{{namespace}/{QUEUE}}}:members", {"other": now + LEASE_MS})
        attempt()
    # The server is away, and the worker has not been able to beat yet.
    clock.passed_ms += LEASE_MS + 1_000
    attempt()
    clock.passed_ms += LEASE_MS - 1_000
    attempt()
    clock.passed_ms += 2_000
    Member(broker)
    assert version(client, namespace) == keys.SCHEMA


def test_queue_that_all_workers_have_left_is_converted_at_once(
    broker: RedisBroker, client: Any, namespace: str
) -> None:
    tag = f"{{{namespace}/{QUEUE}}}:"
    client.delete(*(tag + name for name in ("members", "seq", "info")))
    client.delete(tag + "running:doomed", tag + "running:other", tag + "slots:mail.slow")
    Member(broker)
    assert version(client, namespace) == keys.SCHEMA


def test_converted_queue_has_each_job_in_its_place_and_in_its_order(
    broker: RedisBroker, client: Any, namespace: str, clock: StoreClock
) -> None:  # I1
    before = jobs_by_place(client, namespace)
    convert_later(broker, clock)
    after = jobs_by_place(client, namespace)
    renamed = {
        place + "-of-schema-1" * place.startswith("running:"): ids for place, ids in before.items()
    }
    assert after == renamed
    assert after["held:mail.slow"] == ["0slow-2", "1slow-3", "0slow-4", "1slow-5"]
    tag = f"{{{namespace}/{QUEUE}}}:"
    left = {key.decode().removeprefix(tag) for key in client.scan_iter(tag + "*")}
    families = {name.split(":")[0] for name in left if ":" in name}
    assert families == {"running"}
    assert left.isdisjoint({"parks", "timekeeper"})
    assert set(client.zrange(tag + "slots", 0, -1)) == {
        b"mail.slow|0slow-0",
        b"mail.slow|1slow-1",
    }
    assert client.hgetall(tag + "limits") == {b"mail.slow": b"2"}
    assert client.hget(tag + "guard", "asked") is None
    same = {
        "jobs",
        "attempts",
        "errors",
        "failed",
        "failed-bytes",
        "future",
        "retrying",
        "enqueued",
    }
    for name in same:
        told = captured(namespace)[tag + name]
        value = client.hgetall(tag + name) if told["type"] == "hash" else None
        if value is not None:
            assert {f.decode(): v.decode() for f, v in value.items()} == told["value"]


def test_no_job_is_lost_or_doubled(
    broker: RedisBroker, client: Any, namespace: str, clock: StoreClock
) -> None:  # I1, I3, I4, I10, I11
    """Everything that was there runs once, or stands in the failed store."""
    all_jobs = {each.decode() for each in client.hkeys(f"{{{namespace}/{QUEUE}}}:jobs")}
    member = convert_later(broker, clock, limits={"mail.slow": 2})
    # The leases of the dead occupy the slots until they are taken back.
    done = [end(broker, lease) for lease in member.take(idle=20)]
    assert done == ["1rare-1", "0ready-0", "1ready-1"]
    dead = ["doomed-of-schema-1", "other-of-schema-1"]
    lost = []
    for name in dead:
        reply = broker.recover(QUEUE, name)
        assert reply.verdict is Verdict.APPLIED
        assert reply.info["host"] in ("app1", "app2")
        lost += [job.stored_id for job in reply.lost]
    assert lost == ["0slow-0", "0ran"]
    clock.passed_ms += 2_000
    turn = member.turn()
    [reply] = broker.fetch(
        [FetchTurn(turn.queue, turn.member, turn.number, PARKS)],
        idle=20,
        extra=0,
        max_bytes=MAX_FETCH_BYTES,
    )
    leases = reply.leases
    assert len([lease for lease in leases if "slow" in lease.stored_id]) <= 2
    while leases:
        done += [end(broker, lease) for lease in leases]
        clock.passed_ms += 9_000
        broker.beat([member.turn()])
        broker.tick(QUEUE, [])
        leases = tuple(member.take(idle=20))
    clock.passed_ms += 864_000_000
    Member(broker, name="later")
    broker.tick(QUEUE, [])
    later = Member(broker)
    while taken := later.take(idle=20):
        done += [end(broker, lease) for lease in taken]
    failed = {job.stored_id for job in broker.failed_jobs(QUEUE)}
    assert len(done) == len(set(done))
    assert failed <= {"0slow-0", "0ran", "1failed"}
    assert set(done) | {"0slow-0", "0ran", "1failed"} == all_jobs
    assert [job for job in done if job in ("0slow-4", "1slow-5")] == ["0slow-4", "1slow-5"]


def test_worker_of_the_earlier_release_that_comes_back_changes_nothing(
    broker: RedisBroker, client: Any, namespace: str, clock: StoreClock
) -> None:  # I5
    """It would free its slots, and park its jobs, where nobody looks any more."""
    convert_later(broker, clock)
    before = jobs_by_place(client, namespace)
    # Its number is gone, but what it holds is there, for recovery.
    assert before["running:doomed-of-schema-1"] == ["0ran", "0slow-0", "1lay", "1ran"]
    assert broker.beat([Turn(QUEUE, "doomed", 5)])[0].verdict is Verdict.FENCED
    tokens = captured(namespace)[f"{{{namespace}/{QUEUE}}}:running:doomed"]["value"]
    outcomes = [
        Outcome(kind, Lease(QUEUE, "doomed", stored_id, token, True, b"", 0, 0), "mail.send")
        for stored_id, token in tokens.items()
        for kind in (OutcomeKind.SUCCEEDED, OutcomeKind.PARK)
    ]
    assert set(broker.report(outcomes).verdicts) == {Verdict.REFUSED}
    reply = broker.join(QUEUE, "doomed", Enrolment(lease_ms=LEASE_MS, number=6))
    assert reply.verdict is Verdict.FENCED
    assert jobs_by_place(client, namespace) == before


class Stopped(Exception):
    """The process is killed."""


class Mortal:
    """Makes `calls` calls, then dies."""

    def __init__(self, reach: RedisClient, calls: int) -> None:
        self._caller = reach
        self._left = calls

    def ask(self, *requests: Any) -> list[Any]:
        if self._left == 0:
            raise Stopped
        self._left -= 1
        return self._caller.ask(*requests)


@pytest.mark.parametrize("calls", range(1, 9))
def test_another_process_goes_on_where_one_was_killed(
    calls: int,
    broker: RedisBroker,
    client: Any,
    reach: RedisClient,
    namespace: str,
    clock: StoreClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # I1
    monkeypatch.setattr(conversion, "MOST_JOBS", 1)
    before = jobs_by_place(client, namespace)
    clock.passed_ms += LATER_MS
    with pytest.raises(BrokerError, match="may still run"):
        Member(broker)
    clock.passed_ms += LATER_MS
    names, offset = QueueKeys(namespace, QUEUE), str(clock.offset_ms())
    mortal: Any = Mortal(reach, calls)
    with pytest.raises(Stopped):
        conversion.convert(mortal, names, offset, QUEUE)
    between = jobs_by_place(client, namespace)
    assert sorted(sum(between.values(), [])) == sorted(sum(before.values(), []))
    assert {p: ids for p, ids in between.items() if p[:7] != "running"} == {
        p: ids for p, ids in before.items() if p[:7] != "running"
    }
    # The first call is told which keys it needs, and changes nothing.
    assert version(client, namespace) == (b"1" if calls == 1 else b"1>2")
    [producer] = broker.enqueue([deposit()])
    assert producer
    assert version(client, namespace) == (b"1" if calls == 1 else b"1>2")
    assert broker.counts([QUEUE])[0].verdict is Verdict.UNKNOWN
    Member(broker)
    assert version(client, namespace) == keys.SCHEMA
    after = jobs_by_place(client, namespace)
    assert after["held:mail.slow"] == before["held:mail.slow"]
    assert after["parked:mail.scan"] == before["parked:mail.scan"]
    assert broker.counts([QUEUE])[0].parks == {"mail.scan": 2, "record": 1, "record|2": 1}


def test_second_conversion_does_nothing(
    broker: RedisBroker, client: Any, reach: RedisClient, namespace: str, clock: StoreClock
) -> None:
    convert_later(broker, clock)
    before = everything(client, namespace)
    names, offset = QueueKeys(namespace, QUEUE), str(clock.offset_ms())
    assert conversion.convert(reach, names, offset, QUEUE) is None
    assert everything(client, namespace) == before


def test_producers_need_not_wait_for_the_workers(
    broker: RedisBroker, client: Any, namespace: str, clock: StoreClock
) -> None:
    """Also of a first call: their session is unknown, and the schema is looked at."""
    job = deposit()
    assert broker.enqueue([job]) == [True]
    assert version(client, namespace) == b"1"
    assert client.lrange(f"{{{namespace}/{QUEUE}}}:ready", -1, -1) == [job.stored_id.encode()]
    member = convert_later(broker, clock)
    assert job.stored_id in {lease.stored_id for lease in member.take(idle=20)}


def test_jobs_of_the_older_spinach_are_moved_into_a_queue_of_either_schema(
    own_server: Server,
) -> None:
    with own_server.client() as client:
        original.restore(client)
        version_key = f"{{{original.NAMESPACE}/spinach}}:version"
        client.set(version_key, "1")
        renamed = {"send mail": "send_mail"}
        moved = migrate(url=own_server.unix_url, namespace=original.NAMESPACE, tasks=renamed).moved
        assert moved > 0
        assert client.get(version_key) == b"1"
        assert client.llen(f"{{{original.NAMESPACE}/spinach}}:ready") > 0
        broker = RedisBroker.from_url(own_server.unix_url)
        broker.bind(original.NAMESPACE, object())
        assert Member(broker, "spinach").take()
        assert client.get(version_key) == keys.SCHEMA
        broker.close()


def test_counts_of_a_queue_that_is_not_converted_tell_of_its_version(broker: RedisBroker) -> None:
    [counted] = broker.counts([QUEUE])
    assert counted.verdict is Verdict.UNKNOWN
    assert "storage version 1," in str(counted.error)


def test_full_server_is_converted_and_drained(
    own_server: Server, clock: StoreClock, namespace: str
) -> None:
    broker = RedisBroker.from_url(own_server.unix_url, _offset_ms=clock.offset_ms)
    broker.bind(namespace, object())
    with own_server.client() as client:
        restore(client, namespace)
        client.config_set("maxmemory", 1)
        member = convert_later(broker, clock)
        assert version(client, namespace) == keys.SCHEMA
        done = [end(broker, lease) for lease in member.take(idle=20)]
    assert done[:3] == ["1rare-1", "0ready-0", "1ready-1"]
    broker.close()


def test_queue_on_a_cluster_is_converted(
    cluster: Cluster, new_broker: NewBroker, namespace: str, clock: StoreClock
) -> None:
    client = cluster.client()
    restore(client, namespace)
    before = jobs_by_place(client, namespace)
    convert_later(new_broker(client, _offset_ms=clock.offset_ms), clock)
    assert version(client, namespace) == keys.SCHEMA
    after = jobs_by_place(client, namespace)
    assert sorted(sum(after.values(), [])) == sorted(sum(before.values(), []))
    client.close()


def test_conversion_needs_no_permission_of_its_own() -> None:
    text = conversion._CONVERT.text.decode()
    called = {name.lower() for name in re.findall(r"\b(?:call|many)\('([A-Z]+)'", text)}
    assert called <= set(commands())
