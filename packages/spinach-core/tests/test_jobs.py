"""Jobs wherever they are, as users see them: looked at, taken back, waited for."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine, Job, JobStatus, RetryException, Tasks
from spinach.brokers.calls import CancelVerdict, Place
from spinach.const import MAX_SHOWN
from spinach.exc import InvalidArgument, InvalidName, UnknownTask, WaitInWorker, WaitTimeout
from spinach.jobs import JobView
from spinach.progress import Progress
from spinach.record.header import UnreadableRecord
from spinach.worker.in_flight import InFlight
from spinach_memory import MemoryBroker

from .support import PATIENCE, Bench, Ear, wait_for

MINUTE = timedelta(minutes=1)


class Gate:
    """A task that a test holds: it has begun, and may go on."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go = threading.Event()
        self.runs: list[int] = []

    def __call__(self, number: int = 0) -> None:
        self.runs.append(number)
        self.began.set()
        assert self.go.wait(PATIENCE)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def engine(bench: Bench, gate: Gate) -> Engine:
    tasks = Tasks()
    tasks.add(gate, name="held.open", max_retries=3)
    tasks.add(gate, name="once")
    tasks.add(gate, name="one.by.one", max_retries=3, max_concurrency=1)

    @tasks.task(name="fails", max_retries=1)
    def fails(message: str = "no line") -> None:
        raise OSError(message)

    @tasks.task(name="asks", max_retries=9)
    def asks(at: str) -> None:
        raise RetryException("later")

    tasks.add(gate, name="elsewhere", queue="other")
    return bench.engine(tasks)


def finish(bench: Bench, gate: Gate) -> None:
    """Let the held task go on, and all others come to their end."""
    bench.busy = 0
    gate.go.set()
    bench.settle()


def there(engine: Engine, job: Any) -> JobView:
    view = engine.jobs.get(job)
    assert view is not None
    return view


def ids(views: Any) -> list[uuid.UUID]:
    return [view.id for view in views]


# -- get -------------------------------------------------------------------


def test_job_that_waits_tells_until_when(engine: Engine, bench: Bench) -> None:
    at = bench.clock.now() + MINUTE
    job = engine.schedule_at("once", at, 7)
    view = there(engine, job)
    assert (view.status, view.place, view.waiting_until) == (JobStatus.WAITING, Place.FUTURE, at)
    assert (view.id, view.queue, view.attempts, view.losses) == (job.id, "spinach", 0, 0)
    assert view.job == job
    assert (view.exact, view.ahead) == (True, 0)
    assert (view.worker, view.failed_at, view.progress, view.held_by) == (None, None, None, None)


def test_job_is_found_by_itself_its_id_or_the_text_of_it(engine: Engine) -> None:
    job = engine.schedule("once")
    other = engine.schedule("elsewhere")
    for wanted in (job, job.id, str(job.id), job.id.hex):
        assert there(engine, wanted).id == job.id
    assert there(engine, other.id).queue == "other"
    assert engine.jobs.get(uuid.uuid4()) is None


@pytest.mark.parametrize("wanted", ["no id", 7, None, b"x", ""])
def test_what_is_no_job_is_refused(engine: Engine, wanted: Any) -> None:
    for call in (engine.jobs.get, engine.jobs.cancel):
        with pytest.raises(InvalidArgument, match=r"neither a job nor the id of one\. Pass"):
            call(wanted)
    with pytest.raises(InvalidArgument, match="neither a job"):
        engine.jobs.wait(wanted, timeout=None)


def test_job_of_another_namespace_is_refused(engine: Engine, bench: Bench) -> None:
    elsewhere = bench.engine(namespace="elsewhere")
    job = engine.schedule("once")
    seen = there(engine, job).job
    assert seen is not None
    for each in (job, seen):
        for call in (elsewhere.jobs.get, elsewhere.jobs.cancel):
            with pytest.raises(InvalidArgument, match="'bench', and this engine has 'elsewhere'"):
                call(each)
        with pytest.raises(InvalidArgument, match="Ask the engine that scheduled it"):
            elsewhere.jobs.wait(each, timeout=None)
    assert there(engine, job).status is JobStatus.QUEUED
    # An id may be anybody's.
    assert elsewhere.jobs.get(job.id) is None


