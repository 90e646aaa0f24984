"""All failed jobs at once on a server: none is lost or doubled, wherever it breaks off."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine
from spinach.brokers.calls import Cursor, FailedFilter, FailedPortion
from spinach.const import FAILED_CHUNK
from spinach.exc import BrokerError
from spinach.outcome import Failure, Outcome, OutcomeKind
from spinach_redis import RedisBroker
from spinach_redis import scripts as script
from spinach_redis.transport.command import Call

from .clusters import Cluster
from .jobs import QUEUE, TASK, Member, deposit
from .proxy import Loss, Proxy
from .servers import Server

NewBroker = Callable[..., RedisBroker]
NewEngine = Callable[..., Engine]
FAILURE = Failure(error="app.MailError", message="no such address", traceback="T" * 500)
TOTAL = 3 * FAILED_CHUNK + 7
ALL = FailedPortion(matching=FailedFilter(), until=Cursor(2**52, 0, "1"))


def fail(broker: RedisBroker, count: int = TOTAL) -> list[str]:
    """Let so many jobs fail; their stored ids."""
    jobs = [deposit() for _ in range(count)]
    broker.enqueue(jobs)
    member = Member(broker)
    failed = 0
    while failed < count:
        leases = member.take(idle=count - failed)
        assert leases
        broker.report([Outcome(OutcomeKind.FAILED, each, TASK, failure=FAILURE) for each in leases])
        failed += len(leases)
    return [job.stored_id for job in jobs]


def ready_ids(server: Server, namespace: str) -> list[str]:
    with server.client() as client:
        return [key.decode() for key in client.lrange(f"{{{namespace}/{QUEUE}}}:ready", 0, -1)]


def failed_ids(broker: RedisBroker) -> list[str]:
    return [each.stored_id for each in broker.failed_jobs(QUEUE, limit=TOTAL)]


@pytest.fixture
def new_engine(namespace: str) -> Iterator[Callable[..., Engine]]:
    """Makes engines of the test's namespace: of a URL or a client."""
    brokers: list[RedisBroker] = []

    def make(source: Any, **options: Any) -> Engine:
        of_url = isinstance(source, str)
        broker = (RedisBroker.from_url if of_url else RedisBroker)(source, **options)
        brokers.append(broker)
        return Engine(broker, namespace)

    yield make
    for broker in brokers:
        broker.close()


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("method", ["retry_all", "discard_all"])
def test_connections_that_are_cut_cost_no_job_and_no_count(
    new_broker: NewBroker,
    new_engine: NewEngine,
    proxy: Proxy,
    server: Server,
    namespace: str,
    method: str,
    loss: Loss,
) -> None:  # I1
    broker = new_broker()
    ids = fail(broker)
    engine = new_engine(proxy.url)
    cuts = []

    def cut(count: int) -> None:
        cuts.append(count)
        proxy.lose(loss, script.REVIVE_ALL.sha)

    cut(0)
    assert getattr(engine.failed, method)(QUEUE, progress=cut) == TOTAL
    assert cuts == [0, 500, 1000, 1500, TOTAL]
    assert proxy.losses_left == 1  # all but the last one were met
    assert failed_ids(broker) == []
    assert ready_ids(server, namespace) == (ids if method == "retry_all" else [])


