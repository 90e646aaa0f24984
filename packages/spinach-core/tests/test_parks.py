"""Rolling deploys: what a process does not know is put aside for one that does (I13)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine, Tasks
from spinach.brokers.calls import CancelVerdict, Deposit
from spinach.exc import NoResult

from .support import Bench, Ear


@pytest.fixture
def done() -> list[Any]:
    return []


def knowing(done: list[Any], *names: str) -> Tasks:
    tasks = Tasks()
    for name in names:
        tasks.add(lambda *args, n=name: done.append((n, *args)), name)
    return tasks


def test_an_unknown_task_waits_unharmed_until_someone_knows_it(
    bench: Bench, done: list[Any]
) -> None:
    old = bench.engine(knowing(done, "old"), namespace="app")
    new = bench.engine(knowing(done, "old", "new"), namespace="app")
    new.schedule("new", 1)
    new.schedule("old", 2)
    with Ear("app") as ear:
        old.start_workers(1, block=False)
        bench.settle()
        assert done == [("old", 2)]
        assert bench.counts(old).parked == 1
        assert ear.of("job_failed") == []
        new.start_workers(1, block=False)
        bench.advance(timedelta(seconds=10))
    assert done == [("old", 2), ("new", 1)]
    assert bench.counts(old).parked == 0
    # No attempt was spent (I7).
    assert {kw["job"].attempt for kw in ear.of("job_started")} == {1}


def test_parked_jobs_run_in_their_order(bench: Bench, done: list[Any]) -> None:
    old = bench.engine(knowing(done), namespace="app")
    new = bench.engine(knowing(done, "new"), namespace="app")
    for number in range(20):
        new.schedule("new", number)
    old.start_workers(3, stop_when_queue_empty=True)
    assert bench.counts(old).parked == 20
    new.start_workers(1, block=False)
    bench.advance(timedelta(seconds=6))
    assert done == [("new", number) for number in range(20)]


def test_unknown_jobs_for_every_idle_thread_hold_up_no_known_one(
    bench: Bench, done: list[Any]
) -> None:
    old = bench.engine(knowing(done, "old"), namespace="app")
    new = bench.engine(knowing(done, "old", "new"), namespace="app")
    for _ in range(9):
        new.schedule("new")
    new.schedule("old")
    old.start_workers(3, block=False)
    bench.settle()  # At this instant, not when a beat is due.
    assert done == [("old",)]


def test_parked_jobs_do_not_count_as_left(bench: Bench, done: list[Any]) -> None:
    old = bench.engine(knowing(done), namespace="app")
    new = bench.engine(knowing(done, "new"), namespace="app")
    new.schedule("new")
    old.start_workers(1, stop_when_queue_empty=True)  # returns
    assert bench.counts(old).parked == 1


def test_a_job_that_is_cancelled_while_it_is_put_aside_tells_so(
    bench: Bench, done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = bench.engine(knowing(done), namespace="app")
    tasks = Tasks(keep_result=timedelta(hours=1))
    tasks.add(print, "new")
    new = bench.engine(tasks, namespace="app")
    job = new.schedule("new")
    broker, answers = bench.brokers[old], []
    report = broker.report

    def after_a_cancel(outcomes: Any) -> Any:
        answers.extend(new.jobs.cancel(job))
        return report(outcomes)

    monkeypatch.setattr(broker, "report", after_a_cancel)
    old.start_workers(1, stop_when_queue_empty=True)
    assert answers == [CancelVerdict.REQUESTED]
    assert bench.counts(old).parked == 0
    with pytest.raises(NoResult, match="was cancelled"):
        new.result(job, timeout=timedelta(0))


@pytest.mark.parametrize(
    "record", [b"2|0|-|spinach|note\nnew format", b"1|0|k|spinach|note\n[[],{},0]", b"garbage"]
)
def test_a_record_that_cannot_be_read_is_put_aside_too(
    bench: Bench, done: list[Any], record: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "spinach.job")
    engine = bench.engine(knowing(done, "note"))
    bench.brokers[engine].enqueue([Deposit("spinach", f"0{uuid.uuid4()}", record)])
    engine.schedule("note")
    engine.start_workers(1, stop_when_queue_empty=True)
    counts = bench.counts(engine)
    assert done == [("note",)]
    assert (counts.parked, counts.failed) == (1, 0)
    assert "Run it with the release that wrote it" in caplog.text


def test_a_process_restarted_with_the_task_takes_the_parked_job(
    bench: Bench, done: list[Any]
) -> None:
    engine: Engine = bench.engine(Tasks())
    tasks = knowing(done, "late")
    engine.attach_tasks(tasks)
    engine.schedule("late")
    engine.detach_tasks(tasks)
    engine.start_workers(1, stop_when_queue_empty=True)
    assert done == []
    engine.attach_tasks(tasks)
    engine.start_workers(1, block=False)
    bench.settle()
    assert done == [("late",)]
