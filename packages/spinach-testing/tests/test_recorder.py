"""What is noted while calls of a broker are under way."""

from __future__ import annotations

import pytest

from spinach import JobStatus, Tasks
from spinach.exc import BrokerError
from spinach_memory import MemoryBroker

tasks = Tasks()


@tasks.task(name="broken")
def broken():
    raise ConnectionError("no answer")


class Interrupted(MemoryBroker):
    """What a test puts here happens before and after its retries from the failed store."""

    before = after = staticmethod(lambda: None)

    def retry_failed(self, queue, stored_ids):
        self.before()
        found = super().retry_failed(queue, stored_ids)
        self.after()
        return found


@pytest.fixture(scope="module")
def spinach_tasks():
    return [tasks]


@pytest.fixture
def spinach_broker(spinach_clock):
    return Interrupted(clock=spinach_clock)


@pytest.fixture
def failed(spinach_jobs, spinach_worker):
    """The job, in the failed store."""
    job = tasks.schedule(broken)
    with spinach_jobs.expect_failure(broken, ConnectionError):
        spinach_worker.drain()
    return job


def test_a_retried_job_may_fail_again_before_the_retry_is_answered(
    failed, spinach_broker, spinach_engine, spinach_jobs
):
    def work():
        spinach_engine.start_workers(1, stop_when_queue_empty=True)

    spinach_broker.after = work
    with spinach_jobs.expect_failure(broken, ConnectionError):
        spinach_engine.failed.retry(failed)
    assert spinach_jobs.one().status is JobStatus.FAILED


def test_all_failed_jobs_that_match_are_noted_when_they_run_again(
    failed, spinach_broker, spinach_engine, spinach_jobs, spinach_worker, monkeypatch
):
    monkeypatch.setattr("spinach_testing.recorder.FAILED_CHUNK", 2)
    for _ in range(4):
        tasks.schedule(broken)
    with spinach_jobs.expect_failure(broken, ConnectionError, count=4):
        spinach_worker.drain()
    assert spinach_engine.failed.retry_all("spinach", error=OSError) == 0
    told = []
    assert spinach_engine.failed.retry_all(None, task=broken, progress=told.append) == 5
    assert told == [2, 4, 5]
    assert {job.status for job in spinach_jobs.all()} == {JobStatus.QUEUED}
    with spinach_jobs.expect_failure(broken, ConnectionError, count=5):
        spinach_worker.drain()
    assert spinach_engine.failed.discard_all("spinach") == 5


def test_a_retry_that_does_not_come_about_is_not_noted(
    failed, spinach_broker, spinach_engine, spinach_jobs
):
    def refuse():
        raise BrokerError("no")

    spinach_broker.before = refuse
    with pytest.raises(BrokerError):
        spinach_engine.failed.retry(failed)
    assert spinach_jobs.one().status is JobStatus.FAILED
    spinach_broker.before = lambda: spinach_engine.failed.discard(failed)
    assert spinach_engine.failed.retry(failed) == 0
    assert spinach_jobs.one().status is JobStatus.FAILED


def test_a_retry_is_noted(failed, spinach_engine, spinach_jobs):
    spinach_engine.failed.retry(failed)
    assert (spinach_jobs.one().status, spinach_jobs.one().attempt) == (JobStatus.QUEUED, 1)


def test_a_job_that_is_cancelled_before_it_runs_is_on_record(
    spinach_engine, spinach_jobs, spinach_worker
):
    job = tasks.schedule(broken)
    spinach_engine.jobs.cancel(job)
    assert spinach_jobs.one().status is JobStatus.CANCELLED
    spinach_worker.drain()
    assert spinach_jobs.one().status is JobStatus.CANCELLED