@pytest.mark.timeout(60)
def test_running_job_tells_who_has_it_and_since_when(
    engine: Engine, bench: Bench, gate: Gate
) -> None:
    first, second = engine.schedule("held.open", 1), engine.schedule("held.open", 2)
    now = bench.clock.now()
    engine.start_workers(1, block=False)
    wait_for(gate.began)
    bench.busy = 1
    bench.advance(timedelta(seconds=7))
    view = there(engine, first)
    assert (view.status, view.place, view.exact) == (JobStatus.RUNNING, Place.LEASED, True)
    assert view.worker is not None
    assert view.worker.since == now
    assert view.worker.pid == os.getpid()
    assert view.worker.host
    view = there(engine, second)
    assert view.status is JobStatus.QUEUED
    assert view.ahead == 0
    finish(bench, gate)
    assert engine.jobs.wait(first, second, timeout=timedelta(0)) == (None, None)


def test_job_in_a_buffer_may_run_and_says_that_it_is_not_known(
    engine: Engine, bench: Bench
) -> None:
    engine.schedule("held.open")
    job = engine.schedule("held.open")
    from spinach.brokers.calls import Enrolment, FetchTurn

    other = MemoryBroker(bench.store, clock=bench.clock)
    other.bind(engine.namespace, object())
    other.join("spinach", "m", Enrolment(lease_ms=30_000))
    other.fetch([FetchTurn("spinach", "m", 1)], idle=1, extra=1, max_bytes=10**6)
    view = there(engine, job)
    assert (view.status, view.exact) == (JobStatus.RUNNING, False)
    assert view.worker is not None
    assert (view.worker.member, view.worker.host, view.worker.pid) == ("m", None, None)


def test_failed_attempts_and_their_last_error_are_told(engine: Engine, bench: Bench) -> None:
    job = engine.schedule("fails", "x" * 2 * MAX_SHOWN)
    engine.start_workers(1, block=False)
    bench.settle()
    view = there(engine, job)
    assert (view.status, view.attempts, view.error) == (JobStatus.WAITING, 1, "builtins.OSError")
    assert view.message == "x" * MAX_SHOWN
    assert view.traceback == ""
    bench.advance(MINUTE)
    engine.stop_workers()
    view = there(engine, job)
    assert (view.status, view.place) == (JobStatus.FAILED, Place.FAILED)
    assert view.message == "x" * 2 * MAX_SHOWN
    assert view.traceback.startswith("Traceback")
    assert view.failed_at is not None
    assert engine.failed.discard(job) == 1
    assert engine.jobs.get(job) is None


@pytest.mark.timeout(60)
def test_held_job_names_the_task_whose_limit_is_used_up(
    engine: Engine, bench: Bench, gate: Gate
) -> None:
    jobs = [engine.schedule("one.by.one") for _ in range(3)]
    engine.start_workers(2, block=False)
    wait_for(gate.began)
    bench.busy = 1
    bench.settle()
    views = [there(engine, job) for job in jobs[1:]]
    assert [(v.place, v.held_by, v.ahead) for v in views] == [
        (Place.HELD, "one.by.one", 0),
        (Place.HELD, "one.by.one", 1),
    ]
    assert views[0].status is JobStatus.QUEUED
    finish(bench, gate)
    engine.jobs.wait(*jobs, timeout=timedelta(0))


def test_parked_job_says_why_and_what_to_do(engine: Engine, bench: Bench) -> None:
    job = engine.schedule("once")
    stranger = bench.engine(Tasks())
    stranger.start_workers(1, block=False)
    bench.settle()
    view = there(engine, job)
    assert (view.status, view.place, view.ahead) == (JobStatus.QUEUED, Place.PARKED, 0)
    assert view.parked_because == (
        "No worker process that fetched it knows task 'once': start one that attaches it."
    )


