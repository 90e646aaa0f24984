"""Options of single calls on servers: what is sent, what arrives, and what is counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis

from spinach import Batch, Engine, Job, JobStatus, Tasks, signals
from spinach.record.header import read_header
from spinach.record.options import read_options
from spinach_redis import RedisBroker

from .clusters import Cluster
from .servers import Server

HOUR = timedelta(hours=1)
SCRIPTING = ("eval", "evalsha")
HEADERS = {"trace": "4f2a", "tenant": "Grüße"}


class Log:
    """An engine with a task that notes what it is given, and what signals tell of its jobs."""

    def __init__(self, broker: RedisBroker, namespace: str, queue: str = "spinach") -> None:
        self.runs: list[str] = []
        self.heard: list[tuple[str, Job]] = []
        tasks = Tasks(queue=queue, max_retries=2)
        tasks.add(self.runs.append, "note")
        tasks.add(self.runs.append, "limited", max_concurrency=1)
        self.queue = queue
        self.engine = Engine(broker, namespace)
        self.engine.attach_tasks(tasks)

    def work(self) -> None:
        """Run all jobs, and listen."""

        def hear(name: str) -> Callable[..., None]:
            return lambda _, job, **__: self.heard.append((name, job))

        names = ["job_started", "job_finished", "job_expired"]
        receivers = [(getattr(signals, name), hear(name)) for name in names]
        for signal, receiver in receivers:
            signal.connect(receiver, sender=self.engine.namespace)
        try:
            self.engine.start_workers(2, queue=self.queue, stop_when_queue_empty=True)
        finally:
            for signal, receiver in receivers:
                signal.disconnect(receiver, sender=self.engine.namespace)

    def counts(self) -> Any:
        [counts] = self.engine._broker.counts([self.queue])
        return counts


@pytest.fixture(params=["one server", "cluster"])
def log(request: pytest.FixtureRequest, namespace: str) -> Log:
    if request.param == "one server":
        server: Server = request.getfixturevalue("server")
        return Log(RedisBroker(Redis(port=server.port)), namespace)
    cluster: Cluster = request.getfixturevalue("cluster")
    with cluster.client() as client:
        queue = cluster.queue_on(cluster.nodes[1], namespace)
        return Log(RedisBroker(client), namespace, queue)


def test_headers_arrive_at_the_worker(log: Log) -> None:
    sent = log.engine.options(headers=HEADERS, expires_in=HOUR).schedule("note", "x")
    log.work()
    assert log.runs == ["x"]
    assert [name for name, _ in log.heard] == ["job_started", "job_finished"]
    for _, job in log.heard:
        assert (job.id, job.headers, job.expires_at) == (sent.id, HEADERS, sent.expires_at)


@pytest.mark.parametrize("task", ["note", "limited"])
def test_what_expired_is_not_run_and_counts_are_exact_afterwards(log: Log, task: str) -> None:
    late = datetime.now(UTC) - HOUR
    batch = Batch()
    brief = batch.options(expires_in=timedelta(milliseconds=1), headers=HEADERS)
    for number in range(30):
        brief.schedule_at(task, late, f"late {number}")
        batch.schedule(task, f"in time {number}")
    log.engine.schedule_batch(batch)
    log.work()
    assert sorted(log.runs) == sorted(f"in time {number}" for number in range(30))
    expired = [job for name, job in log.heard if name == "job_expired"]
    assert len(expired) == 30
    assert {job.status for job in expired} == {JobStatus.EXPIRED}
    counts = log.counts()
    assert (counts.unfinished, counts.held, counts.leased, counts.future) == (0, 0, 0, 0)
    assert (counts.failed, counts.parked, counts.retrying) == (0, 0, 0)
    assert log.engine.failed.list() == []


def test_the_server_keeps_the_record_as_it_was_written(
    server: Server, namespace: str
) -> None:  # I18
    log = Log(RedisBroker(Redis(port=server.port)), namespace)
    job = log.engine.options(headers=HEADERS, expires_in=HOUR).schedule("note", "x")
    plain = log.engine.schedule("note", "x")
    with server.client() as client:
        records = client.hgetall(f"{{{namespace}/spinach}}:jobs")
    by_id = {stored_id[1:].decode(): record for stored_id, record in records.items()}
    record = by_id[job.id_text]
    assert read_header(record).flags == "hx"
    assert read_options(record) == job.options
    assert b"|-|" in by_id[plain.id_text]
    assert read_header(by_id[plain.id_text]).flags == ""


def test_a_job_with_options_takes_the_scripts_of_one_without(
    server: Server, namespace: str
) -> None:
    def scripts(**options: Any) -> int:
        log = Log(RedisBroker(Redis(port=server.port)), f"{namespace}-{len(options)}")
        log.engine.schedule("note", "first")  # makes the queue and the script known
        with server.client() as client:
            client.config_resetstat()
            for _ in range(5):
                log.engine.options(**options).schedule("note", "x")
            stats = client.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in SCRIPTING)

    assert scripts() == scripts(headers=HEADERS, expires_in=HOUR) == 5
