"""Drains, time that passes, stops and crashes: production workers inside one call."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from spinach import JobStatus, Tasks, signals
from spinach.exc import InvalidArgument, WorkersRunning
from spinach_memory import MemoryBroker
from spinach_testing import DrainTimeout, UnfinishedJobs

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

tasks = Tasks()
done: list[str] = []
#: What a test puts here runs inside the task `call`.
inside: dict[str, object] = {}


@tasks.task(name="add")
def add(name):
    done.append(name)


@tasks.task(name="chain", max_retries=3)
def chain(left):
    done.append(f"chain {left}")
    if left:
        tasks.schedule(chain, left - 1)


@tasks.task(name="endless")
def endless():
    tasks.schedule(endless)


@tasks.task(name="flaky", max_retries=3)
def flaky():
    done.append("flaky")
    if done.count("flaky") < 3:
        raise ConnectionError("no answer")


@tasks.task(name="call")
def call_inside():
    inside["result"] = inside["call"]()


@tasks.task(name="hourly", periodicity=HOUR, queue="clockwork")
def hourly():
    done.append("hourly")


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


def threads_of(engine):
    return [t.name for t in threading.enumerate() if t.name.startswith(engine.namespace)]


# -- drain -----------------------------------------------------------------------


def test_a_drain_serves_every_queue_and_what_jobs_schedule(spinach_worker):
    tasks.schedule(chain, 3)
    tasks.schedule(limited, "limited")
    spinach_worker.drain()
    assert sorted(done) == ["chain 0", "chain 1", "chain 2", "chain 3", "limited"]


def test_threads_live_only_inside_a_call_and_are_as_many_as_asked_for(
    spinach_worker, spinach_engine
):
    inside["call"] = lambda: threads_of(spinach_engine)
    tasks.schedule("call")
    spinach_worker.drain(workers=2)
    assert sorted(name.removeprefix(spinach_engine.namespace) for name in inside["result"]) == [
        "-arbiter", "-result-notifier", "-subscriber", "-worker-1", "-worker-2",
    ]  # fmt: skip
    assert threads_of(spinach_engine) == []


def test_a_drain_without_any_task_has_nothing_to_do(spinach_worker, spinach_engine):
    spinach_engine.detach_tasks(tasks)
    assert spinach_worker.drain() == []
    spinach_engine.attach_tasks(tasks)


def test_jobs_of_unknown_tasks_wait_for_a_release_that_knows_them(
    spinach_worker, spinach_engine, spinach_jobs
):
    new = Tasks()
    new.add(done.append, name="new")
    spinach_engine.attach_tasks(new)
    spinach_engine.schedule("new", "by the new release")
    spinach_engine.detach_tasks(new)
    spinach_worker.drain()
    assert done == []
    assert "new('by the new release')  QUEUED  attempt 1  parked" in repr(spinach_jobs)

    spinach_engine.attach_tasks(new)
    spinach_worker.drain()
    assert done == ["by the new release"]
    spinach_engine.detach_tasks(new)


def test_a_hang_ends_with_the_jobs_and_the_stacks_of_their_threads(
    spinach_worker, spinach_engine, spinach_jobs
):
    gate = threading.Event()
    inside["call"] = gate.wait
    job = tasks.schedule("call")
    try:
        with pytest.raises(DrainTimeout) as raised:
            spinach_worker.drain(workers=1, timeout=0.2)
    finally:
        gate.set()
    lines = str(raised.value).splitlines()
    assert lines[0] == "Jobs were not done after 0.2 s. Running:"
    assert lines[1] == f"call() {job.id}, attempt 1, in {spinach_engine.namespace}-worker-1:"
    assert 'inside["result"] = inside["call"]()' in str(raised.value)
    assert "It sleeps" not in str(raised.value)
    assert lines[-2:] == ["Not done:", "  call()  RUNNING  attempt 1"]


def test_a_hang_in_a_sleep_says_that_sleep_takes_real_time(spinach_worker):
    lock = threading.Lock()
    lock.acquire()
    sleep = lock.acquire  # built in like time.sleep, and the test can end it
    inside["call"] = lambda: sleep()
    tasks.schedule("call")
    try:
        with pytest.raises(DrainTimeout) as raised:
            spinach_worker.drain(workers=1, timeout=0.2)
    finally:
        lock.release()
    assert (
        "  It sleeps, and sleep takes real time: only the engine's own waits are virtual. Let the "
        "task raise RetryException(at=...) instead, or replace the sleep in the test.\n"
    ) in str(raised.value)


def test_a_drain_inside_a_task_is_refused(spinach_worker):
    inside["call"] = spinach_worker.drain
    tasks.schedule("call")
    with pytest.raises(WorkersRunning) as raised:
        spinach_worker.drain()
    assert str(raised.value) == (
        "drain() was called inside a task. The call that is going on runs what tasks schedule "
        "as well; leave this one out."
    )


def test_time_cannot_be_turned_inside_a_task(spinach_worker, spinach_clock):
    for turn in (spinach_worker.advance, spinach_clock.advance):
        inside["call"] = lambda turn=turn: turn(HOUR)
        tasks.schedule("call")
        with pytest.raises(WorkersRunning, match="inside a task"):
            spinach_worker.drain()
    spinach_clock.advance(HOUR)


def test_a_drain_beside_workers_of_the_test_itself_is_refused(spinach_worker, spinach_engine):
    spinach_engine.start_workers(1, block=False)
    with pytest.raises(WorkersRunning, match="its workers run"):
        spinach_worker.drain()
    spinach_engine.stop_workers()


def test_a_drain_can_be_called_from_another_thread(spinach_worker):
    tasks.schedule(add, "a")
    thread = threading.Thread(target=spinach_worker.drain)
    thread.start()
    thread.join(20)
    assert done == ["a"]


# -- advance ---------------------------------------------------------------------


def test_time_stops_at_each_event_on_the_way(spinach_worker, spinach_clock, spinach_engine):
    start, seen = spinach_clock.now(), []
    inside["call"] = lambda: seen.append(spinach_clock.now() - start)
    for hours in (5, 1, 3):
        spinach_engine.schedule_at("call", start + hours * HOUR)
    spinach_worker.advance(4.5 * HOUR)
    assert seen == [HOUR, 3 * HOUR]
    assert done == ["hourly"] * 4
    assert spinach_clock.now() == start + 4.5 * HOUR


def test_workers_stay_up_through_one_advance(spinach_worker):
    names = []
    with signals.worker_started.connected_to(lambda _, worker_name: names.append(worker_name)):
        spinach_worker.advance(12 * HOUR, workers=2)
    assert len(names) == 2
    assert done == ["hourly"] * 12


@pytest.mark.parametrize("span", [5, -SECOND, None, 1.5])
def test_only_spans_that_are_not_negative_pass(spinach_worker, span):
    with pytest.raises(InvalidArgument) as raised:
        spinach_worker.advance(span)
    assert str(raised.value) == (
        f"Cannot advance the clock by {span!r}, expected a timedelta that is not negative. "
        "Write advance(timedelta(minutes=5))."
    )


class TestOnTheMachinesClock:
    @pytest.fixture
    def spinach_broker(self):
        return MemoryBroker()

    def test_jobs_are_drained_but_time_cannot_be_turned(self, spinach_worker):
        tasks.schedule(add, "a")
        spinach_worker.drain()
        assert done == ["a"]
        with pytest.raises(InvalidArgument, match="Build it with clock=spinach_clock"):
            spinach_worker.advance(HOUR)


# -- run_until_finished --------------------------------------------------------


def test_all_retries_are_made_and_all_future_jobs_run(
    spinach_worker, spinach_engine, spinach_clock, spinach_jobs
):
    spinach_engine.schedule_at(add, spinach_clock.now() + timedelta(days=30), "late")
    tasks.schedule(flaky)
    errors = spinach_worker.run_until_finished(on_failure="collect")
    assert [str(err) for err in errors] == ["no answer"] * 2
    assert {job.status for job in spinach_jobs.all()} == {JobStatus.SUCCEEDED}
    # Periodic tasks ran meanwhile, and alone keep nothing going.
    assert done.count("hourly") == 30 * 24


def test_jobs_that_make_ever_more_jobs_are_an_error(spinach_worker):
    tasks.schedule(endless)
    with pytest.raises(UnfinishedJobs, match="max_jobs attempts were made"):
        spinach_worker.run_until_finished(max_jobs=20)


def test_jobs_that_lie_too_far_ahead_are_an_error(spinach_worker, spinach_engine, spinach_clock):
    spinach_engine.schedule_at(add, spinach_clock.now() + timedelta(days=3), "late")
    with pytest.raises(UnfinishedJobs) as raised:
        spinach_worker.run_until_finished(max_virtual=timedelta(days=1))
    assert str(raised.value) == (
        "Jobs are left after 1 day, 0:00:00. Not done:\n"
        "  add('late')  WAITING  attempt 1  due in 2 days, 0:00:00"
    )


@pytest.mark.parametrize("limits", [{"max_jobs": 0}, {"max_virtual": 5}, {"max_jobs": "many"}])
def test_limits_that_make_no_sense_are_refused(spinach_worker, limits):
    with pytest.raises(InvalidArgument):
        spinach_worker.run_until_finished(**limits)


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


def test_a_function_that_hangs_cannot_crash(spinach_worker):
    gate = threading.Event()
    inside["call"] = gate.wait
    job = tasks.schedule("call")
    try:
        with pytest.raises(DrainTimeout, match="inside"):
            spinach_worker.crash(job, timeout=0.2)
    finally:
        gate.set()


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


def test_a_crash_is_given_a_job_and_a_moment(spinach_worker, spinach_engine):
    job = tasks.schedule(add, "a")
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
