"""Jobs that come to their start too late are not run, and it is told."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from spinach import Engine, JobStatus, RetryException, Tasks, signals
from spinach.brokers.calls import Deposit
from spinach.clock import SystemClock
from spinach.record.header import header_line
from spinach.record.ids import new_ids, stored_id
from spinach_memory import MemoryBroker
from spinach_testing.passing import PassingBroker

from .support import Bench, Ear

SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)


class Log:
    """A task that notes its calls, and the engine that knows it."""

    def __init__(self, bench: Bench, *, max_retries: int = 0, **options: Any) -> None:
        self.bench = bench
        self.runs: list[Any] = []
        tasks = Tasks()
        tasks.add(self.run, "note", max_retries=max_retries, **options)
        self.engine = bench.engine(tasks)

    def run(self, text: str = "", wait: float = 0.0) -> None:
        self.runs.append(text)
        if wait:
            raise RetryException("later", at=self.bench.clock.now() + timedelta(seconds=wait))

    def work(self) -> None:
        self.engine.start_workers(1, block=False)
        self.bench.settle()


@pytest.fixture
def log(bench: Bench) -> Log:
    return Log(bench)


@pytest.mark.parametrize(
    ("late", "runs"),
    [(timedelta(0), 1), (SECOND - MILLISECOND, 1), (SECOND, 0), (SECOND + MILLISECOND, 0)],
)
def test_a_job_runs_before_its_instant_and_not_from_then_on(
    late: timedelta, runs: int, bench: Bench, log: Log
) -> None:
    log.engine.options(expires_in=SECOND).schedule("note")
    bench.clock.advance(late)
    log.work()
    assert len(log.runs) == runs


def test_a_part_of_a_millisecond_before_its_instant_a_job_runs(bench: Bench, log: Log) -> None:
    log.engine.options(expires_in=SECOND).schedule("note")
    bench.clock.advance(SECOND - timedelta(microseconds=1))
    log.work()
    assert len(log.runs) == 1


@pytest.mark.parametrize("max_retries", [0, 3])
def test_what_expired_is_gone_and_never_in_the_failed_store(max_retries: int, bench: Bench) -> None:
    log = Log(bench, max_retries=max_retries)
    log.engine.options(expires_in=SECOND).schedule("note")
    bench.clock.advance(SECOND)
    with Ear("bench") as ear:
        log.work()
    assert log.runs == []
    counts = bench.counts(log.engine)
    assert (counts.unfinished, counts.failed, counts.future, counts.parked) == (0, 0, 0, 0)
    assert log.engine.failed.list() == []
    # No attempt began, so none ended.
    assert ear.jobs == [("job_expired", "EXPIRED")]


def test_the_signal_shows_the_job(bench: Bench, log: Log) -> None:
    job = log.engine.options(expires_in=SECOND, headers={"a": "b"}).schedule("note", "x")
    bench.clock.advance(2 * SECOND)
    with Ear("bench") as ear:
        log.work()
    (heard,) = ear.of("job_expired")
    assert heard["namespace"] == "bench"
    assert heard["job"] == job.with_status(JobStatus.EXPIRED)
    assert heard["job"].headers == {"a": "b"}
    assert heard["job"].expires_at == job.at + SECOND


def test_it_is_logged_once_and_not_as_an_error(
    bench: Bench, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spinach.job")
    job = log.engine.options(expires_in=SECOND).schedule("note", "secret")
    bench.clock.advance(SECOND)
    log.work()
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.INFO, "spinach.job")
    assert record.getMessage().startswith(f"Job expired: note {job.id}, attempt 1 would begin ")
    assert str(job.expires_at) in record.getMessage()
    assert "secret" not in record.getMessage()
    told = record.__dict__
    assert (told["job_id"], told["task"], told["queue"], told["attempt"]) == (
        str(job.id), "note", "spinach", 1,
    )  # fmt: skip


@pytest.mark.parametrize("trouble", ["receiver", "handler"])
def test_a_receiver_or_handler_that_raises_changes_nothing(
    trouble: str, bench: Bench, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LookupError("broken")

    log.engine.options(expires_in=SECOND).schedule("note", "expired")
    bench.clock.advance(SECOND)
    log.engine.schedule("note", "after it")
    logger = logging.getLogger("spinach.job")
    handler = logging.Handler()
    handler.handle = fail  # type: ignore[method-assign, assignment]
    caplog.set_level(logging.INFO, "spinach.job")
    if trouble == "receiver":
        signals.job_expired.connect(fail, sender="bench")
    else:
        logger.addHandler(handler)
    try:
        log.work()
    finally:
        logger.removeHandler(handler)
        signals.job_expired.disconnect(fail, sender="bench")
    assert log.runs == ["after it"]
    assert bench.counts(log.engine).unfinished == 0


def test_a_retry_that_comes_due_too_late_is_not_run(bench: Bench) -> None:
    log = Log(bench, max_retries=5)
    log.engine.options(expires_in=10 * SECOND).schedule("note", "x", wait=6)
    with Ear("bench") as ear:
        log.work()
        bench.advance(20 * SECOND)
    # Begun at 0 s and at 6 s; at 12 s it is too late.
    assert log.runs == ["x", "x"]
    assert ear.jobs == [
        ("job_started", "RUNNING"),
        ("job_schedule_retry", "WAITING"),
        ("job_finished", "WAITING"),
        ("job_started", "RUNNING"),
        ("job_schedule_retry", "WAITING"),
        ("job_finished", "WAITING"),
        ("job_expired", "EXPIRED"),
    ]
    assert ear.of("job_expired")[0]["job"].attempt == 3
    counts = bench.counts(log.engine)
    assert (counts.unfinished, counts.failed) == (0, 0)


def test_an_attempt_that_began_in_time_may_end_late(bench: Bench) -> None:
    def outlast() -> None:
        ran.append("x")
        bench.clock.advance(timedelta(seconds=5))

    ran: list[str] = []
    tasks = Tasks()
    tasks.add(outlast, "outlast")
    engine = bench.engine(tasks)
    engine.options(expires_in=SECOND).schedule("outlast")
    with Ear("bench") as ear:
        engine.start_workers(1, block=False)
        bench.settle()
    assert ran == ["x"]
    assert ear.jobs[-1] == ("job_finished", "SUCCEEDED")


def test_a_job_that_starts_later_expires_after_that(bench: Bench, log: Log) -> None:
    start = bench.clock.now() + timedelta(hours=1)
    brief = log.engine.options(expires_in=SECOND)
    brief.schedule_at("note", start, "in time")
    log.work()
    bench.advance(timedelta(hours=1), step=timedelta(seconds=5))
    assert log.runs == ["in time"]


def test_a_job_whose_instant_is_long_past_is_late_at_once(bench: Bench, log: Log) -> None:
    brief = log.engine.options(expires_in=SECOND)
    brief.schedule_at("note", bench.clock.now() - 2 * SECOND, "too late")
    brief.schedule("note", "in time")
    log.work()
    assert log.runs == ["in time"]


def test_jobs_in_the_buffer_expire_there(bench: Bench) -> None:
    ran: list[str] = []

    def outlast(text: str, seconds: float) -> None:
        ran.append(text)
        bench.clock.advance(timedelta(seconds=seconds))

    tasks = Tasks(max_retries=1)
    tasks.add(outlast, "outlast")
    engine = bench.engine(tasks)
    brief = engine.options(expires_in=SECOND)
    brief.schedule("outlast", "first", 1)
    for text in ("second", "third"):
        brief.schedule("outlast", text, 0)
    engine.schedule("outlast", "last", 0)
    engine.start_workers(1, stop_when_queue_empty=True)
    assert ran == ["first", "last"]


def test_a_job_of_a_limited_task_frees_its_slot_when_it_expires(bench: Bench) -> None:
    log = Log(bench, max_concurrency=1)
    brief = log.engine.options(expires_in=SECOND)
    for number in range(3):
        brief.schedule("note", f"late {number}")
    bench.clock.advance(SECOND)
    log.engine.schedule("note", "in time")
    log.work()
    assert log.runs == ["in time"]
    counts = bench.counts(log.engine)
    assert (counts.unfinished, counts.held) == (0, 0)


def test_workers_that_stop_when_queues_are_empty_are_done_with_expired_jobs(
    bench: Bench, log: Log
) -> None:
    brief = log.engine.options(expires_in=SECOND)
    for _ in range(50):
        brief.schedule("note")
    bench.clock.advance(SECOND)
    log.engine.start_workers(3, stop_when_queue_empty=True)
    assert log.runs == []
    assert bench.counts(log.engine).unfinished == 0


def test_from_the_failed_store_it_is_run_again_in_time_only(bench: Bench) -> None:
    ran: list[str] = []

    def fail(text: str) -> None:
        ran.append(text)
        raise ValueError(text)

    tasks = Tasks()
    tasks.add(fail, "fail")
    engine = bench.engine(tasks)
    brief = engine.options(expires_in=10 * SECOND)
    brief.schedule("fail", "x")
    engine.start_workers(1, block=False)
    bench.settle()
    assert ran == ["x"]
    assert engine.failed.retry(engine.failed.list()[0].job) == 1
    bench.settle()
    assert ran == ["x", "x"]
    bench.advance(10 * SECOND)
    (entry,) = engine.failed.list()
    assert entry.job.expires_at is not None
    assert engine.failed.retry(entry.job) == 1
    bench.advance(SECOND)
    assert ran == ["x", "x"]
    assert engine.failed.list() == []


class CountingClock(SystemClock):
    """Counts how often it is asked for the date."""

    def __init__(self) -> None:
        self.asked = 0

    def now(self) -> datetime:
        self.asked += 1
        return super().now()


class Passing(PassingBroker):
    """A broker whose engine has a clock of its own."""

    def bind(self, namespace: str, owner: object) -> None:
        self.inner.bind(namespace, owner)
        super().bind(namespace, owner)


@pytest.mark.parametrize(("options", "asked"), [({}, 0), ({"expires_in": SECOND}, 20)])
def test_only_for_a_job_that_may_expire_is_the_date_asked_for(
    options: dict[str, Any], asked: int
) -> None:
    broker = Passing(MemoryBroker())
    broker.clock = clock = CountingClock()
    engine = Engine(broker)
    engine.task(name="nothing")(lambda: None)
    for _ in range(20):
        engine.options(headers={"a": "b"}, **options).schedule("nothing")
    clock.asked = 0
    engine.start_workers(1, stop_when_queue_empty=True)
    assert clock.asked == asked


@pytest.mark.parametrize("listened", [True, False])
def test_a_damaged_instant_ends_the_job_alike_whether_someone_listens_or_not(
    listened: bool, bench: Bench, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    header = header_line(max_retries=0, queue="spinach", task="note", flags="x")
    (job_id,) = new_ids(1)
    record = header + b'[["damaged"],{},0,{"expires_ms":-%d}]' % 10**30
    log.engine._broker.enqueue([Deposit("spinach", stored_id(job_id, 0), record)])
    log.engine.schedule("note", "after it")
    if listened:
        caplog.set_level(logging.INFO, "spinach.job")
        with Ear("bench") as ear:
            log.work()
        # It cannot be shown.
        assert ear.of("job_expired") == []
        assert f"Job expired: {job_id}, its record cannot be read" in caplog.text
    else:
        log.work()
    assert log.runs == ["after it"]
    counts = bench.counts(log.engine)
    assert (counts.unfinished, counts.failed) == (0, 0)
