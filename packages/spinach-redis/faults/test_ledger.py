"""The ledger finds what is wrong, and finds nothing where nothing is."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from spinach.outcome import Outcome, OutcomeKind
from spinach_redis import RedisBroker
from spinach_redis.keys import QueueKeys
from spinach_testing.conformance import Lab, conformance_tests

from ..tests.harness import RedisHarness
from ..tests.jobs import QUEUE, TASK, Member, deposit
from ..tests.servers import Server
from . import ledger

Corrupt = Callable[[Redis, QueueKeys, str], object]


@pytest.fixture
def client(server: Server) -> Iterator[Redis]:
    with server.client() as client:
        yield client


@pytest.fixture
def namespace() -> str:
    return "t" + uuid.uuid4().hex


@pytest.fixture
def broker(server: Server, namespace: str) -> Iterator[RedisBroker]:
    broker = RedisBroker.from_url(server.unix_url)
    broker.bind(namespace, object())
    yield broker
    broker.close()


@pytest.fixture
def keys(namespace: str) -> QueueKeys:
    return QueueKeys(namespace, QUEUE)


def populate(broker: RedisBroker) -> Member:
    """A queue with a job in each place; its one member."""
    member = Member(broker, limits={TASK: 2}, periodic={"tidy": 60_000})
    broker.enqueue([deposit() for _ in range(8)])
    broker.enqueue([deposit(due_ms=2**42)])
    leases = [*member.take(idle=2), *member.take(idle=2)]
    retried, failed = leases
    broker.report(
        [
            Outcome(OutcomeKind.RETRY, retried, TASK, delay_ms=10**9),
            Outcome(OutcomeKind.FAILED, failed, TASK),
        ]
    )
    [parked, _running] = member.take(idle=2)
    broker.report([Outcome(OutcomeKind.PARK, parked, TASK)])
    return member


def fixed(keys: QueueKeys, name: str) -> bytes:
    return keys.fixed((name,))[0]


def a_job(client: Redis, keys: QueueKeys) -> bytes:
    [job] = client.lrange(fixed(keys, "ready"), 0, 0)
    assert isinstance(job, bytes)
    return job


def put_end(client: Redis, keys: QueueKeys, stored_id: bytes, end: bytes) -> None:
    client.hset(fixed(keys, "results"), stored_id, end)
    client.zadd(fixed(keys, "results-until"), {stored_id: 2**42})


CORRUPTIONS: dict[str, tuple[Corrupt, str]] = {
    "a job in no place": (
        lambda c, k, m: c.lpop(fixed(k, "ready")),
        "is in no place",
    ),
    "a job in two places": (
        lambda c, k, m: c.zadd(fixed(k, "future"), {a_job(c, k): 2**42}),
        r"is in \['ready', 'future'\]",
    ),
    "a job twice in one place": (
        lambda c, k, m: c.rpush(fixed(k, "ready"), a_job(c, k)),
        r"is in \['ready', 'ready'\]",
    ),
    "an orphan id": (
        lambda c, k, m: c.rpush(fixed(k, "ready"), b"1orphan"),
        "1orphan, of which there is no record",
    ),
    "attempts of a job that is gone": (
        lambda c, k, m: c.hset(fixed(k, "attempts"), b"1gone", b"1,0,0"),
        "attempts are counted of 1gone",
    ),
    "a lost slot": (
        lambda c, k, m: c.zpopmin(fixed(k, "slots")),
        "slots of mail.send are",
    ),
    "a slot without a lease": (
        lambda c, k, m: c.zadd(fixed(k, "slots"), {f"{TASK}|1gone": 0}),
        "slots of mail.send are",
    ),
    "an invented token": (
        lambda c, k, m: c.hset(k.running(m), b"1x", b"d999"),
        "under d999",
    ),
    "a token twice": (
        lambda c, k, m: c.hset(k.running("twin"), b"1x", c.hvals(k.running(m))[0]),
        "names 2 leases",
    ),
    "an at-most-once job in a buffer": (
        lambda c, k, m: c.hset(k.running(m), b"0x", b"b1"),
        "at-most-once job 0x in its buffer",
    ),
    "leases of nobody": (
        lambda c, k, m: c.rename(k.running(m), k.running("nobody")),
        "nobody has leases and is no member",
    ),
    "a park without its ends": (
        lambda c, k, m: c.delete(fixed(k, "parked-ends")),
        "parked has .*, by its ends",
    ),
    "a park of more jobs than there are": (
        lambda c, k, m: c.hset(fixed(k, "parked-ends"), TASK, "1 2"),
        "parked lacks 1 jobs of mail.send, by its ends",
    ),
    "a number of no member": (
        lambda c, k, m: c.hset(fixed(k, "seq"), b"ghost", 3),
        "seq has ghost",
    ),
    "a limit of no member": (
        lambda c, k, m: c.zadd(fixed(k, "declared"), {f"{TASK}|1|ghost": 0}),
        "ghost limits mail.send",
    ),
    "a limit that a member does not declare": (
        lambda c, k, m: c.zadd(fixed(k, "declared"), {f"{TASK}|{0:016}|{m}": 0}),
        "to 0{16}, which its info does not say",
    ),
    "a failed job without a reason": (
        lambda c, k, m: c.delete(fixed(k, "errors")),
        "reasons are kept of",
    ),
    "a wrong sum of bytes": (
        lambda c, k, m: c.incr(fixed(k, "failed-bytes")),
        "bytes, counted are",
    ),
    "a missing marker": (
        lambda c, k, m: c.delete(k.marker),
        "nothing wakes anybody",
    ),
    "a producer for ever": (
        lambda c, k, m: c.set(k.producer("x"), 1),
        "producer:x lives None ms",
    ),
    "a key that expires": (
        lambda c, k, m: c.expire(fixed(k, "jobs"), 100),
        "jobs expires in",
    ),
    "a key of another type": (
        lambda c, k, m: (c.delete(fixed(k, "parked")), c.set(fixed(k, "parked"), 1)),
        "parked is a string, expected hash",
    ),
    "a key nobody knows": (
        lambda c, k, m: c.set(fixed(k, "surprise"), 1),
        "surprise is a string, expected None",
    ),
    "a stray among those brought back": (
        lambda c, k, m: c.sadd(fixed(k, "brought"), b"1gone"),
        "1gone was brought back, but is not ready",
    ),
    "an end without an instant": (
        lambda c, k, m: c.hset(fixed(k, "results"), b"1gone", b"Snull"),
        r"until an instant of set\(\) \(I23\)",
    ),
    "an end of a job that did not end": (
        lambda c, k, m: put_end(c, k, a_job(c, k), b"Snull"),
        "has an end, and is still there",
    ),
    "another end than that of the failed store": (
        lambda c, k, m: put_end(c, k, c.zrange(fixed(k, "failed"), 0, 0)[0], b"Snull"),
        "failed, its end is 'Snull'",
    ),
    "an end of an unknown kind": (
        lambda c, k, m: put_end(c, k, b"1gone", b"?"),
        r"the end of 1gone is '\?'",
    ),
    "a wait for what has ended": (
        lambda c, k, m: (
            put_end(c, k, b"1gone", b"C"),
            c.zadd(fixed(k, "awaited"), {b"1gone": 2**42}),
        ),
        "1gone is awaited, and has an end",
    ),
    "a told end for ever": (
        lambda c, k, m: c.rpush(k.result("1gone"), b"C"),
        "result:1gone lives None ms",
    ),
    "more purged than came": (
        lambda c, k, m: c.hset(fixed(k, "flow"), "purged", 99),
        "more jobs ended than came",
    ),
    "a sample of what did not come": (
        lambda c, k, m: c.hset(fixed(k, "flow"), "fine-0", "1 99 1"),
        "of 9 jobs 1 ended, the samples are",
    ),
    "a sample nobody reads": (
        lambda c, k, m: c.hset(fixed(k, "flow"), "fine-7", "1 1 1"),
        "flow has fine-7",
    ),
    "a task paused that is due": (
        lambda c, k, m: c.hset(fixed(k, "periodic-paused"), "tidy", 1),
        r"paused are \{'tidy'\}, due never are set\(\)",
    ),
    "a task due never that nobody paused": (
        lambda c, k, m: c.zadd(fixed(k, "periodic"), {"tidy": 2**53}),
        r"paused are set\(\), due never are \{'tidy'\}",
    ),
    "no bounds of the failed store": (
        lambda c, k, m: c.hset(fixed(k, "guard"), "retention", "many"),
        "the failed store is to keep 'many'",
    ),
    "progress of a job that is not leased": (
        lambda c, k, m: c.hset(fixed(k, "progress"), b"1gone", b"1 2 "),
        "progress has 1gone, which is not leased",
    ),
    "progress that is not counted": (
        lambda c, k, m: c.hset(fixed(k, "progress"), c.hkeys(k.running(m))[0], b"1 2 "),
        "progress has 1, its size is told otherwise",
    ),
    "a periodic task without its interval": (
        lambda c, k, m: c.delete(fixed(k, "periodic-info")),
        "declared were",
    ),
}


def test_nothing_is_wrong_with_a_queue_that_has_a_job_in_each_place(
    broker: RedisBroker, client: Redis, namespace: str
) -> None:
    populate(broker)
    [found] = ledger.check(client, namespace)
    places = {place.partition(":")[0] for place, _ in found.places()}
    assert places == {"ready", "future", "failed", "held", "parked", "running"}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_is_wrong_is_found(
    name: str, broker: RedisBroker, client: Redis, namespace: str, keys: QueueKeys
) -> None:
    corrupt, said = CORRUPTIONS[name]
    corrupt(client, keys, populate(broker).name)
    with pytest.raises(AssertionError, match=said):
        ledger.check(client, namespace)


def test_queue_that_is_not_listed_is_found(
    broker: RedisBroker, client: Redis, namespace: str
) -> None:
    populate(broker)
    client.delete(f"{{{namespace}}}:queues")
    with pytest.raises(AssertionError, match="not on the list of queues"):
        ledger.check(client, namespace)


def test_drained_queue_leaves_failed_jobs_and_bookkeeping_only(
    broker: RedisBroker, client: Redis, namespace: str
) -> None:
    member = Member(broker, periodic={"tidy": 60_000})
    broker.enqueue([deposit(), deposit()])
    good, bad = member.take(idle=2)
    broker.report([Outcome(OutcomeKind.SUCCEEDED, good, TASK)])
    with pytest.raises(AssertionError, match="running:"):
        ledger.check_drained(client, namespace)
    broker.report([Outcome(OutcomeKind.FAILED, bad, TASK)])
    with pytest.raises(AssertionError, match="members is left"):
        ledger.check_drained(client, namespace)
    broker.leave(member.turn())
    [found] = ledger.check_drained(client, namespace)
    assert list(found.get("failed", {})) == [bad.stored_id]


def test_nothing_is_wrong_after_the_tests_of_the_conformance_suite(
    server: Server, full: bool, rng: random.Random
) -> None:
    tests = list(conformance_tests())
    for each in tests if full else rng.sample(tests, 25):
        namespaces = set()

        def make(namespace: str, into: set[str] = namespaces, **options: Any) -> RedisBroker:
            into.add(namespace)
            return RedisBroker.from_url(server.unix_url, **options)

        with RedisHarness(make, server.client()) as harness, Lab(harness) as lab:
            each.run(lab)
        with server.client() as client:
            for namespace in namespaces:
                ledger.check(client, namespace)
