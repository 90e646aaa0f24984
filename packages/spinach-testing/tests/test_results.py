"""Results in tests: with the clock of the test, and without a wait in real time."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from spinach import Tasks
from spinach.exc import JobFailed, ResultExpired, ResultTimeout
from spinach_testing import DrainTimeout, UnfinishedJobs

HOUR = timedelta(hours=1)

tasks = Tasks(keep_result=HOUR)
started, released = threading.Event(), threading.Event()


@tasks.task(name="add")
def add(a: int, b: int) -> int:
    return a + b


@tasks.task(name="flaky", max_retries=1)
def flaky() -> None:
    raise ConnectionError("no answer")


@tasks.task(name="hangs")
def hangs() -> None:
    started.set()
    released.wait(30)


@pytest.fixture(scope="module")
def spinach_tasks():
    return [tasks]


def test_result_is_there_after_the_worker_ran(spinach_engine, spinach_worker):
    jobs = [spinach_engine.schedule(add, n, n) for n in range(3)]
    spinach_worker.drain()
    assert spinach_engine.result(jobs[1], timeout=None) == 2
    assert spinach_engine.results(jobs, timeout=HOUR) == [0, 2, 4]


def test_wait_between_calls_of_the_worker_takes_virtual_time_only(spinach_engine, spinach_clock):
    job = spinach_engine.schedule(add, 1, 2)
    before = spinach_clock.now()
    with pytest.raises(ResultTimeout, match="has not ended after 3600 s"):
        spinach_engine.result(job, timeout=HOUR)
    assert spinach_clock.now() - before == HOUR


def test_wait_for_ever_names_the_way_out(spinach_engine):
    job = spinach_engine.schedule(add, 1, 2)
    with pytest.raises(UnfinishedJobs, match=r"Call spinach_worker.drain\(\) before you wait"):
        spinach_engine.result(job, timeout=None)


def test_result_is_kept_in_virtual_time(spinach_engine, spinach_worker):
    job = spinach_engine.schedule(add, 1, 2)
    spinach_worker.drain()
    spinach_worker.advance(HOUR / 2)
    assert spinach_engine.result(job, timeout=None) == 3
    spinach_worker.advance(HOUR / 2)
    with pytest.raises(ResultExpired, match="is not kept any more"):
        spinach_engine.result(job, timeout=None)


def test_failure_is_told_with_error_and_traceback(spinach_engine, spinach_worker, spinach_jobs):
    job = spinach_engine.schedule(flaky)
    with spinach_jobs.expect_failure(flaky, ConnectionError, count=2):
        spinach_worker.run_until_finished()
    with pytest.raises(JobFailed, match="no answer") as told:
        spinach_engine.result(job, timeout=None)
    assert told.value.error == "builtins.ConnectionError"
    assert told.value.message == "no answer"
    assert 'raise ConnectionError("no answer")' in told.value.traceback
    assert told.value.job_id == job.id


def test_live_worker_answers_in_real_time(spinach_engine, spinach_live_worker):
    assert spinach_engine.result(spinach_engine.schedule(add, 2, 2), timeout=HOUR) == 4


def test_hang_report_names_who_waits_for_a_result(spinach_engine, spinach_worker):
    started.clear()
    released.clear()
    job = spinach_engine.schedule(hangs)
    told: list[object] = []

    def wait() -> None:
        assert started.wait(30)
        told.append(spinach_engine.result(job, timeout=None))

    shop_front = threading.Thread(target=wait, name="shop-front")
    shop_front.start()
    try:
        with pytest.raises(DrainTimeout) as hang:
            spinach_worker.drain(timeout=1.0)
    finally:
        released.set()
    assert "Waiting for jobs:\nshop-front waits for the result of hangs()" in str(hang.value)
    shop_front.join(30)
    assert told == [None]
