"""The arbiter: what is due goes first, it hands its turn over, and an idle one is silent."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine, Tasks

from .support import Bench, FlakyBroker, Tally

SECOND = timedelta(seconds=1)


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def watched(bench: Bench, calls: list[str]) -> Engine:
    """An engine whose calls are noted."""

    def note(call: str) -> None:
        calls.append(call)

    tasks = Tasks()
    tasks.add(lambda *_: None, "nothing")
    broker = FlakyBroker(bench.store, plan=note, clock=bench.clock)
    return bench.engine(tasks, broker=broker)


def test_an_idle_process_makes_at_most_half_a_call_a_second(
    bench: Bench, watched: Engine, calls: list[str]
) -> None:
    watched.start_workers(10, block=False)
    bench.settle()
    calls.clear()
    bench.advance(100 * SECOND)
    assert Counter(calls).keys() <= {"fetch", "beat"}
    assert len(calls) <= 50


def test_a_job_is_fetched_at_once_although_nobody_asked(
    bench: Bench, watched: Engine, calls: list[str]
) -> None:
    # I14: the waiting process is woken, time does not pass.
    watched.start_workers(1, block=False)
    bench.settle()
    watched.schedule("nothing")
    bench.settle()
    assert bench.counts(watched).unfinished == 0


def test_many_jobs_take_few_calls(bench: Bench, watched: Engine, calls: list[str]) -> None:
    for _ in range(1000):
        watched.schedule("nothing")
    watched.start_workers(50, stop_when_queue_empty=True)
    fetches = Counter(calls)["fetch"]
    assert fetches <= 1000 / 2
    assert bench.counts(watched).unfinished == 0


def test_beats_go_on_while_all_threads_are_busy(
    bench: Bench, watched: Engine, calls: list[str]
) -> None:
    import threading

    begun, go_on = threading.Event(), threading.Event()

    @watched.task(name="slow")
    def slow() -> None:
        begun.set()
        assert go_on.wait(20)

    watched.schedule("slow")
    watched.start_workers(1, block=False)
    assert begun.wait(20)
    bench.busy = 1
    calls.clear()
    bench.advance(100 * SECOND)
    go_on.set()
    bench.busy = 0
    assert Counter(calls)["beat"] == 10
    assert bench.counts(watched).leased_by_dead == 0


def test_an_engine_does_not_end_while_a_park_holds_what_it_can_run(bench: Bench) -> None:
    done = Tally()
    old, new = Tasks(), Tasks()
    new.add(done.add, "new")
    client = bench.engine(new, namespace="app")
    for number in range(3):
        client.schedule("new", number)
    bench.engine(old, namespace="app").start_workers(1, stop_when_queue_empty=True)
    assert bench.counts(client).parked == 3
    client.start_workers(1, stop_when_queue_empty=True)
    assert done.calls == [0, 1, 2]


def test_stop_when_empty_with_several_queues_looks_twice(bench: Bench) -> None:
    passes: list[Any] = []

    class Counting(FlakyBroker):
        def counts(self, queues: Any) -> Any:
            passes.append(tuple(queues))
            return super().counts(queues)

    broker = Counting(bench.store, plan=lambda call: None, clock=bench.clock)
    engine = bench.engine(Tasks(), broker=broker)
    engine.start_workers(1, ["a", "b"], stop_when_queue_empty=True)
    assert passes[-2:] == [("a", "b")] * 2
