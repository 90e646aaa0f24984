"""What operators steer, in a test whose clock is turned."""

from __future__ import annotations

from datetime import timedelta

import pytest

from spinach import Tasks

HOUR = timedelta(hours=1)
tasks = Tasks()
done: list[str] = []


@tasks.task(name="add")
def add(name):
    done.append(name)


@tasks.task(name="hourly", queue="reports", periodicity=HOUR)
def hourly():
    done.append("hourly")


@tasks.task(name="single", max_concurrency=1)
def single(spin):
    done.append(spin)


@pytest.fixture(scope="module")
def spinach_tasks():
    return [tasks]


@pytest.fixture(autouse=True)
def clean():
    done.clear()


def test_jobs_of_a_paused_queue_wait_while_time_passes(spinach_engine, spinach_worker):
    spinach_engine.queues.pause("spinach")
    tasks.schedule(add, "first")
    spinach_worker.advance(2 * HOUR)
    assert done == ["hourly", "hourly"]
    assert spinach_engine.queues.get("spinach").oldest_ready == 2 * HOUR
    spinach_engine.queues.resume("spinach")
    spinach_worker.drain()
    assert done == ["hourly", "hourly", "first"]


def test_drain_leaves_a_paused_queue_as_it_is(spinach_engine, spinach_worker):
    spinach_engine.queues.pause("spinach")
    tasks.schedule(add, "first")
    spinach_worker.drain()
    assert done == []
    assert spinach_engine.queues.purge("spinach") == 1


def test_job_that_comes_due_in_a_paused_queue_runs_at_its_end(
    spinach_engine, spinach_worker, spinach_clock
):
    spinach_engine.queues.pause("spinach")
    tasks.schedule_at(add, spinach_clock.now() + HOUR / 2, "later")
    spinach_worker.advance(HOUR)
    assert "later" not in done
    assert spinach_engine.queues.get("spinach").ready == 1
    spinach_engine.queues.resume("spinach")
    spinach_worker.drain()
    assert "later" in done


def test_a_periodic_task_is_paused_for_virtual_days(spinach_engine, spinach_worker):
    spinach_worker.advance(1.5 * HOUR)
    assert done == ["hourly"]
    spinach_engine.periodic.pause(hourly)
    spinach_worker.advance(48 * HOUR)
    assert done == ["hourly"]
    spinach_engine.periodic.resume(hourly)
    spinach_worker.advance(HOUR)
    assert done == ["hourly", "hourly"]


def test_rates_follow_the_virtual_clock(spinach_engine, spinach_worker):
    for number in range(12):
        tasks.schedule(add, str(number))
        spinach_worker.advance(timedelta(minutes=10))
    flow = spinach_engine.queues.get("spinach").last_hour
    assert flow is not None
    assert flow.came == flow.ended
    assert 5 <= flow.came <= 8
