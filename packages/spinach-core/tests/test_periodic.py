"""Periodic tasks: one job a tick, on a grid, fired by any worker that consumes the queue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from spinach import Engine, Tasks

from .support import Bench, Ear, FlakyBroker

MINUTE = timedelta(minutes=1)
STEP = timedelta(seconds=5)


@pytest.fixture
def ticks() -> list[datetime]:
    return []


@pytest.fixture
def worker(bench: Bench, ticks: list[datetime]) -> Callable[..., Engine]:
    """A further process that declares the periodic task."""

    def make(period: timedelta | None = MINUTE, **options: object) -> Engine:
        tasks = Tasks()

        @tasks.task(name="tick", periodicity=period)
        def tick() -> None:
            ticks.append(bench.clock.now())

        return bench.engine(tasks, namespace="app", **options)

    return make


def test_it_runs_first_one_period_after_the_first_registration_and_then_each_period(
    bench: Bench, worker: Callable[..., Engine], ticks: list[datetime]
) -> None:
    begin = bench.clock.now()
    worker().start_workers(1, block=False)
    bench.advance(MINUTE - STEP, STEP)
    assert ticks == []
    bench.advance(STEP + 3 * MINUTE, STEP)
    assert ticks == [begin + n * MINUTE for n in (1, 2, 3, 4)]


def test_scheduling_alone_registers_nothing(bench: Bench, worker: Callable[..., Engine]) -> None:
    client = worker()
    client.schedule("tick")
    assert bench.counts(client).next_due_in_ms is None


def test_a_restart_keeps_the_stored_due_time(
    bench: Bench, worker: Callable[..., Engine], ticks: list[datetime]
) -> None:
    begin = bench.clock.now()
    first = worker()
    first.start_workers(1, block=False)
    bench.advance(timedelta(seconds=40), STEP)
    first.stop_workers()
    second = worker()
    second.start_workers(1, block=False)
    bench.advance(timedelta(seconds=20), STEP)
    assert ticks == [begin + MINUTE]


def test_after_a_downtime_there_is_one_job_and_then_the_grid_again(
    bench: Bench, worker: Callable[..., Engine], ticks: list[datetime]
) -> None:
    # I15
    begin = bench.clock.now()
    first = worker()
    first.start_workers(1, block=False)
    bench.settle()
    first.stop_workers()
    bench.clock.advance(10.5 * MINUTE)
    worker().start_workers(1, block=False)
    bench.settle()
    assert ticks == [begin + 10.5 * MINUTE]
    bench.advance(2 * MINUTE, STEP)
    assert ticks[1:] == [begin + 11 * MINUTE, begin + 12 * MINUTE]


def test_a_shorter_period_counts_from_its_registration(
    bench: Bench, worker: Callable[..., Engine], ticks: list[datetime]
) -> None:
    first = worker(timedelta(hours=1))
    first.start_workers(1, block=False)
    bench.settle()
    first.stop_workers()
    bench.clock.advance(MINUTE)
    begin = bench.clock.now()
    worker(MINUTE).start_workers(1, block=False)
    bench.advance(2 * MINUTE, STEP)
    assert ticks == [begin + MINUTE, begin + 2 * MINUTE]


@pytest.mark.concurrency
def test_three_processes_make_one_job_a_tick(
    bench: Bench, worker: Callable[..., Engine], ticks: list[datetime]
) -> None:
    begin = bench.clock.now()
    for _ in range(3):
        worker().start_workers(2, block=False)
    bench.advance(5 * MINUTE, STEP)
    assert ticks == [begin + n * MINUTE for n in (1, 2, 3, 4, 5)]


def test_a_process_that_does_not_consume_the_queue_fires_nothing(
    bench: Bench, worker: Callable[..., Engine], ticks: list[datetime]
) -> None:
    worker().start_workers(1, "other", block=False)
    bench.advance(2 * MINUTE, STEP)
    assert ticks == []


def test_a_task_that_nobody_declares_any_more_does_not_fire(
    bench: Bench, worker: Callable[..., Engine], ticks: list[datetime]
) -> None:
    first = worker()
    first.start_workers(1, block=False)
    bench.settle()
    first.stop_workers()
    newer = worker(None)
    newer.start_workers(1, block=False)
    bench.advance(3 * MINUTE, STEP)
    assert ticks == []
    assert bench.counts(newer).enqueued == 0


def test_a_tick_whose_answer_was_lost_is_not_fired_twice(
    bench: Bench, worker: Callable[..., Engine], ticks: list[datetime]
) -> None:
    cut = {"fire": ["after", "before"]}

    def plan(call: str) -> str | None:
        return cut[call].pop(0) if cut.get(call) else None

    broker = FlakyBroker(bench.store, plan=plan, clock=bench.clock)
    begin = bench.clock.now()
    worker(broker=broker).start_workers(1, block=False)
    bench.advance(4 * MINUTE, STEP)
    assert len(ticks) == 4
    assert broker.cut == {("fire", "after"): 1, ("fire", "before"): 1}
    for number, at in enumerate(ticks, 1):
        assert timedelta(0) <= at - (begin + number * MINUTE) <= 2 * STEP


def test_jobs_of_one_tick_have_one_id_whoever_fires_it(
    bench: Bench, worker: Callable[..., Engine]
) -> None:
    from .support import Ear

    with Ear("app") as ear:
        worker().start_workers(1, block=False)
        bench.advance(2 * MINUTE, STEP)
    jobs = [kw["job"] for kw in ear.of("job_started")]
    assert len({job.id for job in jobs}) == 2
    assert {job.id.version for job in jobs} == {5}
    assert [job.at for job in jobs] == [
        bench.clock.now() - MINUTE,
        bench.clock.now(),
    ]


def test_ticks_of_two_tasks_have_two_ids_wherever_slashes_stand_in_their_names(
    bench: Bench,
) -> None:
    tasks = Tasks()
    tasks.add(lambda: None, "c", queue="a/b", periodicity=MINUTE)
    tasks.add(lambda: None, "b/c", queue="a", periodicity=MINUTE)
    engine = bench.engine(tasks, namespace="app")
    with Ear("app") as ear:
        engine.start_workers(1, ["a", "a/b"], block=False)
        bench.advance(MINUTE, STEP)
    started = [kw["job"] for kw in ear.of("job_started")]
    assert {(job.queue, job.task_name) for job in started} == {("a/b", "c"), ("a", "b/c")}
    assert {job.at for job in started} == {bench.clock.now()}
    assert len({job.id for job in started}) == 2
