"""The running job, as its own code sees it: who it is, whether it should stop, how far it is."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import spinach
from spinach import CurrentJob, Engine, Tasks, current_job, signals
from spinach.exc import InvalidArgument, JobCancelled, JobReleased, NotInJob
from spinach.progress import MAX_NOTE, Progress
from spinach.worker.buffer import LeasedJob

from .support import Bench

SECOND = timedelta(seconds=1)


def running(engine: Engine) -> list[LeasedJob]:
    """What the threads of an engine run now."""
    pool = engine._pool
    assert pool is not None
    return list(pool._in_flight._running.values())


def cancel(engine: Engine, *jobs: LeasedJob) -> None:
    """Ask for the cancel of leased jobs, as the answer to a beat does."""
    pool = engine._pool
    assert pool is not None
    pool._in_flight.request_cancel([(job.lease.stored_id, job.lease.token) for job in jobs])


class Seen:
    """A task that looks at its job, and what it saw."""

    def __init__(self, bench: Bench, look: Callable[..., Any], **options: Any) -> None:
        self.bench = bench
        self.values: list[Any] = []
        self.look = look
        tasks = Tasks()
        tasks.add(self, "look", **options)
        self.engine = bench.engine(tasks)

    def __call__(self, *args: Any) -> None:
        self.values.append(self.look(*args))

    def work(self) -> Any:
        """Run all that is there; what was seen last."""
        self.engine.start_workers(1, stop_when_queue_empty=True)
        return self.values[-1]


def test_a_task_sees_its_id_attempt_and_headers(bench: Bench) -> None:
    seen = Seen(bench, lambda: (current_job().id, current_job().attempt, current_job().headers))
    job = seen.engine.options(headers={"trace": "7f"}).schedule("look")
    assert seen.work() == (job.id, 1, {"trace": "7f"})


def test_a_job_without_headers_has_empty_ones_that_cannot_be_changed(bench: Bench) -> None:
    def look() -> Any:
        with pytest.raises(TypeError):
            current_job().headers["a"] = "b"  # type: ignore[index]
        return current_job().headers

    seen = Seen(bench, look)
    seen.engine.schedule("look")
    assert seen.work() == {}


def test_each_attempt_has_its_number(bench: Bench) -> None:
    attempts: list[int] = []

    def fail() -> None:
        attempts.append(current_job().attempt)
        raise ValueError("again")

    tasks = Tasks()
    tasks.add(fail, "fail", max_retries=2, backoff=lambda attempt: timedelta(0))
    engine = bench.engine(tasks)
    engine.schedule("fail")
    engine.start_workers(1, stop_when_queue_empty=True)
    assert attempts == [1, 2, 3]


def test_outside_a_job_there_is_none() -> None:
    with pytest.raises(NotInJob, match="where no job runs"):
        current_job()


def test_execute_runs_no_job(bench: Bench) -> None:
    engine = bench.engine()
    engine.task(name="look")(lambda: current_job())
    with pytest.raises(NotInJob):
        engine.execute("look")


def test_what_a_job_calls_finds_it_in_asyncio_and_in_a_copied_context(bench: Bench) -> None:
    def on_a_thread(target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()

    def look() -> Any:
        ids: list[Any] = [current_job().id]

        async def inner() -> None:
            ids.append(current_job().id)
            await asyncio.to_thread(lambda: ids.append(current_job().id))

        asyncio.run(inner())
        context = contextvars.copy_context()
        on_a_thread(lambda: ids.append(context.run(lambda: current_job().id)))
        return ids

    seen = Seen(bench, look)
    job = seen.engine.schedule("look")
    assert seen.work() == [job.id] * 4


def test_receivers_of_its_signals_are_in_the_job_and_others_are_not(bench: Bench) -> None:
    found: list[Any] = []

    def receive(*_: Any, **__: Any) -> None:
        try:
            found.append(current_job().id)
        except NotInJob:
            found.append(None)

    seen = Seen(bench, lambda: None)
    job = seen.engine.schedule("look")
    names = (signals.worker_started, signals.job_started, signals.job_finished)
    for signal in names:
        signal.connect(receive, sender="bench")
    try:
        seen.work()
    finally:
        for signal in names:
            signal.disconnect(receive, sender="bench")
    assert found == [None, job.id, job.id]


@pytest.mark.concurrency
def test_jobs_that_run_at_once_do_not_see_each_other(bench: Bench) -> None:
    both = threading.Barrier(2)

    def look(number: int) -> Any:
        before = current_job().id
        both.wait(20)
        return number, before, current_job().id

    seen = Seen(bench, look)
    jobs = [seen.engine.schedule("look", number) for number in range(2)]
    seen.engine.start_workers(2, stop_when_queue_empty=True)
    assert sorted(seen.values) == [(n, job.id, job.id) for n, job in enumerate(jobs)]


def test_it_says_who_it_is(bench: Bench) -> None:
    seen = Seen(bench, lambda: repr(current_job()))
    job = seen.engine.schedule("look")
    assert seen.work() == f"<CurrentJob look {job.id}, attempt 1>"


# -- should it stop? ----------------------------------------------------------


def test_nothing_asks_a_job_to_stop_by_itself(bench: Bench) -> None:
    def look() -> Any:
        job = current_job()
        job.check()
        return job.cancelled, job.should_stop, job.deadline

    seen = Seen(bench, look)
    seen.engine.schedule("look")
    assert seen.work() == (False, False, None)


def test_a_cancel_is_seen(bench: Bench) -> None:
    def look() -> Any:
        before = current_job().should_stop
        cancel(seen.engine, *running(seen.engine))
        with pytest.raises(JobCancelled, match=r"The cancel of job .* \(look\) was asked for"):
            current_job().check()
        return before, current_job().cancelled, current_job().should_stop

    seen = Seen(bench, look)
    seen.engine.schedule("look")
    assert seen.work() == (False, True, True)


def test_a_stop_is_seen_at_the_moment_it_is_asked_for(bench: Bench) -> None:
    def look() -> Any:
        before = current_job().should_stop
        seen.engine.stop_workers()  # asks and returns, on a worker thread
        with pytest.raises(JobCancelled, match="was told to stop"):
            current_job().check()
        return before, current_job().cancelled, current_job().should_stop

    seen = Seen(bench, look)
    seen.engine.schedule("look")
    assert seen.work() == (False, False, True)


def test_a_deadline_is_seen_when_it_has_passed(bench: Bench) -> None:
    def look() -> Any:
        job, now = current_job(), bench.clock.now()
        deadline = job.deadline
        assert deadline is not None
        bench.clock.advance(4.999 * SECOND)
        before = job.should_stop
        bench.clock.advance(0.001 * SECOND)
        with pytest.raises(JobCancelled, match=r"The time limit of job .* \(look\), 5 s, has"):
            job.check()
        return (deadline - now).total_seconds(), before, job.should_stop, job.cancelled

    seen = Seen(bench, look, time_limit=5 * SECOND)
    seen.engine.schedule("look")
    left, *rest = seen.work()
    assert left == pytest.approx(5, abs=0.001)
    assert rest == [False, True, False]


def test_release_always_raises(bench: Bench) -> None:
    def look() -> None:
        with pytest.raises(JobReleased, match="The task look gave its job back"):
            current_job().release()

    seen = Seen(bench, look)
    seen.engine.schedule("look")
    assert seen.work() is None


# -- progress -----------------------------------------------------------------


def test_the_last_word_about_the_progress_counts(bench: Bench) -> None:
    def look() -> Any:
        job = current_job()
        before = running(seen.engine)[0].progress
        job.progress(1, 10)
        job.progress(2, 10, note="rows")
        return before, running(seen.engine)[0].progress

    seen = Seen(bench, look)
    seen.engine.schedule("look")
    assert seen.work() == (None, Progress(2, 10, "rows"))


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ((11, 10), "done is 11 of a total of 10. Pass at most the total"),
        ((-1, 10), "done is -1, expected an int from 0 to 10"),
        ((0, -1), "total is -1, expected an int from 0"),
        ((0.5, 1), "done is 0.5, expected an int"),
        ((1, "10"), "total is '10', expected an int"),
        ((True, 1), "done is True, expected an int"),
        ((1, 1, None), "note is None of type NoneType, expected a str"),
    ],
)
def test_a_progress_that_makes_no_sense_is_refused(
    said: tuple[Any, ...], problem: str, bench: Bench
) -> None:
    def look() -> str:
        with pytest.raises(InvalidArgument) as info:
            current_job().progress(*said)
        return str(info.value)

    seen = Seen(bench, look)
    seen.engine.schedule("look")
    assert seen.work().startswith(problem)


def test_a_long_note_is_cut_and_a_lone_surrogate_made_storable(bench: Bench) -> None:
    def look() -> Any:
        current_job().progress(0, 0, note="\udcff" + "x" * 1000)
        return running(seen.engine)[0].progress

    seen = Seen(bench, look)
    seen.engine.schedule("look")
    note = seen.work().note
    assert len(note) == MAX_NOTE
    assert note.startswith("\\udcffxxx")
    note.encode()


# -- records of the program's own loggers --------------------------------------


@pytest.fixture
def records() -> Any:
    """Records of a logger whose handler has the filter."""
    kept: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record)

    logger, handler = logging.getLogger("shop"), Keep()
    handler.addFilter(spinach.JobFilter())
    logger.addHandler(handler)
    yield kept
    logger.removeHandler(handler)


FORMAT = "%(job_id)s|%(task)s|%(queue)s|%(attempt)s|%(message)s"


def test_records_that_a_task_logs_tell_its_job(
    bench: Bench, records: list[logging.LogRecord]
) -> None:
    seen = Seen(bench, lambda: logging.getLogger("shop").warning("low"), queue="stock")
    job = seen.engine.schedule("look")
    seen.engine.start_workers(1, queue="stock", stop_when_queue_empty=True)
    (record,) = records
    assert logging.Formatter(FORMAT).format(record) == f"{job.id}|look|stock|1|low"
    assert record.attempt == 1  # type: ignore[attr-defined]


def test_records_outside_a_job_have_the_attributes_too(records: list[logging.LogRecord]) -> None:
    logging.getLogger("shop").warning("open")
    (record,) = records
    assert logging.Formatter(FORMAT).format(record) == "|||None|open"


def test_attributes_that_a_record_has_are_kept(
    bench: Bench, records: list[logging.LogRecord]
) -> None:
    def look() -> None:
        logging.getLogger("shop").warning("x", extra={"task": "mine"})

    seen = Seen(bench, look)
    job = seen.engine.schedule("look")
    seen.work()
    assert (records[0].task, records[0].job_id) == ("mine", str(job.id))  # type: ignore[attr-defined]


def test_the_filter_lets_pass_what_its_name_says() -> None:
    def passes(each: logging.Filter, name: str) -> bool:
        return bool(each.filter(logging.makeLogRecord({"name": name})))

    assert passes(spinach.JobFilter(), "anything")
    assert passes(spinach.JobFilter("shop"), "shop.orders")
    assert not passes(spinach.JobFilter("shop"), "bank")


def test_it_is_exported_with_the_class() -> None:
    assert spinach.CurrentJob is CurrentJob
