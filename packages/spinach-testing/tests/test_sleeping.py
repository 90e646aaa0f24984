"""Tasks that let virtual time pass while they run: time limits in milliseconds."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from spinach import JobStatus, Tasks, current_job, signals
from spinach.exc import InvalidArgument, JobCancelled, WorkersRunning
from spinach_testing import DrainTimeout, VirtualClock
from spinach_testing.live_clock import LiveClock

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def engine_with(spinach_engine, **options):
    """Register a task for a test."""
    tasks = Tasks()
    spinach_engine.attach_tasks(tasks)
    return tasks.task(**options)


def test_a_task_that_sleeps_lets_time_pass_and_keeps_its_lease(
    spinach_engine, spinach_clock, spinach_worker
):
    slept = []

    @engine_with(spinach_engine, name="long")
    def long():
        before = spinach_clock.now()
        spinach_clock.sleep(3 * HOUR)
        slept.append(spinach_clock.now() - before)

    job = spinach_engine.schedule(long)
    spinach_worker.drain()
    assert slept == [3 * HOUR]
    assert spinach_engine.jobs.get(job) is None


def test_what_is_due_meanwhile_runs_meanwhile(spinach_engine, spinach_clock, spinach_worker):
    order = []

    @engine_with(spinach_engine, name="long")
    def long():
        spinach_clock.sleep(60 * SECOND)
        order.append("long")

    @engine_with(spinach_engine, name="note")
    def note():
        order.append("note")

    spinach_engine.schedule(long)
    spinach_engine.schedule_at(note, spinach_clock.now() + 30 * SECOND)
    spinach_worker.drain()
    assert order == ["note", "long"]


def test_tasks_may_sleep_at_once(spinach_engine, spinach_clock, spinach_worker):
    woke = []
    both = threading.Barrier(2)

    @engine_with(spinach_engine, name="sleep")
    def sleep(seconds):
        both.wait(10)
        spinach_clock.sleep(seconds * SECOND)
        woke.append(seconds)

    start = spinach_clock.now()
    for seconds in (20, 5):
        spinach_engine.schedule(sleep, seconds)
    spinach_worker.drain(workers=2)
    assert woke == [5, 20]
    assert spinach_clock.now() - start <= 25 * SECOND


@pytest.mark.parametrize(("seconds", "in_time"), [(4.9, True), (5, False)])
def test_a_time_limit_takes_no_real_time(
    spinach_engine, spinach_clock, spinach_worker, spinach_jobs, seconds, in_time
):
    overdue = []

    @engine_with(spinach_engine, name="import", time_limit=5 * SECOND)
    def import_rows():
        spinach_clock.sleep(seconds * SECOND)
        current_job().check()

    def hear(_, job, **__):
        overdue.append(job.id)

    job = spinach_engine.schedule(import_rows)
    with signals.job_overdue.connected_to(hear):
        if in_time:
            spinach_worker.drain()
        else:
            with spinach_jobs.expect_failure(import_rows, JobCancelled):
                spinach_worker.drain()
    assert overdue == ([] if in_time else [job.id])
    [seen] = spinach_jobs.all()
    assert seen.status is (JobStatus.SUCCEEDED if in_time else JobStatus.FAILED)


def test_a_cancel_is_heard_of_with_the_next_beat(
    spinach_engine, spinach_clock, spinach_worker, spinach_jobs
):
    rows = []

    @engine_with(spinach_engine, name="import", max_retries=3)
    def import_rows():
        spinach_engine.jobs.cancel(current_job().id)
        while True:
            current_job().check()
            rows.append(1)
            spinach_clock.sleep(SECOND)

    spinach_engine.schedule(import_rows)
    spinach_worker.drain()
    assert 1 <= len(rows) <= 11
    assert spinach_jobs.one().status is JobStatus.CANCELLED


@pytest.mark.concurrency
def test_a_beat_that_is_due_when_a_task_wakes_comes_before_it(
    spinach_engine, spinach_clock, spinach_worker, spinach_jobs
):
    heard = []

    @engine_with(spinach_engine, name="import")
    def import_rows():
        spinach_engine.jobs.cancel(current_job().id)
        spinach_clock.sleep(10 * SECOND)
        heard.append(current_job().cancelled)

    for _ in range(10):
        spinach_engine.schedule(import_rows)
        spinach_worker.drain(workers=1)
    assert heard == [True] * 10


def test_a_job_that_begins_when_another_wakes_may_wait_for_it(
    spinach_engine, spinach_clock, spinach_worker
):
    woke, heard = threading.Event(), []

    @engine_with(spinach_engine, name="sleep")
    def sleep():
        spinach_clock.sleep(10 * SECOND)
        woke.set()

    @engine_with(spinach_engine, name="listen")
    def listen():
        heard.append(woke.wait(20))

    spinach_engine.schedule_at(listen, spinach_clock.now() + 10 * SECOND)
    spinach_engine.schedule(sleep)
    spinach_worker.drain()
    assert heard == [True]


def test_a_task_that_sleeps_beyond_the_timeout_is_named_and_ends(
    spinach_engine, spinach_clock, spinach_worker
):
    ended = threading.Event()
    busy = threading.Event()

    @engine_with(spinach_engine, name="busy")
    def work():
        busy.wait(20)

    @engine_with(spinach_engine, name="sleep")
    def sleep():
        # The other one never waits, so the clock cannot be turned.
        with pytest.raises(WorkersRunning, match="Give the call a longer timeout="):
            spinach_clock.sleep(HOUR)
        ended.set()

    spinach_engine.schedule(work)
    spinach_engine.schedule(sleep)
    with pytest.raises(DrainTimeout, match=r"sleep\(\)"):
        spinach_worker.drain(timeout=0.3, workers=2)
    assert ended.wait(10)
    busy.set()


def test_the_report_of_a_hang_tells_the_progress(spinach_engine, spinach_worker):
    held = threading.Event()

    @engine_with(spinach_engine, name="resize")
    def resize():
        current_job().progress(3, 7, note="c.jpg")
        held.wait(20)

    spinach_engine.schedule(resize)
    with pytest.raises(DrainTimeout, match=r", attempt 1, progress 3 of 7 \(c\.jpg\), in "):
        spinach_worker.drain(timeout=0.2)
    held.set()


def test_outside_a_task_it_turns_the_clock():
    clock = VirtualClock()
    before = clock.now()
    clock.sleep(HOUR)
    assert (clock.now() - before, clock.elapsed) == (HOUR, HOUR)


@pytest.mark.parametrize("span", [5, -SECOND, None])
def test_it_takes_what_advance_takes(span):
    with pytest.raises(InvalidArgument, match="expected a timedelta"):
        VirtualClock().sleep(span)


def test_on_the_clock_of_the_machine_it_takes_real_time():
    clock = LiveClock()
    before = clock.now()
    clock.sleep(timedelta(milliseconds=5))
    assert clock.now() - before >= timedelta(milliseconds=5)
