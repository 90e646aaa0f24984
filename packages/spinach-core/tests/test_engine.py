"""The engine on the memory broker: jobs run, results are signalled, workers come and go."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from spinach import Batch, Engine, JobStatus, Tasks, signals
from spinach.exc import WorkersRunning
from spinach_memory import MemoryBroker, MemoryStore

from .support import NOON, Bench, Ear, engine_threads, wait_for

NewEngine = Callable[..., Engine]


@pytest.fixture
def done() -> list[Any]:
    return []


@pytest.fixture
def tasks(done: list[Any]) -> Tasks:
    tasks = Tasks()
    tasks.add(lambda *args, **kwargs: done.append((args, kwargs)), "note")
    return tasks


def drain(engine: Engine, *queues: str, number: int = 1) -> None:
    engine.start_workers(number, queues or "spinach", stop_when_queue_empty=True)


def test_jobs_run_with_their_arguments_in_the_order_they_came(
    engine: Engine, done: list[Any]
) -> None:
    engine.schedule("note", 1)
    engine.schedule("note", 2, key="value")
    engine.schedule("note", [3], key={"a": None})
    drain(engine)
    assert done == [((1,), {}), ((2,), {"key": "value"}), (([3],), {"key": {"a": None}})]


def test_nothing_runs_until_workers_start(engine: Engine, done: list[Any]) -> None:
    engine.schedule("note")
    assert done == []
    assert engine_threads("spinach") == []


def test_execute_calls_here_and_now(engine: Engine) -> None:
    thread: list[str] = []

    @engine.task(name="where", max_retries=5)
    def where(value: int) -> int:
        thread.append(threading.current_thread().name)
        if value < 0:
            raise ValueError("negative")
        return value * 2

    with Ear("spinach") as ear:
        assert engine.execute(where, 4) == 8
        assert engine.execute("where", value=4) == 8
        with pytest.raises(ValueError, match="negative"):
            engine.execute(where, -1)
    assert thread == [threading.current_thread().name] * 3
    assert ear.heard == []


def test_execute_knows_no_limit_of_arguments(engine: Engine, done: list[Any]) -> None:
    engine.execute("note", {1, 2}, "x" * 10**6)
    assert done == [(({1, 2}, "x" * 10**6), {})]


def test_namespace_and_text(engine: Engine) -> None:
    assert engine.namespace == "spinach"
    assert repr(engine) == "<Engine 'spinach' on MemoryBroker>"


def test_a_job_may_schedule_jobs_and_the_queue_is_empty_after_them(
    engine: Engine, done: list[Any]
) -> None:
    @engine.task(name="count_down")
    def count_down(number: int) -> None:
        done.append(number)
        if number:
            engine.schedule("count_down", number - 1)

    engine.schedule("count_down", 5)
    drain(engine, number=3)
    assert done == [5, 4, 3, 2, 1, 0]


def test_a_job_may_schedule_into_another_queue_that_is_consumed(
    engine: Engine, done: list[Any]
) -> None:
    engine._tasks.add(lambda: done.append("second"), "second", queue="b")
    engine._tasks.add(lambda: engine.schedule("second"), "first", queue="a")
    engine.schedule("first")
    drain(engine, "b", "a")
    assert done == ["second"]


def test_queues_are_served_in_strict_order(engine: Engine, done: list[Any]) -> None:
    for queue in ("low", "high", "middle"):
        engine._tasks.add(lambda q=queue: done.append(q), queue, queue=queue)
    for _ in range(4):
        for queue in ("low", "middle", "high"):
            engine.schedule(queue)
    drain(engine, "high", "middle", "low")
    assert done == ["high"] * 4 + ["middle"] * 4 + ["low"] * 4


def test_a_later_queue_waits_while_an_earlier_one_has_jobs(engine: Engine, done: list[Any]) -> None:
    @engine.task(name="high", queue="high")
    def high(number: int) -> None:
        done.append("high")

    engine._tasks.add(lambda: done.append("low"), "low", queue="low")
    engine.schedule("low")
    engine.schedule(high, 0)
    engine.schedule(high, 0)
    drain(engine, "high", "low")
    assert done == ["high", "high", "low"]


def test_only_the_queues_asked_for_are_consumed(engine: Engine, done: list[Any]) -> None:
    engine._tasks.add(lambda: done.append("other"), "other", queue="other")
    engine.schedule("other")
    engine.schedule("note")
    drain(engine)
    assert done == [((), {})]


def test_stop_when_empty_on_an_empty_queue_returns(engine: Engine) -> None:
    drain(engine)
    assert engine_threads("spinach") == []


def test_stop_when_empty_ends_by_itself_without_block(bench: Bench, tasks: Tasks) -> None:
    engine = bench.engine(tasks)
    ended = threading.Event()
    with signals.worker_terminated.connected_to(lambda *_, **__: ended.set(), sender="bench"):
        engine.schedule("note")
        engine.start_workers(1, block=False, stop_when_queue_empty=True)
        wait_for(ended, "the end of the worker")
    engine.stop_workers()
    engine.attach_tasks(Tasks())  # allowed again


def test_jobs_for_the_future_do_not_count_as_left(bench: Bench, tasks: Tasks) -> None:
    engine = bench.engine(tasks)
    engine.schedule_at("note", bench.clock.now() + timedelta(hours=1))
    drain(engine)
    assert bench.counts(engine).future == 1


def test_a_retry_that_waits_does_count_as_left(bench: Bench) -> None:
    attempts: list[int] = []
    tasks = Tasks()

    @tasks.task(name="twice", max_retries=1)
    def twice() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError

    engine = bench.engine(tasks)
    engine.schedule("twice")
    engine.start_workers(1, block=False, stop_when_queue_empty=True)
    bench.settle()
    assert len(attempts) == 1
    assert engine_threads("bench")
    bench.advance(timedelta(seconds=10))
    engine.stop_workers()
    assert len(attempts) == 2


def test_a_job_that_another_process_runs_counts_as_left(bench: Bench, tasks: Tasks) -> None:
    begun, go_on = threading.Event(), threading.Event()
    slow = Tasks()

    @slow.task(name="slow")
    def wait() -> None:
        begun.set()
        wait_for(go_on)

    one, two = bench.engine(slow, namespace="app"), bench.engine(slow, namespace="app")
    one.schedule("slow")
    one.start_workers(1, block=False)
    wait_for(begun)
    two.start_workers(1, block=False, stop_when_queue_empty=True)
    bench.busy = 1
    bench.advance(timedelta(seconds=3))
    assert two._running_pool() is not None
    bench.busy = 0
    go_on.set()
    bench.advance(timedelta(seconds=3))
    assert two._running_pool() is None
    one.stop_workers()


def test_a_job_for_later_runs_when_its_instant_comes_and_not_before(
    bench: Bench, done: list[Any], tasks: Tasks
) -> None:
    # I8
    engine = bench.engine(tasks)
    engine.start_workers(2, block=False)
    engine.schedule_at("note", bench.clock.now() + timedelta(seconds=10))
    bench.advance(timedelta(seconds=9.999))
    assert done == []
    bench.advance(timedelta(milliseconds=1))
    assert len(done) == 1


def test_an_earlier_job_overtakes_one_that_is_known_to_wait(
    bench: Bench, done: list[Any], tasks: Tasks
) -> None:
    engine = bench.engine(tasks)
    engine.start_workers(1, block=False)
    now = bench.clock.now()
    engine.schedule_at("note", now + timedelta(seconds=60), "late")
    bench.settle()
    engine.schedule_at("note", now + timedelta(seconds=5), "soon")
    bench.advance(timedelta(seconds=5))
    assert done == [(("soon",), {})]
    bench.advance(timedelta(seconds=55))
    assert len(done) == 2


def test_workers_can_be_started_again_after_a_stop(engine: Engine, done: list[Any]) -> None:
    for number in range(3):
        engine.schedule("note", number)
        drain(engine)
    assert [args for args, _ in done] == [(0,), (1,), (2,)]


def test_stopping_without_workers_does_nothing(engine: Engine) -> None:
    engine.stop_workers()
    drain(engine)
    engine.stop_workers()
    engine.stop_workers()


def test_tasks_may_join_between_two_runs(engine: Engine, done: list[Any]) -> None:
    drain(engine)
    engine._tasks.add(lambda: done.append("new"), "new")
    engine.schedule("new")
    drain(engine)
    assert done == ["new"]


def test_tasks_of_a_registry_may_join_after_it_was_attached(
    engine: Engine, tasks: Tasks, done: list[Any]
) -> None:
    tasks.add(lambda: done.append("new"), "new")
    engine.schedule("new")
    drain(engine)
    assert done == ["new"]


def test_detached_tasks_are_unknown_and_may_be_attached_again(engine: Engine, tasks: Tasks) -> None:
    engine.detach_tasks(tasks)
    engine.detach_tasks(tasks)  # again does nothing
    with pytest.raises(LookupError):
        engine.schedule("note")
    with pytest.raises(RuntimeError):
        tasks.schedule("note")
    engine.attach_tasks(tasks)
    assert engine.schedule("note").status is JobStatus.QUEUED


def test_a_name_is_free_after_its_registry_was_detached(engine: Engine, tasks: Tasks) -> None:
    engine.detach_tasks(tasks)
    other = Tasks()
    other.add(print, "note")
    engine.attach_tasks(other)
    assert engine.schedule(print).task_name == "note"


def test_another_broker_may_be_used_for_a_block(engine: Engine, done: list[Any]) -> None:
    broker = MemoryBroker()
    with engine.using_broker(broker) as used:
        assert used is broker
        engine.schedule("note", "inside")
        drain(engine)
    assert done == [(("inside",), {})]
    engine.schedule("note", "outside")
    assert broker.counts(["spinach"])[0].ready == 0
    with engine.using_broker(broker):  # it is the engine's own, so again is fine
        assert engine.failed.list() == []


def test_leaving_the_block_with_workers_stops_them_and_says_so(engine: Engine) -> None:
    with (
        pytest.raises(WorkersRunning, match=r"Call engine.stop_workers\(\) inside the block"),
        engine.using_broker(MemoryBroker()),
    ):
        engine.start_workers(1, block=False)
    assert engine_threads("spinach") == []
    drain(engine)


def test_an_error_inside_the_block_is_not_hidden_by_workers(engine: Engine) -> None:
    with (  # noqa: PT012 - the block is what is tested
        pytest.raises(ZeroDivisionError),
        engine.using_broker(MemoryBroker()),
    ):
        engine.start_workers(1, block=False)
        _ = 1 / 0
    assert engine_threads("spinach") == []


def test_namespaces_on_one_store_share_nothing(
    new_engine: NewEngine, tasks: Tasks, done: list[Any]
) -> None:
    # I21
    shop, blog = new_engine(tasks, namespace="shop"), new_engine(tasks, namespace="blog")
    shop.schedule("note", "shop")
    drain(blog)
    assert done == []
    drain(shop)
    assert done == [(("shop",), {})]


def test_a_batch_runs_in_order(engine: Engine, done: list[Any]) -> None:
    batch = Batch()
    for number in range(50):
        batch.schedule("note", number)
    engine.schedule_batch(batch)
    drain(engine)
    assert [args[0] for args, _ in done] == list(range(50))


def test_tuples_come_back_as_lists(engine: Engine, done: list[Any]) -> None:
    engine.schedule("note", (1, (2,)))
    drain(engine)
    assert done == [(([1, [2]],), {})]


def test_a_job_runs_in_the_queue_of_its_record_even_if_its_task_moved(
    store: MemoryStore, new_engine: NewEngine, done: list[Any]
) -> None:
    before, after = Tasks(), Tasks()
    before.add(print, "move", queue="old")
    after.add(lambda: done.append("ran"), "move", queue="new")
    new_engine(before).schedule("move")
    worker = new_engine(after)
    drain(worker, "new")
    assert done == []
    drain(worker, "old")
    assert done == ["ran"]


def test_an_engine_is_a_client_of_the_future_without_a_clock_of_its_own(
    bench: Bench, tasks: Tasks
) -> None:
    engine = bench.engine(tasks)
    job = engine.schedule("note")
    assert job.at == bench.clock.now()
    assert engine.schedule_at("note", NOON.replace(year=2040)).status is JobStatus.WAITING
