"""Tasks that are attached, added or replaced between the calls of a worker and inside them."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from spinach import Tasks

HOUR = timedelta(hours=1)
PATIENCE = 20

tasks = Tasks()
done: list[object] = []
#: What a test puts here runs inside the task `call`.
inside = {}


@tasks.task(name="call")
def call_inside():
    inside["call"]()


@pytest.fixture(scope="module")
def spinach_tasks():
    return [tasks]


@pytest.fixture(autouse=True)
def _fresh():
    yield
    done.clear()
    inside.clear()


def noting(name, **options):
    registry = Tasks(**options)
    registry.add(lambda *args: done.append((name, *args)), name)
    return registry


def test_what_is_attached_between_drains_runs_in_the_next_one(spinach_worker, spinach_engine):
    spinach_worker.drain()
    spinach_engine.attach_tasks(noting("late", queue="elsewhere", max_concurrency=1))
    spinach_engine.schedule("late", 1)
    spinach_worker.drain()
    assert done == [("late", 1)]


@pytest.mark.parametrize("queue", ["spinach", "elsewhere"])
@pytest.mark.parametrize("limit", [None, 1])
def test_what_a_task_attaches_runs_in_the_same_drain(spinach_worker, spinach_engine, queue, limit):
    def attach():
        spinach_engine.attach_tasks(noting("late", queue=queue, max_concurrency=limit))
        for number in range(3):
            spinach_engine.schedule("late", number)

    inside["call"] = attach
    tasks.schedule("call")
    spinach_worker.drain()
    assert sorted(done) == [("late", number) for number in range(3)]


def test_a_periodic_task_that_a_task_attaches_fires_as_time_passes(spinach_worker, spinach_engine):
    inside["call"] = lambda: spinach_engine.attach_tasks(noting("tick", periodicity=HOUR))
    tasks.schedule("call")
    spinach_worker.advance(3 * HOUR)
    assert done == [("tick",)] * 3


def test_a_task_that_is_replaced_between_drains_runs_its_new_function(
    spinach_worker, spinach_engine
):
    registry = noting("a")
    spinach_engine.attach_tasks(registry)
    spinach_engine.schedule("a")
    registry.add(lambda: done.append("new"), "a", replace=True)
    spinach_worker.drain()
    assert done == ["new"]


def test_a_job_whose_tasks_are_detached_meanwhile_still_holds_the_drain(
    spinach_worker, spinach_engine
):
    entered, gate = threading.Event(), threading.Event()

    def wait():
        entered.set()
        assert gate.wait(PATIENCE)
        done.append("waited")

    registry = Tasks(queue="elsewhere")
    registry.add(wait, "wait")
    spinach_engine.attach_tasks(registry)
    registry.schedule("wait")

    def detach():
        assert entered.wait(PATIENCE)
        spinach_engine.detach_tasks(registry)
        gate.set()

    inside["call"] = detach
    tasks.schedule("call")
    spinach_worker.drain()
    assert done == ["waited"]


@pytest.mark.parametrize("queue", ["spinach", "elsewhere"])
@pytest.mark.parametrize("limit", [None, 1])
def test_a_live_worker_takes_up_what_the_test_attaches(
    spinach_live_worker, spinach_engine, queue, limit
):
    spinach_engine.attach_tasks(noting("late", queue=queue, max_concurrency=limit))
    for number in range(3):
        spinach_engine.schedule("late", number)
    spinach_live_worker.wait_idle()
    assert sorted(done) == [("late", number) for number in range(3)]
