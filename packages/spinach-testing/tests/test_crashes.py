"""Workers that die over a job, and workers that are stopped while they run some."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from spinach import Batch, JobStatus, Tasks
from spinach.exc import InvalidArgument, UnknownTask, WorkersRunning
from spinach_memory import MemoryBroker
from spinach_testing import DrainTimeout

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

tasks = Tasks()
done: list[str] = []
#: What a test puts here runs inside the tasks `call` and `recall`.
inside: dict[str, object] = {}


@tasks.task(name="add")
def add(name):
    done.append(name)


@tasks.task(name="chain", max_retries=3)
def chain(left):
    done.append(f"chain {left}")


@tasks.task(name="flaky", max_retries=3)
def flaky():
    raise ConnectionError("no answer")


@tasks.task(name="broken")
def broken():
    raise ConnectionError("no answer")


@tasks.task(name="call")
def call_inside():
    inside["call"]()


@tasks.task(name="recall", max_retries=3)
def recall():
    inside["call"]()


@tasks.task(name="limited", max_concurrency=1)
def limited(name):
    done.append(name)


@pytest.fixture(scope="module")
def spinach_tasks():
    return [tasks]


@pytest.fixture(autouse=True)
def clean():
    done.clear()
    inside.clear()


# -- crash -----------------------------------------------------------------------


def test_a_crash_after_the_effect_runs_an_at_least_once_job_twice(
    spinach_worker, spinach_jobs, spinach_clock
):
    start = spinach_clock.now()
    job = tasks.schedule(chain, 0)
    after = spinach_worker.crash(job)
    assert (after.status, after.attempt) == (JobStatus.WAITING, 2)
    assert done == ["chain 0"]
    assert 30 * SECOND < spinach_clock.now() - start <= 50 * SECOND
    spinach_worker.run_until_finished()
    assert done == ["chain 0"] * 2
    assert spinach_jobs.one(chain).status is JobStatus.SUCCEEDED


def test_a_crash_before_the_start_runs_it_once(spinach_worker):
    job = tasks.schedule(chain, 0)
    spinach_worker.crash(job, "before_start")
    assert done == []
    spinach_worker.run_until_finished()
    assert done == ["chain 0"]


@pytest.mark.parametrize("when", ["after_effect", "before_start"])
def test_a_crash_fails_an_at_most_once_job_for_good(spinach_worker, spinach_engine, when):
    job = tasks.schedule(add, "a")
    assert spinach_worker.crash(job, when).status is JobStatus.FAILED
    assert done == (["a"] if when == "after_effect" else [])
    spinach_worker.run_until_finished()
    assert len(done) <= 1
    (failure,) = spinach_engine.failed.list()
    assert failure.error == "spinach.exc.WorkerLost"


def test_jobs_before_and_after_the_one_that_crashes_run_in_order(spinach_worker):
    tasks.schedule(add, "first")
    job = tasks.schedule(chain, 0)
    tasks.schedule(add, "last")
    spinach_worker.crash(job, "before_start", workers=1)
    assert done == ["first", "last"]


def test_a_job_that_loses_three_workers_is_poison(spinach_worker, spinach_clock):
    job = tasks.schedule(chain, 0)
    states = []
    for _ in range(3):
        states.append(spinach_worker.crash(job, "before_start").status)
        spinach_clock.advance(HOUR)
    assert states == [JobStatus.WAITING, JobStatus.WAITING, JobStatus.FAILED]


def test_a_job_that_crashes_gives_its_slot_back(spinach_worker):
    job = tasks.schedule(limited, "a")
    tasks.schedule(limited, "b")
    spinach_worker.crash(job, "before_start")
    spinach_worker.drain()
    assert done == ["b"]


def test_what_the_function_raises_before_the_crash_is_told(spinach_worker):
    job = tasks.schedule(flaky)
    with pytest.raises(ConnectionError, match="no answer"):
        spinach_worker.crash(job)


def test_what_a_crash_leaves_is_told_by_the_next_call(spinach_worker):
    for tell in (spinach_worker.drain, spinach_worker.run_until_finished):
        after = spinach_worker.crash(tasks.schedule(broken), on_failure="collect")
        assert after.status is JobStatus.FAILED
        (err,) = tell(on_failure="collect")
        assert err.__notes__ == ["raised by job broken(), attempt 1"]
        assert tell() == []
    tasks.schedule(broken)
    spinach_worker.crash(tasks.schedule(broken), on_failure="collect")
    with pytest.raises(ExceptionGroup, match="2 attempts raised"):
        spinach_worker.drain()


def test_what_a_crash_leaves_can_be_expected(spinach_worker, spinach_jobs):
    job = tasks.schedule(broken)
    with spinach_jobs.expect_failure(broken, ConnectionError) as failed:
        spinach_worker.crash(job, on_failure="collect")
    assert failed.job.id == job.id
    spinach_worker.crash(tasks.schedule(broken), on_failure="collect")
    with spinach_jobs.expect_failure(broken, ConnectionError) as failed:
        pass
    assert len(failed.values) == 1


def test_time_cannot_be_turned_inside_the_attempt_that_crashes(spinach_worker, spinach_clock):
    start, refused = spinach_clock.now(), []

    def turn():
        for advance in (spinach_clock.advance, spinach_worker.advance):
            with pytest.raises(WorkersRunning, match="inside a task") as raised:
                advance(HOUR)
            refused.append(raised.value)
        assert spinach_clock.now() == start

    inside["call"] = turn
    spinach_worker.crash(tasks.schedule("call"))
    assert len(refused) == 2
    spinach_clock.advance(HOUR)


@pytest.mark.parametrize("seconds", [0.001, 1.7, 5, 9.9, 10, 12, 29, 35])
def test_a_job_that_falls_due_after_a_crash_runs_although_the_timekeeper_is_dead(
    spinach_worker, spinach_engine, spinach_clock, seconds
):
    spinach_engine.schedule_at(add, spinach_clock.now() + seconds * SECOND, "due")
    spinach_worker.crash(tasks.schedule(chain, 0), "before_start")
    spinach_worker.run_until_finished()
    assert sorted(done) == ["chain 0", "due"]


def test_jobs_crash_one_after_the_other(spinach_worker):
    for _ in range(4):
        spinach_worker.crash(tasks.schedule(chain, 0), "before_start")
    spinach_worker.run_until_finished()
    assert done == ["chain 0"] * 4


def test_a_function_that_hangs_cannot_crash(spinach_worker):
    gate = threading.Event()
    inside["call"] = gate.wait
    job = tasks.schedule("call")
    try:
        with pytest.raises(DrainTimeout, match="inside"):
            spinach_worker.crash(job, timeout=0.2)
    finally:
        gate.set()


@pytest.mark.parametrize("ends", [True, False])
def test_a_crash_that_hung_does_not_hold_later_calls_up(spinach_worker, spinach_jobs, ends):
    gate = threading.Event()
    inside["call"] = gate.wait
    job = tasks.schedule(recall)
    try:
        with pytest.raises(DrainTimeout, match="The job to crash over was not done after"):
            spinach_worker.crash(job, timeout=0.2)
        if ends:
            gate.set()
        tasks.schedule(add, "meanwhile")
        spinach_worker.drain()
        assert done == ["meanwhile"]
        assert spinach_jobs.one(recall).status is JobStatus.RUNNING
        inside["call"] = lambda: done.append("again")
        spinach_worker.run_until_finished()
    finally:
        gate.set()
    assert done == ["meanwhile", "again"]
    assert spinach_jobs.one(recall).status is JobStatus.SUCCEEDED


def test_a_job_that_is_not_ready_cannot_crash(spinach_worker, spinach_engine, spinach_clock):
    future = spinach_engine.schedule_at(add, spinach_clock.now() + HOUR, "later")
    with pytest.raises(InvalidArgument) as raised:
        spinach_worker.crash(future)
    assert str(raised.value) == (
        "Cannot crash over a job that is not ready: add('later')  WAITING  attempt 1  due in "
        "1:00:00. Turn the clock until it is due, and do not drain before."
    )
    spinach_clock.advance(HOUR)
    assert spinach_worker.crash(future).status is JobStatus.FAILED


def test_a_job_that_a_limit_holds_back_cannot_crash(spinach_worker, spinach_jobs):
    first, second = (tasks.schedule(limited, name) for name in "ab")
    with pytest.raises(InvalidArgument) as raised:
        spinach_worker.crash(second)
    assert str(raised.value) == (
        "Cannot crash over a job that is held back by the limit of its task, max_concurrency=1: "
        "limited('b')  QUEUED  attempt 1  due now. Jobs of the task that come before it take all "
        "the room. Crash over the first of them, or run them before you schedule this one."
    )
    assert spinach_worker.crash(first).status is JobStatus.FAILED
    spinach_worker.drain()
    assert done == ["a", "b"]
    assert spinach_jobs.all(limited)[1].status is JobStatus.SUCCEEDED


def test_a_job_behind_many_that_a_limit_holds_back_can_crash(spinach_worker, spinach_engine):
    batch = Batch()
    for number in range(1300):
        batch.schedule(limited, number)
    spinach_engine.schedule_batch(batch)
    job = tasks.schedule(add, "last")
    assert spinach_worker.crash(job, "before_start").status is JobStatus.FAILED


def test_a_job_that_the_limit_does_not_hold_back_is_not_said_to_be(
    spinach_worker, spinach_engine, spinach_clock
):
    job = tasks.schedule(limited, "a")
    elsewhere = MemoryBroker(clock=spinach_clock)
    with (
        spinach_engine.using_broker(elsewhere),
        pytest.raises(InvalidArgument, match="that its queue does not hand out: limited"),
    ):
        spinach_worker.crash(job)


@pytest.mark.parametrize("when", ["after_effect", "before_start"])
def test_a_job_whose_task_was_detached_cannot_crash_and_is_left_alone(
    spinach_worker, spinach_engine, spinach_jobs, when
):
    job = tasks.schedule(chain, 0)
    spinach_engine.detach_tasks(tasks)
    with pytest.raises(UnknownTask, match="chain"):
        spinach_worker.crash(job, when)
    spinach_engine.attach_tasks(tasks)
    assert spinach_jobs.one().status is JobStatus.QUEUED
    spinach_worker.drain()
    assert (done, spinach_jobs.one().attempt) == (["chain 0"], 1)


def test_a_crash_is_given_a_job_and_a_moment(spinach_worker, spinach_engine):
    job = tasks.schedule(add, "a")
    for other in (None, job.id, "add"):
        with pytest.raises(InvalidArgument, match=r"Pass what schedule\(\) returned"):
            spinach_worker.crash(other)
    with pytest.raises(InvalidArgument, match='expected "after_effect" or "before_start"'):
        spinach_worker.crash(job, "sometimes")
    spinach_worker.drain()
    with pytest.raises(InvalidArgument, match="SUCCEEDED"):
        spinach_worker.crash(job)


# -- stop_gracefully -----------------------------------------------------------


def test_a_graceful_stop_lets_running_jobs_end_and_leaves_the_rest(spinach_worker, spinach_jobs):
    for name in "abcde":
        tasks.schedule(add, name)
    assert spinach_worker.stop_gracefully(after=2) == []
    assert sorted(done) == ["a", "b"]
    assert [(job.status, job.attempt) for job in spinach_jobs.all(add)] == [
        *[(JobStatus.SUCCEEDED, 1)] * 2,
        *[(JobStatus.QUEUED, 1)] * 3,
    ]
    spinach_worker.drain(workers=1)
    assert done[2:] == ["c", "d", "e"]


def test_what_was_fetched_for_later_goes_back_without_an_attempt(spinach_worker, spinach_jobs):
    for left in range(20):
        tasks.schedule(chain, 0)
        del left
    spinach_worker.stop_gracefully()
    assert done == ["chain 0"]
    assert [job.attempt for job in spinach_jobs.all(status=JobStatus.QUEUED)] == [1] * 19


def test_jobs_that_do_not_end_are_named_by_a_graceful_stop(spinach_worker):
    gate = threading.Event()
    inside["call"] = gate.wait
    tasks.schedule("call")
    try:
        with pytest.raises(DrainTimeout, match="inside"):
            spinach_worker.stop_gracefully(timeout=0.2)
    finally:
        gate.set()


def test_a_graceful_stop_needs_as_many_jobs_as_it_is_to_come_after(spinach_worker):
    tasks.schedule(add, "a")
    with pytest.raises(InvalidArgument) as raised:
        spinach_worker.stop_gracefully(after=2)
    assert str(raised.value) == (
        "Cannot stop after 2 jobs have started: only 1 can run at this time. Jobs:\n"
        "  add('a')  RUNNING  attempt 1"
    )
    for after in (0, "one"):
        with pytest.raises(InvalidArgument, match="after is"):
            spinach_worker.stop_gracefully(after)