def test_job_that_only_a_newer_release_can_read_is_there_all_the_same(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = engine.schedule("once")

    def refuse(*_: object, **__: object) -> None:
        raise UnreadableRecord("newer")

    monkeypatch.setattr("spinach.jobs.job_from_record", refuse)
    view = there(engine, job.id)
    assert (view.id, view.job, view.status) == (job.id, None, JobStatus.QUEUED)
    with Ear(engine.namespace) as ear:
        assert engine.jobs.cancel(job) == (CancelVerdict.CANCELLED,)
    assert ear.heard == []


# -- list ------------------------------------------------------------------


def test_pages_follow_each_other(engine: Engine) -> None:
    jobs = [engine.schedule("once", number) for number in range(7)]
    found: list[uuid.UUID] = []
    cursor = None
    for _ in range(4):
        page = engine.jobs.list("spinach", limit=2, cursor=cursor)
        found += ids(page.jobs)
        cursor = page.cursor
    assert cursor is None
    assert sorted(found) == sorted(job.id for job in jobs)


def test_list_tells_jobs_of_a_state_and_of_a_task(engine: Engine, bench: Bench) -> None:
    waits = engine.schedule_at("once", bench.clock.now() + MINUTE)
    ready, other = engine.schedule("once"), engine.schedule("held.open")
    listed = engine.jobs.list
    assert ids(listed("spinach", status=JobStatus.WAITING).jobs) == [waits.id]
    assert set(ids(listed("spinach", status=JobStatus.QUEUED).jobs)) == {ready.id, other.id}
    assert set(ids(listed("spinach", task="once").jobs)) == {waits.id, ready.id}
    [task] = [each for each in engine._task_table.by_name.values() if each.name == "once"]
    assert listed("spinach", task=task) == listed("spinach", task="once")
    assert listed("spinach", status=JobStatus.RUNNING).jobs == ()
    assert listed("spinach", status=JobStatus.FAILED).jobs == ()
    assert listed("nothing").jobs == ()


def test_cursor_fits_into_a_url_and_belongs_to_its_listing(engine: Engine, bench: Bench) -> None:
    for _ in range(3):
        engine.schedule("once")
    cursor = engine.jobs.list("spinach", task="once", limit=1).cursor
    assert cursor is not None
    assert cursor.isascii()
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert len(engine.jobs.list("spinach", task="once", limit=2, cursor=cursor).jobs) == 2
    with pytest.raises(
        InvalidArgument, match=r"(?s)namespace 'bench', queue .*task 'once'\. Go on"
    ):
        engine.jobs.list("spinach", cursor=cursor)
    with pytest.raises(InvalidArgument, match="another listing"):
        engine.jobs.list("other", task="once", cursor=cursor)
    elsewhere = bench.engine(namespace="elsewhere")
    with pytest.raises(InvalidArgument, match="another listing: namespace 'bench'"):
        elsewhere.jobs.list("spinach", task="once", cursor=cursor)


@pytest.mark.parametrize(
    "cursor",
    ["", "x", 7, "ü", b"x", ["x"], base64.b64encode(b"[" * 100_000).decode(), *(
        base64.urlsafe_b64encode(json.dumps(made).encode()).decode()
        for made in ([], ["a"], {"a": 1}, 7, ["bench", "spinach", "", "", 7])
    )],
)  # fmt: skip
def test_what_is_no_cursor_is_refused(engine: Engine, cursor: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"expected that of the page before: pass cursor="):
        engine.jobs.list("spinach", cursor=cursor)


def test_cursor_of_another_broker_is_refused(engine: Engine) -> None:
    made = base64.urlsafe_b64encode(json.dumps(["bench", "spinach", "", "", "x"]).encode()).decode()
    with pytest.raises(InvalidArgument, match="expected that of the page before"):
        engine.jobs.list("spinach", cursor=made)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"status": JobStatus.SUCCEEDED}, InvalidArgument, "expected JobStatus.WAITING, QUEUED"),
        ({"status": "queued"}, InvalidArgument, "expected JobStatus.WAITING"),
        ({"limit": 0}, InvalidArgument, "limit is 0"),
        ({"limit": 1001}, InvalidArgument, "limit is 1001"),
        ({"task": "no name"}, InvalidName, "task name"),
        ({"task": 7}, InvalidArgument, "task is 7 of type int, expected the name of a task"),
        ({"task": print}, UnknownTask, "Unknown task <built-in function print>"),
    ],
)
def test_list_refuses_what_makes_no_sense(
    engine: Engine, options: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        engine.jobs.list("spinach", **options)
    with pytest.raises(InvalidName):
        engine.jobs.list("_x")


# -- cancel ----------------------------------------------------------------


def test_cancelled_job_is_told_of_and_gone(engine: Engine, bench: Bench, gate: Gate) -> None:
    jobs = [engine.schedule("once", 1), engine.schedule("elsewhere", 2)]
    later = engine.schedule_at("once", bench.clock.now() + MINUTE)
    with Ear(engine.namespace) as ear:
        verdicts = engine.jobs.cancel(jobs[0], jobs[1].id, str(later.id))
    assert verdicts == (CancelVerdict.CANCELLED,) * 3
    assert ear.jobs == [("job_cancelled", "CANCELLED")] * 3
    assert ear.of("job_cancelled")[0]["job"] == jobs[0].with_status(JobStatus.CANCELLED)
    assert [engine.jobs.get(job) for job in (*jobs, later)] == [None] * 3
    assert bench.counts(engine).unfinished == bench.counts(engine).future == 0
    engine.start_workers(1, ["spinach", "other"], stop_when_queue_empty=True)
    assert gate.runs == []


def test_each_cancel_is_answered_in_order(engine: Engine) -> None:
    job = engine.schedule("once")
    verdicts = engine.jobs.cancel(uuid.uuid4(), job, job, job.id)
    assert verdicts == (
        CancelVerdict.UNKNOWN,
        CancelVerdict.CANCELLED,
        CancelVerdict.FINISHED,
        CancelVerdict.UNKNOWN,
    )
    assert engine.jobs.cancel() == ()


def test_nothing_is_cancelled_where_one_is_no_job(engine: Engine) -> None:
    job = engine.schedule("once")
    with pytest.raises(InvalidArgument):
        engine.jobs.cancel(job, "x")
    assert there(engine, job).status is JobStatus.QUEUED


def test_failed_job_is_finished_and_stays(engine: Engine, bench: Bench) -> None:
    job = engine.schedule("fails")
    engine.start_workers(1, block=False)
    bench.advance(MINUTE)
    engine.stop_workers()
    assert engine.jobs.cancel(job, job.id) == (CancelVerdict.FINISHED,) * 2
    assert there(engine, job).status is JobStatus.FAILED


@pytest.mark.timeout(60)
def test_worker_hears_of_a_cancel_with_its_next_beat(
    engine: Engine, bench: Bench, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, str]] = []
    request = InFlight.request_cancel

    def listen(self: InFlight, pairs: Any) -> None:
        heard.extend(pairs)
        request(self, pairs)

    monkeypatch.setattr(InFlight, "request_cancel", listen)
    job = engine.schedule("held.open")
    engine.start_workers(1, block=False)
    wait_for(gate.began)
    bench.busy = 1
    assert engine.jobs.cancel(job) == (CancelVerdict.REQUESTED,)
    assert there(engine, job).cancel_requested
    assert heard == []
    bench.advance(timedelta(seconds=10))
    assert [stored_id for stored_id, _ in heard] == [f"1{job.id}"]
    finish(bench, gate)
    engine.jobs.wait(job, timeout=timedelta(0))
    engine.stop_workers()
    assert bench.counts(engine).unfinished == 0


