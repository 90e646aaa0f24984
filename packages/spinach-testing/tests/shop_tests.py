"""Tests of a small application that fit every broker; `test_brokers.py` runs them.

They assert no exact instants: on a server time flows by itself, too.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from unittest.mock import call

import pytest

from spinach import JobStatus, RetryException, Tasks

HOUR = timedelta(hours=1)

tasks = Tasks()
done: list[str] = []
lock = threading.Lock()


@tasks.task(name="mail", max_retries=5)
def mail(to, subject="hello"):
    done.append(f"mail {to}")


@tasks.task(name="order")
def order(customers):
    for customer in customers:
        tasks.schedule(mail, customer)


@tasks.task(name="charge", max_retries=5)
def charge():
    done.append("charge")
    if done.count("charge") < 3:
        raise ConnectionError("no answer")


@tasks.task(name="poll", max_retries=5)
def poll():
    done.append("poll")
    if done.count("poll") < 3:
        raise RetryException("not yet")


@tasks.task(name="broken")
def broken(reason):
    raise ValueError(reason)


@tasks.task(name="daily", periodicity=timedelta(days=1), queue="clockwork")
def daily():
    done.append("daily")


@tasks.task(name="limited", max_concurrency=1)
def limited():
    with lock:
        done.append("limited")


@pytest.fixture(scope="session")
def spinach_tasks():
    return [tasks]


@pytest.fixture(autouse=True)
def clean():
    done.clear()


def test_jobs_and_the_jobs_they_make_are_run(spinach_jobs, spinach_worker):
    tasks.schedule(order, ("ada", "bob"))
    spinach_jobs.assert_scheduled(order, call(["ada", "bob"]))
    spinach_worker.drain()
    assert sorted(done) == ["mail ada", "mail bob"]
    spinach_jobs.assert_scheduled(mail, count=2)
    assert {job.status for job in spinach_jobs.all()} == {JobStatus.SUCCEEDED}


def test_a_future_job_waits_for_its_time(spinach_engine, spinach_clock, spinach_worker):
    spinach_engine.schedule_at(mail, spinach_clock.now() + 2 * HOUR, "ada")
    spinach_worker.advance(1 * HOUR)
    assert done == []
    spinach_worker.advance(1 * HOUR)
    assert done == ["mail ada"]


def test_retries_are_made(spinach_jobs, spinach_worker):
    tasks.schedule(poll)
    tasks.schedule(charge)
    with spinach_jobs.expect_failure(charge, ConnectionError, "no answer", count=2):
        spinach_worker.run_until_finished()
    assert sorted(done) == ["charge"] * 3 + ["poll"] * 3
    assert [job.attempt for job in spinach_jobs.all()] == [3, 3]


def test_a_failure_fails_the_test_and_stands_in_the_failed_store(
    spinach_engine, spinach_jobs, spinach_worker
):
    tasks.schedule(broken, "no ink")
    with pytest.raises(ValueError, match="no ink"):
        spinach_worker.drain()
    (failure,) = spinach_engine.failed.list()
    assert failure.message == "no ink"
    assert "broken('no ink')  FAILED  attempt 1  ValueError: no ink" in repr(spinach_jobs)


def test_ten_days_of_a_daily_task(spinach_worker):
    spinach_worker.advance(timedelta(days=10, hours=1))
    assert done == ["daily"] * 10


def test_a_lost_worker_costs_an_attempt_and_no_job(spinach_jobs, spinach_worker):
    tasks.schedule(mail, "before")
    job = tasks.schedule(mail, "ada")
    assert spinach_worker.crash(job).status is JobStatus.WAITING
    spinach_worker.run_until_finished()
    assert done == ["mail ada", "mail before", "mail ada"]
    assert [each.attempt for each in spinach_jobs.all(mail)] == [1, 2]


def test_a_lost_worker_is_the_end_of_an_at_most_once_job(spinach_worker):
    assert spinach_worker.crash(tasks.schedule(limited)).status is JobStatus.FAILED
    tasks.schedule(limited)
    spinach_worker.drain()
    assert done == ["limited"] * 2


def test_a_deployment_leaves_what_did_not_start(spinach_jobs, spinach_worker):
    for name in "abcde":
        tasks.schedule(mail, name)
    spinach_worker.stop_gracefully(after=2)
    assert len(spinach_jobs.all(status=JobStatus.SUCCEEDED)) == 2
    assert [job.attempt for job in spinach_jobs.all(status=JobStatus.QUEUED)] == [1] * 3
    spinach_worker.drain()
    assert len(spinach_jobs.all(status=JobStatus.SUCCEEDED)) == 5


def test_live(spinach_jobs, spinach_live_worker):
    for number in range(1, 21):
        tasks.schedule(order, ["ada"])
        spinach_live_worker.wait_idle()
        assert done == ["mail ada"] * number
        assert {job.status for job in spinach_jobs.all()} == {JobStatus.SUCCEEDED}
    spinach_jobs.assert_scheduled(mail, count=20)