def test_copy_of_a_call_is_answered_again_and_changes_nothing(
    new_broker: NewBroker, server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # I1
    broker = new_broker()
    ids = fail(broker, 5)
    sent = []
    client = broker._process.client
    send = client.call

    def note(call: Call, *, repeatable: bool) -> object:
        sent.append(call)
        return send(call, repeatable=repeatable)

    monkeypatch.setattr(client, "call", note)
    assert broker.retry_matching(QUEUE, ALL).count == 5
    # All of them fail once more at once, before the copy comes.
    member = Member(broker)
    leases = member.take(idle=5)
    broker.report([Outcome(OutcomeKind.FAILED, each, TASK, failure=FAILURE) for each in leases])
    assert send(sent[-1], repeatable=True) == b"5"
    assert ready_ids(server, namespace) == []
    assert sorted(failed_ids(broker)) == sorted(ids)


def test_server_that_stays_away_is_told_with_what_was_done(
    new_broker: NewBroker, new_engine: NewEngine, proxy: Proxy, server: Server, namespace: str
) -> None:  # I1
    broker = new_broker()
    ids = fail(broker)
    engine = new_engine(proxy.url, client_timeout=timedelta(milliseconds=400))
    with pytest.raises(BrokerError) as caught:
        engine.failed.retry_all(
            QUEUE,
            progress=lambda _: proxy.lose(Loss.ANSWER, script.REVIVE_ALL.sha, times=1000),
        )
    assert "At least 500 failed jobs were put back" in caught.value.__notes__[0]
    proxy.lose(Loss.ANSWER, b"nothing")
    # The portion was applied whose answers were lost.
    assert engine.failed.retry_all(QUEUE) == TOTAL - 1000
    assert ready_ids(server, namespace) == ids


PROGRAM = """
import sys
from spinach import Engine, RedisBroker
from spinach_redis import failed, requests

requests.FAILED_CHUNK = 20
engine = Engine(RedisBroker.from_url(sys.argv[1]), sys.argv[2])
print(engine.failed.retry_all(sys.argv[3], progress=lambda count: print(count, flush=True)))
"""


@pytest.mark.parametrize("portions", [1, 3, 9])
def test_process_that_is_killed_leaves_each_job_in_one_place(
    new_broker: NewBroker, new_engine: NewEngine, server: Server, namespace: str, portions: int
) -> None:  # I1
    broker = new_broker()
    ids = fail(broker)
    arguments = [sys.executable, "-c", PROGRAM, server.unix_url, namespace, QUEUE]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(portions)]
        process.kill()
    assert told == [20 * (n + 1) for n in range(portions)]
    ready, failed = ready_ids(server, namespace), failed_ids(broker)
    assert len(ready) >= told[-1]
    assert ready == ids[: len(ready)]
    assert failed[::-1] == ids[len(ready) :]
    assert new_engine(server.unix_url).failed.retry_all(QUEUE) == len(failed)
    assert ready_ids(server, namespace) == ids


@pytest.mark.concurrency
def test_of_several_processes_each_job_is_taken_by_one(
    new_broker: NewBroker, new_engine: NewEngine, server: Server, namespace: str
) -> None:  # I1
    broker = new_broker()
    ids = fail(broker)
    start = threading.Barrier(4)
    counts: list[int] = []

    def retry() -> None:
        engine = new_engine(server.unix_url)
        start.wait()
        counts.append(engine.failed.retry_all(QUEUE))

    threads = [threading.Thread(target=retry) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == TOTAL
    assert sorted(ready_ids(server, namespace)) == sorted(ids)


def test_full_server_lets_failed_jobs_run_again_and_be_forgotten(
    new_engine: NewEngine, own_server: Server, namespace: str
) -> None:
    engine = new_engine(own_server.unix_url)
    broker = engine._broker
    ids = fail(broker, 700)
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        assert engine.failed.retry_all(QUEUE, task=TASK) == 700
        assert ready_ids(own_server, namespace) == ids
        client.config_set("maxmemory", 0)
        member = Member(broker, name="another")
        leases = [lease for _ in range(7) for lease in member.take(idle=100)]
        broker.report([Outcome(OutcomeKind.FAILED, each, TASK, failure=FAILURE) for each in leases])
        client.config_set("maxmemory", 1)
        assert engine.failed.discard_all(QUEUE) == 700


def test_bytes_of_failed_jobs_stay_exact(
    new_broker: NewBroker, server: Server, namespace: str
) -> None:  # I19
    broker = new_broker()
    fail(broker, 30)
    portion = FailedPortion(matching=ALL.matching, until=broker.failed_jobs(QUEUE)[9].cursor)
    assert broker.discard_matching(QUEUE, portion).count == 21
    tag = f"{{{namespace}/{QUEUE}}}:"
    with server.client() as client:
        parts = [*client.hvals(f"{tag}jobs"), *client.hvals(f"{tag}errors")]
        assert int(client.get(f"{tag}failed-bytes")) == sum(map(len, parts))
        assert broker.retry_matching(QUEUE, ALL).count == 9
        assert int(client.get(f"{tag}failed-bytes")) == 0
        left = {key.decode().removeprefix(tag).split(":")[0] for key in client.keys(f"{tag}*")}
    assert not left & {"failed", "errors", "attempts"}


def test_one_entry_is_found_over_the_nodes_of_a_cluster(
    new_engine: NewEngine, cluster: Cluster
) -> None:
    engine = new_engine(cluster.client())
    broker = engine._broker
    jobs = [deposit(queue=f"q{n}", payload=b"[[],{},0]") for n in range(8)]
    broker.enqueue(jobs)
    for job in jobs:
        member = Member(broker, queue=job.queue)
        [lease] = member.take()
        broker.report([Outcome(OutcomeKind.FAILED, lease, TASK, failure=FAILURE)])
    for job in jobs:
        entry = engine.failed.get(job.stored_id[1:])
        assert entry is not None
        assert entry.job.queue == job.queue
    assert engine.failed.retry_all(None) == 8