def test_cancel_of_a_job_that_never_came_is_forgotten_with_the_next_beat(
    engine: Engine, bench: Bench
) -> None:
    engine.start_workers(1, block=False)
    bench.settle()
    pool = engine._pool
    assert pool is not None
    pool._in_flight.request_cancel([("1x", "token")])
    assert pool._in_flight._cancel_early
    bench.advance(timedelta(seconds=10))
    # Else each later fetch would look for it in the whole buffer.
    assert not pool._in_flight._cancel_early


@pytest.mark.timeout(60)
def test_job_that_fails_after_its_cancel_is_not_retried(
    bench: Bench, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spinach.job")
    tasks = Tasks()

    @tasks.task(name="breaks", max_retries=5)
    def breaks() -> None:
        gate(1)
        raise OSError("cut")

    engine = bench.engine(tasks)
    job = engine.schedule("breaks")
    with Ear(engine.namespace) as ear:
        engine.start_workers(1, block=False)
        wait_for(gate.began)
        assert engine.jobs.cancel(job) == (CancelVerdict.REQUESTED,)
        finish(bench, gate)
        engine.jobs.wait(job, timeout=timedelta(0))
        bench.advance(MINUTE)
    assert gate.runs == [1]
    # The process heard of it by the answer to its report.
    assert ear.jobs[-1] == ("job_cancelled", "CANCELLED")
    assert ear.of("job_cancelled")[0]["job"].id == job.id
    assert f"Job cancelled, not sent back to its queue: breaks {job.id}" in caplog.messages


@pytest.mark.timeout(60)
def test_progress_of_a_running_job_goes_out_with_a_beat(
    engine: Engine, bench: Bench, gate: Gate
) -> None:
    job = engine.schedule("held.open")
    engine.start_workers(1, block=False)
    wait_for(gate.began)
    bench.busy = 1
    pool = engine._pool
    assert pool is not None
    [leased] = pool._in_flight._running.values()
    leased.progress = Progress(done=3, total=9, note="a third")
    assert there(engine, job).progress is None
    bench.advance(timedelta(seconds=10))
    assert there(engine, job).progress == Progress(done=3, total=9, note="a third")
    finish(bench, gate)
    engine.jobs.wait(job, timeout=timedelta(0))


# -- wait ------------------------------------------------------------------


@pytest.mark.timeout(60)
def test_wait_ends_when_all_are_over(engine: Engine, bench: Bench, gate: Gate) -> None:
    gate.go.set()
    jobs: list[Job | uuid.UUID] = [engine.schedule("once"), engine.schedule("fails").id]
    engine.start_workers(2, block=False)
    bench.advance(MINUTE)
    gone, failed = engine.jobs.wait(*jobs, timeout=timedelta(0))
    assert gone is None
    assert failed is not None
    assert (failed.status, failed.error) == (JobStatus.FAILED, "builtins.OSError")
    assert engine.jobs.wait(timeout=None) == ()


def test_wait_that_is_too_short_says_how_many_are_left(engine: Engine) -> None:
    jobs = [engine.schedule("once") for _ in range(2)]
    engine.jobs.cancel(jobs[0])
    with pytest.raises(WaitTimeout, match="1 of 2 jobs are not over after 0 seconds"):
        engine.jobs.wait(*jobs, timeout=timedelta(0))
    with pytest.raises(TimeoutError):
        engine.jobs.wait(*jobs, timeout=timedelta(0))


@pytest.mark.timeout(60)
def test_wait_looks_again_until_its_time_is_over(engine: Engine, bench: Bench) -> None:
    job = engine.schedule("once")
    looks: list[float] = []
    broker = bench.brokers[engine]
    find = broker.find_jobs

    def count(*args: Any) -> Any:
        looks.append(bench.clock.monotonic())
        return find(*args)

    broker.find_jobs = count  # type: ignore[method-assign]
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(WaitTimeout):
            engine.jobs.wait(job, timeout=timedelta(seconds=5))
        ended.set()

    began = bench.clock.monotonic()
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    while not ended.wait(0.001):
        bench.clock.advance(timedelta(milliseconds=10))
    thread.join(PATIENCE)
    # The pauses grow, to a second; at the end of the time it looks once more.
    assert 8 <= len(looks) <= 14
    assert looks[-1] - began >= 5


@pytest.mark.parametrize("timeout", [timedelta(seconds=-1), 5, "1"])
def test_wait_refuses_a_timeout_that_makes_no_sense(engine: Engine, timeout: Any) -> None:
    with pytest.raises(InvalidArgument, match="timeout is"):
        engine.jobs.wait(engine.schedule("once"), timeout=timeout)


@pytest.mark.timeout(60)
def test_wait_in_a_worker_thread_is_refused_with_the_way_out(bench: Bench) -> None:
    tasks = Tasks()
    caught: list[BaseException] = []
    looked: list[object] = []

    @tasks.task(name="waits")
    def waits() -> None:
        other = engine.schedule_at("waits", bench.clock.now() + MINUTE)
        try:
            engine.jobs.wait(other, timeout=None)
        except WaitInWorker as exc:
            caught.append(exc)
        try:
            engine.jobs.wait(other, timeout=timedelta(0))
        except WaitTimeout:
            looked.append(other)

    engine = bench.engine(tasks)
    engine.schedule("waits")
    engine.start_workers(1, stop_when_queue_empty=True)
    [error] = caught
    assert "jobs.wait() would wait in" in str(error)
    assert "schedules the job that goes on" in str(error)
    assert len(looked) == 1
