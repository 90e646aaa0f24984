"""What is logged: by whom, how loud, with which data; and never an argument."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from spinach import AbortException, Engine, RetryException, Tasks

from .support import Bench

SECRET = "s3cr3t"


@pytest.fixture
def engine(bench: Bench, caplog: pytest.LogCaptureFixture) -> Engine:
    caplog.set_level(logging.DEBUG, "spinach")
    tasks = Tasks()

    @tasks.task(name="works")
    def works(secret: str, *, key: str = SECRET) -> None: ...

    @tasks.task(name="fails")
    def fails(secret: str) -> None:
        raise ValueError("broken")

    @tasks.task(name="retried", max_retries=1)
    def retried(secret: str) -> None:
        raise ValueError("broken")

    @tasks.task(name="asks", max_retries=1)
    def asks(secret: str) -> None:
        raise RetryException("not ready")

    @tasks.task(name="aborts", max_retries=1)
    def aborts(secret: str) -> None:
        raise AbortException("no use")

    return bench.engine(tasks)


def run(bench: Bench, engine: Engine, task: str) -> str:
    job = engine.schedule(task, SECRET)
    engine.start_workers(1, block=False)
    bench.settle()
    engine.stop_workers()
    return str(job.id)


def records_of(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == name]


@pytest.mark.parametrize(
    ("task", "levels", "traceback"),
    [
        ("works", ["INFO", "INFO"], False),
        ("fails", ["INFO", "ERROR"], True),
        ("retried", ["INFO", "WARNING"], True),
        ("asks", ["INFO", "INFO"], False),
        ("aborts", ["INFO", "ERROR"], True),
    ],
)
def test_a_job_is_logged_at_its_start_and_its_end(
    bench: Bench,
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
    task: str,
    levels: list[str],
    traceback: bool,
) -> None:
    job_id = run(bench, engine, task)
    started, ended = records_of(caplog, "spinach.job")
    assert [started.levelname, ended.levelname] == levels
    for record in (started, ended):
        assert (record.job_id, record.task, record.queue, record.attempt) == (
            job_id,
            task,
            "spinach",
            1,
        )
        assert task in record.getMessage()
        assert job_id in record.getMessage()
    assert ended.duration_ms >= 0
    assert not hasattr(started, "duration_ms")
    assert (ended.exc_info is not None) is traceback


def test_a_traceback_begins_in_the_task(
    bench: Bench, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    run(bench, engine, "fails")
    record = records_of(caplog, "spinach.job")[-1]
    assert record.exc_info
    trace = record.exc_info[2]
    assert trace is not None
    assert trace.tb_frame.f_code.co_name == "fails"


def test_the_duration_is_that_of_the_clock(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "spinach")
    engine = bench.engine()

    @engine.task(name="slow")
    def slow() -> None:
        bench.clock.advance(timedelta(seconds=1.5))

    engine.schedule("slow")
    engine.start_workers(1, stop_when_queue_empty=True)
    assert records_of(caplog, "spinach.job")[-1].duration_ms == 1500


@pytest.mark.parametrize("task", ["works", "fails", "retried", "asks", "aborts"])
def test_no_record_holds_an_argument(
    bench: Bench, engine: Engine, caplog: pytest.LogCaptureFixture, task: str
) -> None:
    run(bench, engine, task)
    assert caplog.records
    for record in caplog.records:
        assert SECRET not in record.getMessage()
        assert SECRET not in repr({k: v for k, v in vars(record).items() if k != "exc_info"})
    assert SECRET not in caplog.text.replace(f'"{SECRET}"', "")


def test_a_planned_retry_tells_its_reason(
    bench: Bench, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    run(bench, engine, "asks")
    assert "not ready" in records_of(caplog, "spinach.job")[-1].getMessage()


def test_an_unknown_task_is_logged_as_parked(
    bench: Bench, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    newer = bench.engine(Tasks())
    newer._tasks.add(print, "from.the.future")
    job = newer.schedule("from.the.future", SECRET)
    engine.start_workers(1, block=False)
    bench.settle()
    (record,) = records_of(caplog, "spinach.job")
    assert record.levelname == "INFO"
    assert "parked" in record.getMessage()
    assert (record.job_id, record.task, record.queue) == (
        str(job.id),
        "from.the.future",
        "spinach",
    )


def test_the_start_of_workers_is_logged(
    bench: Bench, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.start_workers(2, ["a", "b"], stop_when_queue_empty=True)
    (record,) = records_of(caplog, "spinach.engine")
    assert record.levelname == "INFO"
    assert record.getMessage() == "Started 2 workers of namespace bench on a, b"


def test_jobs_pass_unlogged_when_nobody_listens(
    bench: Bench, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "spinach")
    run(bench, engine, "works")
    assert caplog.records == []


def test_only_the_promised_loggers_speak(
    bench: Bench, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    for task in ("works", "fails", "retried", "asks"):
        run(bench, engine, task)
    names = {record.name for record in caplog.records}
    assert names <= {"spinach.engine", "spinach.job", "spinach.worker", "spinach.signals"}
