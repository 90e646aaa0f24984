"""Jobs that are cancelled while they run, or that give themselves back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from spinach import AbortException, RetryException, Tasks, current_job, signals
from spinach.exc import JobCancelled, JobReleased, NoResult, WorkersRunning
from spinach.jobs import CancelVerdict
from spinach.progress import Progress
from spinach.record.ids import job_id_of

from .support import PATIENCE, Bench, Ear, FlakyBroker, wait_for
from .test_current import cancel, running

SECOND = timedelta(seconds=1)
HAS_STARTED = "The job runs at most once and has started, so that it cannot be given back."


class Shop:
    """An engine with one task, and what its single worker did."""

    def __init__(self, bench: Bench, func: Callable[[], Any], **options: Any) -> None:
        self.bench = bench
        tasks = Tasks()
        tasks.add(func, "work", **options)
        self.engine = bench.engine(tasks)
        self.job = self.engine.schedule("work")

    def run(self) -> Ear:
        with Ear("bench") as ear:
            self.engine.start_workers(1, stop_when_queue_empty=True)
        return ear

    @property
    def counts(self) -> Any:
        return self.bench.counts(self.engine)


class Slow:
    """A task that a test holds at its middle."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        self.hold()

    def hold(self) -> None:
        assert self.go_on.wait(PATIENCE)


@pytest.fixture
def slow() -> Any:
    slow = Slow()
    yield slow
    slow.go_on.set()


# -- cancel ---------------------------------------------------------------------


@pytest.mark.parametrize("max_retries", [0, 3])
@pytest.mark.parametrize(
    "end",
    [
        lambda: current_job().check(),
        lambda: current_job().release(),
        lambda: int("x"),
        lambda: (_ for _ in ()),
        lambda: raising(RetryException("later")),
        lambda: raising(AbortException("never")),
        lambda: raising(SystemExit(1)),
    ],
    ids=["check", "release", "own", "generator", "retry", "abort", "exit"],
)
def test_a_cancelled_job_that_ends_in_any_failure_is_cancelled(
    bench: Bench, end: Callable[[], Any], max_retries: int
) -> None:
    def work() -> Any:
        cancel(shop.engine, *running(shop.engine))
        return end()

    shop = Shop(bench, work, max_retries=max_retries, keep_result=timedelta(hours=1))
    ear = shop.run()
    assert ear.jobs == [
        ("job_started", "RUNNING"),
        ("job_cancelled", "CANCELLED"),
        ("job_finished", "CANCELLED"),
    ]
    counts = shop.counts
    assert (counts.unfinished, counts.failed, counts.future) == (0, 0, 0)
    with pytest.raises(NoResult) as told:
        shop.engine.result(shop.job, timeout=timedelta(0))
    assert told.value.reason == "cancelled"


def raising(err: BaseException) -> None:
    raise err


def test_a_cancelled_job_that_returns_has_succeeded(bench: Bench) -> None:
    shop = Shop(bench, lambda: cancel(shop.engine, *running(shop.engine)), max_retries=1)
    assert shop.run().jobs[-1] == ("job_finished", "SUCCEEDED")


