"""max_concurrency: over threads, over processes, with any kind of job (I10)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from spinach import Engine, Tasks

from .support import PATIENCE, Bench, wait_for

pytestmark = pytest.mark.concurrency


class Gate:
    """A task that stays inside until it is let out; knows how many were in at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = threading.Event()
        self.inside = 0
        self.most = 0
        self.passed = 0
        self.entered = threading.Semaphore(0)

    def __call__(self, *args: Any) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.entered.release()
        assert self._open.wait(PATIENCE)
        with self._lock:
            self.inside -= 1
            self.passed += 1

    def expect(self, count: int) -> None:
        """Return once this number of further jobs have entered."""
        for _ in range(count):
            assert self.entered.acquire(timeout=PATIENCE)

    def open(self) -> None:
        self._open.set()


def limited(gate: Gate, limit: int | None, max_retries: int = 0) -> Tasks:
    tasks = Tasks()
    tasks.add(gate, "gate", max_concurrency=limit, max_retries=max_retries)
    return tasks


@pytest.mark.parametrize("max_retries", [0, 3])
def test_no_more_than_the_limit_run_at_once_over_two_engines(
    bench: Bench, max_retries: int
) -> None:
    gate = Gate()
    engines = [bench.engine(limited(gate, 3, max_retries), namespace="app") for _ in range(2)]
    for number in range(12):
        engines[0].schedule("gate", number)
    for engine in engines:
        engine.start_workers(4, block=False)
    gate.expect(3)
    bench.busy = 3
    bench.settle()
    assert (gate.inside, gate.most) == (3, 3)
    counts = bench.counts(engines[0])
    assert (counts.leased, counts.ready + counts.held) == (3, 9)
    bench.busy = 0
    gate.open()
    bench.settle()
    assert (gate.most <= 3, gate.passed) == (True, 12)


def test_jobs_of_other_tasks_overtake_those_that_find_no_slot(bench: Bench) -> None:
    gate, done = Gate(), threading.Event()
    tasks = limited(gate, 1)
    tasks.add(done.set, "other")
    engine = bench.engine(tasks)
    for _ in range(3):
        engine.schedule("gate")
    engine.schedule("other")
    engine.start_workers(2, block=False)
    gate.expect(1)
    wait_for(done, "the job without a limit")
    bench.busy = 1
    bench.settle()
    assert gate.most == 1
    bench.busy = 0
    gate.open()
    bench.settle()
    assert gate.passed == 3


def test_jobs_of_a_limited_task_run_in_their_order(bench: Bench) -> None:
    order: list[int] = []
    tasks = Tasks()
    tasks.add(order.append, "note", max_concurrency=1)
    engine = bench.engine(tasks)
    for number in range(30):
        engine.schedule("note", number)
    engine.start_workers(4, stop_when_queue_empty=True)
    assert order == list(range(30))


def test_the_lowest_limit_that_a_live_process_declares_is_in_force(bench: Bench) -> None:
    gate = Gate()
    loose, strict = (bench.engine(limited(gate, limit), namespace="app") for limit in (5, 2))
    for _ in range(8):
        loose.schedule("gate")
    strict.start_workers(1, block=False)
    gate.expect(1)
    bench.busy = 1
    bench.settle()
    loose.start_workers(5, block=False)
    gate.expect(1)
    bench.busy = 2
    bench.settle()
    assert gate.inside == 2
    bench.busy = 0
    gate.open()
    bench.settle()
    assert gate.passed == 8


def test_a_failed_job_frees_its_slot(bench: Bench) -> None:
    ran: list[int] = []
    tasks = Tasks()

    @tasks.task(name="fails", max_concurrency=1)
    def fails(number: int) -> None:
        ran.append(number)
        raise ValueError

    engine: Engine = bench.engine(tasks)
    for number in range(3):
        engine.schedule("fails", number)
    engine.start_workers(2, stop_when_queue_empty=True)
    assert ran == [0, 1, 2]
