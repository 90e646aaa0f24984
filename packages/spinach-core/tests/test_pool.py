"""The threads of a worker process: they start together and end together."""

from __future__ import annotations

import threading

import pytest

from spinach import Engine, Tasks
from spinach_memory import MemoryBroker

from .support import Bench, Ear, engine_threads


@pytest.mark.concurrency
@pytest.mark.parametrize("last", ["result-notifier", "worker-3", "subscriber", "arbiter"])
def test_a_system_that_gives_no_more_threads_leaves_none_behind(
    last: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, ran = Tasks(), []
    tasks.add(lambda: ran.append(1), "note", max_retries=1)
    engine = bench.engine(tasks)
    engine.schedule("note")
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == f"bench-{last}":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            engine.start_workers(5, block=False)
    for thread in threading.enumerate():
        if thread.name.startswith("bench-"):
            thread.join(20)
    assert engine_threads("bench") == []
    (counts,) = engine._broker.counts(["spinach"])
    assert (counts.leased, counts.members, counts.ready + len(ran)) == (0, 0, 1)
    engine.start_workers(2, stop_when_queue_empty=True)
    assert len(ran) == 1


def test_a_membership_tells_people_who_it_is(bench: Bench) -> None:
    import os
    import platform

    from spinach import __version__

    seen = []

    class Watching(MemoryBroker):
        def join(self, queue: str, member: str, enrolment: object) -> object:
            seen.append(enrolment)
            return super().join(queue, member, enrolment)

    engine = bench.engine(Tasks(), broker=Watching(bench.store, clock=bench.clock))
    engine.start_workers(1, ["a", "b"], stop_when_queue_empty=True)
    assert len(seen) == 2
    assert seen[0].info == {
        "host": platform.node(),
        "pid": str(os.getpid()),
        # What its memberships have in common, and no other process.
        "process": seen[1].info["process"],
        "threads": "1",
        "version": __version__,
    }
    assert seen[0].lease_ms == 30_000


def test_a_queue_is_joined_with_the_limits_and_periods_of_its_own_tasks(bench: Bench) -> None:
    from datetime import timedelta

    seen = {}

    class Watching(MemoryBroker):
        def join(self, queue: str, member: str, enrolment: object) -> object:
            seen[queue] = enrolment
            return super().join(queue, member, enrolment)

    tasks = Tasks()
    tasks.add(lambda: None, "limited", queue="a", max_concurrency=2)
    tasks.add(lambda: None, "tick", queue="b", periodicity=timedelta(minutes=1))
    tasks.add(lambda: None, "plain", queue="b")
    engine = bench.engine(tasks, broker=Watching(bench.store, clock=bench.clock))
    engine.start_workers(1, ["a", "b"], stop_when_queue_empty=True)
    assert (seen["a"].limits, seen["a"].periodic) == ({"limited": 2}, {})
    assert (seen["b"].limits, seen["b"].periodic) == ({}, {"tick": 60_000})


@pytest.mark.concurrency
def test_engines_start_and_stop_side_by_side() -> None:
    engines = [Engine(MemoryBroker(), f"side-{n}") for n in range(6)]
    ran: list[int] = []
    for engine in engines:
        engine.task(name="note")(ran.append)
    errors: list[BaseException] = []

    def cycle(engine: Engine) -> None:
        try:
            for number in range(8):
                engine.schedule("note", number)
                engine.start_workers(2, block=False)
                engine.stop_workers()
            engine.start_workers(2, stop_when_queue_empty=True)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=cycle, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors
    assert sorted(ran) == sorted(list(range(8)) * 6)


@pytest.mark.concurrency
def test_only_one_of_many_threads_starts_the_workers() -> None:
    from spinach.exc import WorkersRunning

    engine = Engine(MemoryBroker(), "race")
    gate = threading.Barrier(8)
    results: list[str] = []

    def start() -> None:
        gate.wait(20)
        try:
            engine.start_workers(1, block=False)
            results.append("started")
        except WorkersRunning:
            results.append("refused")

    for _ in range(10):
        results.clear()
        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(results) == ["refused"] * 7 + ["started"]
        assert len(engine_threads("race")) == 4
        engine.stop_workers()


def test_the_workers_names_are_those_of_their_threads(bench: Bench) -> None:
    with Ear("bench") as ear:
        bench.engine(Tasks()).start_workers(2, stop_when_queue_empty=True)
    assert sorted(kw["worker_name"] for kw in ear.of("worker_started")) == [
        "bench-worker-1",
        "bench-worker-2",
    ]
