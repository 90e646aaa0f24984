"""Drains, time that passes, stops and crashes: production workers inside one call."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from spinach import JobStatus, Tasks, signals
from spinach.clock import SystemClock
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


@pytest.mark.concurrency
def test_a_task_that_stops_the_workers_ends_the_call_at_once(spinach_worker, spinach_engine):
    inside["call"] = spinach_engine.stop_workers
    tasks.schedule("call")
    with pytest.raises(UnfinishedJobs) as raised:
        spinach_worker.drain(timeout=50, workers=1)
    assert str(raised.value) == (
        "The workers were stopped meanwhile, by a task or a thread that called "
        "engine.stop_workers(). Not done:\n  none"
    )

    spinach_engine.schedule_at(add, spinach_worker._recording.broker.clock.now() + HOUR, "late")
    tasks.schedule("call")
    with pytest.raises(UnfinishedJobs, match=r"add\('late'\)  WAITING"):
        spinach_worker.run_until_finished(timeout=50)
    spinach_worker.advance(HOUR)
    assert "late" in done


def test_workers_that_are_gone_before_the_call_sees_them_end_it_at_once(
    spinach_worker, spinach_engine, monkeypatch
):
    start = spinach_engine.start_workers

    def start_and_wait(*args, **kwargs):
        start(*args, **kwargs)
        spinach_engine._pool.join()

    monkeypatch.setattr(spinach_engine, "start_workers", start_and_wait)
    inside["call"] = spinach_engine.stop_workers
    tasks.schedule("call")
    with pytest.raises(UnfinishedJobs, match="The workers were stopped meanwhile"):
        spinach_worker.drain(timeout=20)


def test_a_thread_of_the_engine_that_dies_ends_the_call_at_once(
    spinach_worker, spinach_engine, monkeypatch
):
    def broken(outcomes):
        raise ZeroDivisionError("out of order")

    monkeypatch.setattr(spinach_engine._broker.inner, "report", broken)
    tasks.schedule(add, "a")
    with pytest.raises(
        UnfinishedJobs, match=r"because a thread of the engine died of ZeroDivisionError\('out of"
    ) as raised:
        spinach_worker.drain(timeout=50)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


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


def test_a_job_is_due_when_a_part_of_a_millisecond_has_passed(
    spinach_worker, spinach_clock, spinach_engine
):
    start, part = spinach_clock.now(), timedelta(microseconds=1500)
    spinach_engine.schedule_at(add, start + part, "a")
    spinach_worker.advance(part)
    assert done == ["a"]
    assert spinach_clock.now() == start + timedelta(milliseconds=2)


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


def test_a_daily_task_runs_each_day_of_a_year(
    spinach_worker, spinach_engine, spinach_clock, spinach_jobs
):
    calendar, start = Tasks(), spinach_clock.now()
    calendar.add(
        lambda: done.append(spinach_clock.now() - start), name="daily", periodicity=24 * HOUR
    )
    spinach_engine.detach_tasks(tasks)
    spinach_engine.attach_tasks(calendar)
    spinach_worker.advance(timedelta(days=365))
    assert done == [timedelta(days=day) for day in range(1, 366)]
    assert spinach_clock.now() - start == timedelta(days=365)
    assert {job.status for job in spinach_jobs.all("daily")} == {JobStatus.SUCCEEDED}


def test_no_wait_of_real_time_has_to_end_for_virtual_time_to_pass(spinach_worker, monkeypatch):
    # A test of many virtual days would be slow by as many of them.
    def wait_until_notified(self, condition, timeout_seconds):
        return condition.wait()

    monkeypatch.setattr(SystemClock, "wait", wait_until_notified)
    tasks.schedule(chain, 3)
    spinach_worker.drain()
    spinach_worker.advance(3 * HOUR)
    assert done.count("hourly") == 3
    assert "chain 0" in done


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