def test_the_log_tells_what_a_cancelled_job_raised_unless_it_was_the_cancel(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spinach.job")
    ends: list[Callable[[], Any]] = [lambda: current_job().check(), lambda: int("x")]

    def work() -> Any:
        cancel(shop.engine, *running(shop.engine))
        return ends.pop(0)()

    shop = Shop(bench, work)
    shop.engine.schedule("work")
    shop.run()
    asked, own = [r for r in caplog.records if "Job cancelled: work" in r.getMessage()]
    assert (asked.levelno, asked.exc_info) == (logging.INFO, None)
    assert own.exc_info is not None
    assert own.exc_info[0] is ValueError
    assert own.attempt == 1  # type: ignore[attr-defined]


@pytest.mark.concurrency
def test_jobs_in_the_buffer_never_start_and_are_told_of_once(
    bench: Bench, slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spinach.job")

    # Jobs that take no time and fetches that take some fill the buffer behind the held job.
    class SlowLine(FlakyBroker):
        def fetch(self, turns: Any, **kwargs: Any) -> Any:
            bench.clock.advance(timedelta(milliseconds=5))
            return super().fetch(turns, **kwargs)

    ran: list[int] = []
    tasks = Tasks(max_retries=1)
    tasks.add(slow, "slow")
    tasks.add(ran.append, "note")
    broker = SlowLine(bench.store, plan=lambda call: None, clock=bench.clock)
    engine = bench.engine(tasks, broker=broker)
    for number in range(20):
        engine.schedule("note", number)
    engine.schedule("slow")
    for number in range(20, 60):
        engine.schedule("note", number)
    with Ear("bench") as ear:
        engine.start_workers(1, block=False, stop_when_queue_empty=True)
        wait_for(slow.begun)
        bench.busy = 1
        bench.settle()
        pool = engine._pool
        assert pool is not None
        buffered = list(pool._in_flight._buffer)
        cancel(engine, *buffered)
        slow.go_on.set()
        bench.busy = 0
        pool.join()
    assert buffered, "nothing was in the buffer, so this shows nothing"
    assert len(ran) == 60 - len(buffered)
    cancelled = ear.of("job_cancelled")
    assert [job_id_of(item.lease.stored_id) for item in buffered] == [
        kw["job"].id_text for kw in cancelled
    ]
    assert {kw["job"].status.name for kw in cancelled} == {"CANCELLED"}
    started = {kw["job"].id for kw in ear.of("job_started")}
    assert not started & {kw["job"].id for kw in cancelled}
    assert caplog.text.count("Job cancelled before it started: note") == len(cancelled)
    counts = bench.counts(engine)
    assert (counts.unfinished, counts.failed) == (0, 0)


# -- giving back ------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [lambda: current_job().release(), lambda: raising(JobReleased())],
    ids=["release", "raised"],
)
def test_a_job_that_gives_itself_back_spends_no_attempt(
    bench: Bench, end: Callable[[], Any]
) -> None:
    attempts: list[int] = []

    def work() -> None:
        attempts.append(current_job().attempt)
        if len(attempts) == 1:
            end()

    shop = Shop(bench, work, max_retries=1)
    ear = shop.run()
    assert attempts == [1, 1]
    assert ear.jobs == [
        ("job_started", "RUNNING"),
        ("job_finished", "QUEUED"),
        ("job_started", "RUNNING"),
        ("job_finished", "SUCCEEDED"),
    ]


def test_a_job_that_gives_itself_back_is_the_first_in_its_queue(bench: Bench) -> None:
    order: list[int] = []

    def work(number: int = 0) -> None:
        order.append(number)
        if order == [0]:
            shop.engine.stop_workers()
            current_job().check()

    shop = Shop(bench, work, max_retries=1)
    shop.engine.schedule("work", 1)
    shop.engine.start_workers(1)
    assert (order, shop.counts.ready) == ([0], 2)
    shop.run()
    assert order == [0, 0, 1]


@pytest.mark.parametrize("how", ["check", "release"])
def test_a_job_that_runs_at_most_once_cannot_be_given_back_and_says_so(
    bench: Bench, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> None:
        shop.engine.stop_workers()
        if how == "check":
            current_job().check()
        current_job().release()

    shop = Shop(bench, work)
    with Ear("bench") as ear:
        shop.engine.start_workers(1)
    assert ear.jobs[-2:] == [("job_failed", "FAILED"), ("job_finished", "FAILED")]
    (failed,) = shop.engine.failed.list()
    assert failed.error == f"spinach.exc.{'JobCancelled' if how == 'check' else 'JobReleased'}"
    assert failed.message.endswith(HAS_STARTED)
    assert len(failed.message) > len(HAS_STARTED)
    assert shop.counts.ready == 0  # I3


def test_a_release_without_a_word_says_why_it_cannot_be(bench: Bench) -> None:
    shop = Shop(bench, lambda: raising(JobReleased()))
    shop.run()
    assert shop.engine.failed.list()[0].message == HAS_STARTED


def test_a_check_without_any_reason_never_raises_and_a_task_that_does_fails(bench: Bench) -> None:
    def work() -> None:
        current_job().check()
        raise JobCancelled("by myself")

    shop = Shop(bench, work)
    shop.run()
    assert shop.engine.failed.list()[0].message == "by myself"


def test_a_job_that_gives_itself_back_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spinach.job")
    ends: list[Callable[[], Any]] = [lambda: current_job().release(), lambda: None]
    Shop(bench, lambda: ends.pop(0)(), max_retries=1).run()
    (record,) = [r for r in caplog.records if "Job given back: work" in r.getMessage()]
    assert record.levelno == logging.INFO
    assert "attempt 1. The task work gave its job back." in record.getMessage()
    assert record.exc_info is None


def test_a_job_that_is_overdue_while_its_worker_stops_has_failed(bench: Bench) -> None:
    def work() -> None:
        bench.clock.advance(5 * SECOND)
        shop.engine.stop_workers()
        current_job().check()

    shop = Shop(bench, work, max_retries=1, time_limit=5 * SECOND)
    with Ear("bench") as ear:
        shop.engine.start_workers(1)
    # The attempt is spent, or a job that takes too long would run for ever.
    assert [name for name, _ in ear.jobs if name != "job_overdue"][1:] == [
        "job_schedule_retry",
        "job_finished",
    ]


@pytest.mark.concurrency
def test_all_jobs_that_run_are_given_back_by_a_stop(bench: Bench) -> None:
    both = threading.Barrier(3)

    def work() -> None:
        both.wait(PATIENCE)
        while not current_job().should_stop:
            threading.Event().wait(0.001)
        current_job().release()

    shop = Shop(bench, work, max_retries=1)
    shop.engine.schedule("work")
    shop.engine.start_workers(2, block=False)
    both.wait(PATIENCE)
    shop.engine.stop_workers()
    assert (shop.counts.ready, shop.counts.leased, shop.counts.members) == (2, 0, 0)


# -- time limits --------------------------------------------------------------------


@pytest.mark.concurrency
def test_a_job_that_takes_too_long_is_told_of_once_with_its_stack(
    bench: Bench, slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(bench, slow, time_limit=5 * SECOND)
    with Ear("bench") as ear:
        shop.engine.start_workers(1, block=False)
        wait_for(slow.begun)
        bench.busy = 1
        bench.advance(4.9 * SECOND)
        assert ear.of("job_overdue") == []
        bench.advance(0.1 * SECOND)
        bench.advance(60 * SECOND)
        (told,) = ear.of("job_overdue")
        assert told["job"].id == shop.job.id
        assert told["job"].status.name == "RUNNING"
        slow.go_on.set()
        bench.busy = 0
        bench.settle()
        shop.engine.stop_workers()
    assert ear.jobs[-1] == ("job_finished", "SUCCEEDED")
    (record,) = [r for r in caplog.records if "Job is overdue" in r.getMessage()]
    assert record.levelno == logging.WARNING
    text = record.getMessage()
    assert f"Job is overdue: work {shop.job.id}, attempt 1, time limit 5 s, on thread" in text
    assert "in hold" in text
    assert "assert self.go_on.wait(PATIENCE)" in text
    assert record.duration_ms == pytest.approx(5000)  # type: ignore[attr-defined]
    assert record.thread_name == "bench-worker-1"  # type: ignore[attr-defined]


@pytest.mark.concurrency
def test_a_job_that_starts_later_but_is_due_sooner_is_told_of_in_time(
    bench: Bench, slow: Slow
) -> None:
    other = Slow()
    shop = Shop(bench, slow, time_limit=60 * SECOND)
    shop.engine.task(name="short", time_limit=2 * SECOND)(other)
    with Ear("bench") as ear:
        shop.engine.start_workers(2, block=False)
        wait_for(slow.begun)
        bench.busy = 1
        bench.settle()
        shop.engine.schedule("short")
        wait_for(other.begun)
        bench.busy = 2
        bench.advance(2 * SECOND)
        assert [kw["job"].task_name for kw in ear.of("job_overdue")] == ["short"]
        bench.advance(58 * SECOND, 2 * SECOND)
        assert [kw["job"].task_name for kw in ear.of("job_overdue")] == ["short", "work"]
        other.go_on.set()
        slow.go_on.set()
        bench.busy = 0
        shop.engine.stop_workers()


@pytest.mark.concurrency
def test_a_job_is_told_of_while_its_worker_stops(bench: Bench, slow: Slow) -> None:
    shop = Shop(bench, slow, time_limit=5 * SECOND)
    with Ear("bench") as ear:
        shop.engine.start_workers(1, block=False)
        wait_for(slow.begun)
        shop.engine.stop_workers(_join_arbiter=False)
        bench.busy = 1
        bench.settle()
        bench.advance(5 * SECOND)
        assert len(ear.of("job_overdue")) == 1
        slow.go_on.set()
        bench.busy = 0
        shop.engine.stop_workers()


@pytest.mark.concurrency
def test_a_receiver_that_hangs_does_not_keep_the_workers_from_beating(
    bench: Bench, slow: Slow
) -> None:
    hangs, go_on = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> None:
        hangs.set()
        go_on.wait(PATIENCE)

    shop = Shop(bench, slow, time_limit=5 * SECOND)
    with signals.job_overdue.connected_to(hang, sender="bench"):
        shop.engine.start_workers(1, block=False)
        wait_for(slow.begun)
        bench.busy = 1
        bench.settle()
        bench.clock.advance(5 * SECOND)
        wait_for(hangs)
        bench.busy = 2
        bench.advance(60 * SECOND)
        counts = shop.counts
        assert (counts.leased, counts.leased_by_dead) == (1, 0)
        go_on.set()
        slow.go_on.set()
        bench.busy = 0
        shop.engine.stop_workers()


@pytest.mark.concurrency
def test_a_receiver_that_stops_the_workers_does_not_wait_for_itself(
    bench: Bench, slow: Slow
) -> None:
    asked = threading.Event()

    def stop(*_: object, **__: object) -> None:
        shop.engine.stop_workers()
        asked.set()

    shop = Shop(bench, slow, time_limit=5 * SECOND)
    with signals.job_overdue.connected_to(stop, sender="bench"):
        shop.engine.start_workers(1, block=False)
        wait_for(slow.begun)
        bench.busy = 1
        bench.settle()
        bench.clock.advance(5 * SECOND)
        # The job still runs, so the workers have not ended.
        wait_for(asked)
        slow.go_on.set()
        bench.busy = 0
        shop.engine.stop_workers()
    assert shop.counts.members == 0


@pytest.mark.concurrency
def test_without_a_thread_to_spare_it_is_logged_all_the_same(
    bench: Bench, slow: Slow, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    shop = Shop(bench, slow, time_limit=5 * SECOND)
    shop.engine.start_workers(1, block=False)
    wait_for(slow.begun)
    bench.busy = 1
    bench.settle()
    monkeypatch.setattr("spinach.worker.overdue.EngineThread.start", refuse)
    bench.advance(5 * SECOND)
    assert "Job is overdue: work" in caplog.text
    slow.go_on.set()
    bench.busy = 0
    shop.engine.stop_workers()


@pytest.mark.concurrency
def test_a_log_that_raises_where_there_is_no_thread_to_spare_ends_no_worker(
    bench: Bench, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    shop = Shop(bench, slow, time_limit=5 * SECOND)
    shop.engine.start_workers(1, block=False)
    wait_for(slow.begun)
    bench.busy = 1
    bench.settle()
    monkeypatch.setattr("spinach.worker.overdue.EngineThread.start", refuse)
    monkeypatch.setattr("spinach.worker.overdue.WORKER_LOGGER.warning", refuse)
    bench.advance(5 * SECOND)
    slow.go_on.set()
    bench.busy = 0
    bench.settle()
    monkeypatch.undo()
    with pytest.raises(WorkersRunning):
        shop.engine.start_workers(block=False)
    shop.engine.stop_workers()


def test_a_job_that_ends_too_late_is_told_of_although_nobody_saw_it_run(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(bench, lambda: bench.clock.advance(5 * SECOND), time_limit=5 * SECOND)
    for _ in range(9):
        shop.engine.schedule("work")
    told = shop.run().of("job_overdue")
    assert len({kw["job"].id for kw in told}) == len(told) == 10
    assert caplog.text.count("Job is overdue: work") == 10


def test_jobs_that_keep_to_their_limit_are_not_told_of(bench: Bench) -> None:
    shop = Shop(bench, lambda: bench.clock.advance(SECOND), time_limit=5 * SECOND)
    for _ in range(20):
        shop.engine.schedule("work")
    assert shop.run().of("job_overdue") == []


def test_a_registry_has_a_time_limit_for_tasks_that_name_none() -> None:
    tasks = Tasks(time_limit=SECOND)
    tasks.add(print, "default")
    tasks.add(print, "own", time_limit=2 * SECOND)
    tasks.task(name="decorated", time_limit=3 * SECOND)(print)
    limits = {name: task.time_limit for name, task in tasks.tasks.items()}
    assert limits == {"default": SECOND, "own": 2 * SECOND, "decorated": 3 * SECOND}
    assert Tasks()._time_limit is None


# -- from the call to the task ------------------------------------------------------


@pytest.mark.concurrency
def test_a_running_task_hears_of_its_cancel_with_the_next_beat(bench: Bench) -> None:
    begun, seen = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        while not current_job().cancelled:
            threading.Event().wait(0.001)
        seen.set()
        current_job().check()

    shop = Shop(bench, work, max_retries=3)
    with Ear("bench") as ear:
        shop.engine.start_workers(1, block=False)
        wait_for(begun)
        bench.busy = 1
        bench.settle()
        assert shop.engine.jobs.cancel(shop.job) == (CancelVerdict.REQUESTED,)
        assert not seen.is_set()
        bench.clock.advance(10 * SECOND)
        wait_for(seen)
        bench.busy = 0
        bench.settle()
        shop.engine.stop_workers()
    assert ear.jobs[1:] == [("job_cancelled", "CANCELLED"), ("job_finished", "CANCELLED")]
    assert shop.engine.jobs.get(shop.job) is None
    assert (shop.counts.unfinished, shop.counts.failed) == (0, 0)


@pytest.mark.concurrency
def test_others_see_the_progress_of_a_task_with_its_next_beat(bench: Bench, slow: Slow) -> None:
    def work() -> None:
        current_job().progress(3, 10, note="rows")
        slow()

    shop = Shop(bench, work)
    shop.engine.start_workers(1, block=False)
    wait_for(slow.begun)
    bench.busy = 1
    bench.settle()
    view = shop.engine.jobs.get(shop.job)
    assert view is not None
    assert view.progress is None
    bench.advance(10 * SECOND)
    view = shop.engine.jobs.get(shop.job)
    assert view is not None
    assert view.progress == Progress(3, 10, "rows")
    slow.go_on.set()
    bench.busy = 0
    shop.engine.stop_workers()
