"""All failed jobs at once, as users see it: run again, or forgotten."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine, MemoryBroker, Tasks
from spinach.brokers.calls import FailedPortion, PortionReply
from spinach.const import FAILED_CHUNK
from spinach.exc import BrokerUnavailable, InvalidArgument, InvalidName

from .support import Bench


@pytest.fixture
def runs() -> list[int]:
    return []


@pytest.fixture
def engine(bench: Bench, runs: list[int]) -> Engine:
    tasks = Tasks()

    @tasks.task(name="fails")
    def fails(number: int) -> None:
        runs.append(number)
        raise ValueError(number)

    @tasks.task(name="breaks", queue="other")
    def breaks(number: int) -> None:
        raise OSError(number)

    return bench.engine(tasks)


def run(engine: Engine) -> None:
    engine.start_workers(1, ("spinach", "other"), stop_when_queue_empty=True)


def fail(engine: Engine, count: int) -> None:
    for number in range(count):
        engine.schedule("fails", number)
        engine.schedule("breaks", number)
    run(engine)


def left(engine: Engine) -> list[tuple[str, int]]:
    return [(e.job.task_name, e.job.task_args[0]) for e in engine.failed.iterate()]


def test_all_jobs_of_a_queue_run_again_the_oldest_first(engine: Engine, runs: list[int]) -> None:
    fail(engine, 3)
    assert engine.failed.retry_all("spinach") == 3
    assert {task for task, _ in left(engine)} == {"breaks"}
    run(engine)
    assert runs == [0, 1, 2, 0, 1, 2]


def test_all_queues_are_meant_by_none(engine: Engine) -> None:
    fail(engine, 3)
    assert engine.failed.retry_all(None) == 6
    assert left(engine) == []
    run(engine)
    assert engine.failed.discard_all(None) == 6
    assert engine.failed.discard_all(None) == engine.failed.retry_all(None) == 0


def test_the_queue_has_to_be_said(engine: Engine) -> None:
    with pytest.raises(TypeError, match="queue"):
        engine.failed.discard_all()  # type: ignore[call-arg]  # that is what is tested
    with pytest.raises(InvalidName):
        engine.failed.discard_all("a b")


def test_filters_choose_among_them(bench: Bench, engine: Engine) -> None:
    fail(engine, 2)
    bench.advance(timedelta(minutes=5))
    fail(engine, 1)
    assert engine.failed.discard_all(None, error=ValueError, since=timedelta(minutes=1)) == 1
    assert engine.failed.retry_all("spinach", task="breaks") == 0
    assert engine.failed.discard_all("other", task="breaks") == 3
    assert left(engine) == [("fails", 1), ("fails", 0)]


def test_many_are_done_in_portions_and_tell_of_their_progress(
    bench: Bench, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spinach_memory.failed.FAILED_CHUNK", 2)
    fail(engine, 5)
    told: list[int] = []
    assert engine.failed.retry_all("spinach", progress=told.append) == 5
    assert told == [2, 4, 5]
    told.clear()
    assert engine.failed.discard_all(None, task="fails", progress=told.append) == 0
    assert told == []
    assert FAILED_CHUNK == 500


def test_what_fails_again_meanwhile_is_left_where_it_is(
    bench: Bench, engine: Engine, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spinach_memory.failed.FAILED_CHUNK", 2)
    for number in range(5):
        engine.schedule("fails", number)
    run(engine)
    bench.advance(timedelta(seconds=1))

    def run_them(_: int) -> None:
        run(engine)

    assert engine.failed.retry_all("spinach", progress=run_them) == 5
    assert sorted(runs) == sorted([*range(5)] * 2)
    assert len(left(engine)) == 5


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, BrokerUnavailable("away"), SystemExit])
def test_an_interruption_says_how_many_were_done_and_loses_none(
    bench: Bench,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException] | BaseException,
) -> None:
    monkeypatch.setattr("spinach_memory.failed.FAILED_CHUNK", 2)
    fail(engine, 5)
    take = MemoryBroker.retry_matching
    calls: list[FailedPortion] = []

    def interrupted(self: Any, queue: str, portion: FailedPortion) -> PortionReply:
        calls.append(portion)
        reply = take(self, queue, portion)
        if len(calls) == 2:
            raise interruption  # after it was applied: its answer is lost
        return reply

    monkeypatch.setattr(MemoryBroker, "retry_matching", interrupted)
    with pytest.raises((KeyboardInterrupt, BrokerUnavailable, SystemExit)) as caught:
        engine.failed.retry_all("spinach")
    [note] = caught.value.__notes__
    assert note.startswith("At least 2 failed jobs were put back before that.")
    assert len(engine.failed.list("spinach")) == 1
    assert engine.failed.retry_all("spinach") == 1
    counts = bench.counts(engine)
    assert (counts.ready, counts.failed) == (5, 0)


def test_a_progress_that_raises_ends_the_call(engine: Engine) -> None:
    fail(engine, 2)

    def enough(count: int) -> None:
        raise LookupError(count)

    with pytest.raises(LookupError, match="2") as caught:
        engine.failed.discard_all("other", progress=enough)
    assert "At least 2 failed jobs were discarded" in caught.value.__notes__[0]
    with pytest.raises(InvalidArgument, match="progress is 7, expected a function"):
        engine.failed.retry_all("other", progress=7)  # type: ignore[arg-type]  # that is tested


@pytest.mark.concurrency
def test_of_several_at_once_each_job_is_taken_by_one(bench: Bench, engine: Engine) -> None:
    fail(engine, 60)
    start = threading.Barrier(4)
    counts: list[int] = []

    def retry() -> None:
        start.wait()
        counts.append(engine.failed.retry_all(None))

    threads = [threading.Thread(target=retry) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 120
    ready = [bench.counts(engine, queue).ready for queue in ("spinach", "other")]
    assert ready == [60, 60]
