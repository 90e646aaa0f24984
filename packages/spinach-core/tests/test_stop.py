"""Stopping: what did not start goes back, what runs gets its grace, all is reported (I20)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import spinach
from spinach import Engine, Tasks
from spinach_memory import MemoryBroker

from .support import PATIENCE, Bench, Ear, FlakyBroker, engine_threads, wait_for

SECOND = timedelta(seconds=1)

pytestmark = pytest.mark.concurrency


class Held:
    """A task that a test holds at its middle."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.runs = 0
        #: That runs it, or ran it last.
        self.thread = threading.current_thread()

    def __call__(self, *args: Any) -> None:
        self.runs += 1
        self.thread = threading.current_thread()
        self.begun.set()
        assert self.go_on.wait(PATIENCE)


@pytest.fixture
def held(bench: Bench) -> Any:
    held = Held()
    yield held
    held.go_on.set()


def holding(held: Held, max_retries: int = 0, **more: Callable[..., Any]) -> Tasks:
    tasks = Tasks(max_retries=max_retries)
    tasks.add(held, "held")
    for name, func in more.items():
        tasks.add(func, name)
    return tasks


def stopping(bench: Bench, engine: Engine) -> threading.Thread:
    """Ask for the stop, let it go as far as it can, and wait for it in a thread."""
    engine.stop_workers(_join_arbiter=False)
    bench.busy = 1
    bench.settle()
    bench.busy = 0
    thread = threading.Thread(target=engine.stop_workers)
    thread.start()
    return thread


def joined(thread: threading.Thread) -> None:
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the stop did not come to an end"


def late_end(held: Held) -> None:
    """Let the held job end, and its thread with it, whose pool is gone already."""
    held.go_on.set()
    joined(held.thread)


def test_a_stop_waits_for_running_jobs_without_limit(bench: Bench, held: Held) -> None:
    engine = bench.engine(holding(held))
    engine.schedule("held")
    engine.start_workers(1, block=False)
    wait_for(held.begun)
    thread = stopping(bench, engine)
    bench.busy = 1
    bench.advance(timedelta(hours=1), timedelta(seconds=10))
    assert thread.is_alive()
    counts = bench.counts(engine)
    assert (counts.leased, counts.leased_by_dead) == (1, 0)  # it goes on beating
    held.go_on.set()
    joined(thread)
    assert bench.counts(engine).unfinished == 0


def test_a_stop_starts_nothing_new_and_leaves_the_rest_in_order(bench: Bench, held: Held) -> None:
    order: list[int] = []
    engine = bench.engine(holding(held, max_retries=3, note=order.append))
    engine.schedule("held")
    for number in range(10):
        engine.schedule("note", number)
    engine.start_workers(1, block=False)
    wait_for(held.begun)
    thread = stopping(bench, engine)
    held.go_on.set()
    joined(thread)
    assert order == []
    counts = bench.counts(engine)
    assert (counts.ready, counts.leased, counts.members) == (10, 0, 0)
    with Ear("bench") as ear:
        engine.start_workers(1, stop_when_queue_empty=True)
    assert order == list(range(10))
    assert {kw["job"].attempt for kw in ear.of("job_started")} == {1}


def test_buffered_jobs_return_to_the_front_in_their_order_without_an_attempt(
    bench: Bench, held: Held
) -> None:
    # Jobs that take no time and fetches that take some fill the buffer behind the held job.
    order: list[int] = []
    names = iter(range(1000))

    class SlowLine(FlakyBroker):
        def fetch(self, turns: Any, **kwargs: Any) -> Any:
            bench.clock.advance(timedelta(milliseconds=5))
            replies = super().fetch(turns, **kwargs)
            for reply in replies:
                buffered.extend(lease for lease in reply.leases if not lease.direct)
            return replies

    buffered: list[Any] = []
    broker = SlowLine(bench.store, plan=lambda call: None, clock=bench.clock)
    tasks = holding(held, max_retries=1, note=order.append)
    engine = bench.engine(tasks, broker=broker)
    for _ in range(20):
        engine.schedule("note", next(names))
    engine.schedule("held")
    rest = list(range(20, 60))
    for _ in rest:
        engine.schedule("note", next(names))
    engine.start_workers(1, block=False)
    wait_for(held.begun)
    assert order == list(range(20))
    assert buffered, "nothing was ever buffered, so this shows nothing"
    thread = stopping(bench, engine)
    held.go_on.set()
    joined(thread)
    assert bench.counts(engine).ready == 40
    with Ear("bench") as ear:
        engine.start_workers(1, stop_when_queue_empty=True)
    assert order[20:] == rest
    assert {kw["job"].attempt for kw in ear.of("job_started")} == {1}


def test_a_stop_right_after_an_outage_leaves_the_queues(bench: Bench) -> None:
    # The beats got no answer, so the arbiter pauses when the stop comes.
    tasks = Tasks()
    for queue in ("one", "two", "three"):
        tasks.add(lambda: None, f"of.{queue}", queue=queue)
    failing, lost = False, []

    def plan(call: str) -> str | None:
        if failing and call in lost:
            calls.append(call)
            return "before"
        return None

    calls: list[str] = []
    broker = FlakyBroker(bench.store, plan=plan, clock=bench.clock)
    engine = bench.engine(tasks, broker=broker)
    engine.start_workers(1, queue=spinach.ALL_QUEUES, block=False)
    bench.settle()
    failing, lost = True, ["beat"]
    bench.advance(11 * SECOND)
    assert calls
    failing = False
    engine.stop_workers()
    assert [each.members for each in broker.counts(["one", "two", "three"])] == [0, 0, 0]

    # Where the broker is away again, one call finds out for all queues.
    engine.start_workers(1, queue=spinach.ALL_QUEUES, block=False)
    bench.settle()
    failing, lost = True, ["beat", "leave"]
    bench.advance(11 * SECOND)
    calls.clear()
    engine.stop_workers()
    assert calls.count("leave") == 1


@pytest.mark.parametrize(("lease", "beats"), [(30, 0), (10, 1)])
def test_a_stop_that_cannot_report_beats_only_where_the_lease_would_end_before(
    bench: Bench, lease: int, beats: int
) -> None:
    # A beat at a server that does not answer would make the stop longer by a timeout.
    calls: list[str] = []

    def plan(call: str) -> str | None:
        calls.append(call)
        return "before" if call in {"beat", "report"} and failing else None

    failing = False
    tasks = Tasks()
    tasks.add(lambda: None, "nothing")
    broker = FlakyBroker(bench.store, plan=plan, clock=bench.clock, lease=timedelta(seconds=lease))
    engine = bench.engine(tasks, broker=broker)
    engine.start_workers(1, block=False)
    bench.settle()
    bench.advance(lease / 3 * 0.9 * SECOND)
    failing = True
    engine.schedule("nothing")
    bench.settle()
    calls.clear()
    thread = stopping(bench, engine)
    bench.advance(9.9 * SECOND)
    assert thread.is_alive()
    bench.advance(0.1 * SECOND)
    joined(thread)
    assert calls.count("report") > 1
    assert min(1, calls.count("beat")) == beats


def test_the_end_of_the_grace_gives_back_what_may_run_again(
    bench: Bench, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    engine = bench.engine(holding(held, max_retries=2))
    engine.schedule("held")
    engine.start_workers(1, block=False, grace=timedelta(seconds=5))
    wait_for(held.begun)
    thread = stopping(bench, engine)
    bench.busy = 1
    bench.advance(4.9 * SECOND)
    assert thread.is_alive()
    bench.advance(0.1 * SECOND)
    joined(thread)
    counts = bench.counts(engine)
    assert (counts.ready, counts.leased, counts.retrying, counts.members) == (1, 0, 0, 0)
    (record,) = [r for r in caplog.records if "Grace is over" in r.getMessage()]
    assert record.levelno == logging.WARNING
    assert "task held still runs: job" in record.getMessage()
    assert "for 5.0 s. It is given back" in record.getMessage()
    assert (record.task, record.queue, record.attempt) == ("held", "spinach", 1)  # type: ignore[attr-defined]
    assert record.duration_ms == 5000  # type: ignore[attr-defined]
    # What the thread says of it later is void: the job is not its own any more.
    late_end(held)
    assert bench.counts(engine).ready == 1
    with Ear("bench") as ear:
        engine.start_workers(1, stop_when_queue_empty=True)
    assert held.runs == 2
    assert [kw["job"].attempt for kw in ear.of("job_started")] == [1]


def test_a_log_that_raises_when_the_grace_ends_disturbs_no_stop(
    bench: Bench, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("the log is full")

    engine = bench.engine(holding(held, max_retries=2))
    engine.schedule("held")
    engine.start_workers(1, block=False, grace=timedelta(0))
    wait_for(held.begun)
    monkeypatch.setattr("spinach.worker.arbiter.WORKER_LOGGER.warning", refuse)
    joined(stopping(bench, engine))
    counts = bench.counts(engine)
    # It has left, so nobody has to take it for dead.
    assert (counts.ready, counts.leased, counts.members) == (1, 0, 0)
    late_end(held)


def test_after_the_grace_an_at_most_once_job_stays_leased_and_its_outcome_counts(
    bench: Bench, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    engine = bench.engine(holding(held))
    engine.schedule("held")
    engine.start_workers(1, block=False, grace=timedelta(0))
    wait_for(held.begun)
    thread = stopping(bench, engine)
    joined(thread)
    assert "task held still runs" in caplog.text
    assert "Unless it ends before its lease does, it goes to the failed store" in caplog.text
    counts = bench.counts(engine)
    assert (counts.ready, counts.leased, counts.members) == (0, 1, 1)
    with Ear("bench") as ear:
        late_end(held)
    assert ear.jobs == [("job_finished", "SUCCEEDED")]
    counts = bench.counts(engine)
    assert (counts.ready, counts.leased, counts.failed) == (0, 0, 0)


def test_after_the_grace_an_at_most_once_job_that_never_ends_is_failed_by_recovery(
    bench: Bench, held: Held
) -> None:
    engine = bench.engine(holding(held), namespace="app")
    engine.schedule("held")
    engine.start_workers(1, block=False, grace=timedelta(0))
    wait_for(held.begun)
    joined(stopping(bench, engine))
    bench.busy = 1
    other = bench.engine(holding(held), namespace="app")
    with Ear("app") as ear:
        other.start_workers(1, block=False)
        bench.advance(timedelta(seconds=60))
    (failed,) = ear.of("job_failed")
    assert type(failed["err"]).__name__ == "WorkerLost"
    assert bench.counts(other).failed == 1
    assert held.runs == 1  # I3
    late_end(held)
    bench.busy = 0


def test_a_task_may_stop_its_own_workers(bench: Bench) -> None:
    tasks = Tasks()
    ran: list[int] = []

    @tasks.task(name="last")
    def last() -> None:
        ran.append(1)
        engine.stop_workers()  # returns, since it cannot wait for itself
        ran.append(2)

    tasks.add(lambda: ran.append(3), "after")
    engine = bench.engine(tasks)
    engine.schedule("last")
    engine.schedule("after")
    engine.start_workers(1)  # blocks until the task stops it
    assert ran == [1, 2]
    counts = bench.counts(engine)
    assert (counts.ready, counts.leased) == (1, 0)


def test_a_stop_counts_from_the_moment_the_start_begins(bench: Bench) -> None:
    # The first job may run, and ask for the stop, before start_workers has returned.
    class Impatient(MemoryBroker):
        def join(self, *args: Any) -> Any:
            engine.stop_workers(_join_arbiter=False)
            return super().join(*args)

    engine = bench.engine(Tasks(), broker=Impatient(bench.store, clock=bench.clock))
    engine.start_workers(2)  # returns
    assert engine_threads("bench") == []


def test_a_receiver_may_stop_the_workers(bench: Bench) -> None:
    from spinach import signals

    tasks = Tasks()
    tasks.add(lambda: None, "nothing")
    engine = bench.engine(tasks)
    engine.schedule("nothing")

    def stop(namespace: str, **kwargs: Any) -> None:
        engine.stop_workers()

    with signals.job_finished.connected_to(stop, sender="bench"):
        engine.start_workers(2)
    assert bench.counts(engine).unfinished == 0


def test_outcomes_are_reported_before_the_end_even_over_a_bad_line(
    bench: Bench, held: Held
) -> None:
    cuts = ["before", "after", "before"]

    def plan(call: str) -> str | None:
        return cuts.pop(0) if call == "report" and cuts else None

    broker = FlakyBroker(bench.store, plan=plan, clock=bench.clock)
    engine = bench.engine(holding(held), broker=broker)
    engine.schedule("held")
    engine.start_workers(1, block=False)
    wait_for(held.begun)
    thread = stopping(bench, engine)
    held.go_on.set()
    while thread.is_alive():
        bench.clock.advance(SECOND / 10)
        thread.join(0.01)
    assert cuts == []
    counts = bench.counts(engine)
    assert (counts.leased, counts.failed, counts.members) == (0, 0, 0)


def test_a_stop_is_bounded_with_the_broker_down(bench: Bench, held: Held) -> None:
    down: list[bool] = []
    broker = FlakyBroker(
        bench.store, plan=lambda call: "before" if down else None, clock=bench.clock
    )
    engine = bench.engine(holding(held), broker=broker)
    engine.schedule("held")
    engine.start_workers(1, block=False)
    wait_for(held.begun)
    down.append(True)
    thread = stopping(bench, engine)
    held.go_on.set()
    begin = bench.clock.now()
    while thread.is_alive():
        bench.clock.advance(SECOND / 2)
        thread.join(0.01)
        assert bench.clock.now() - begin < timedelta(minutes=2)
    # Nobody could be told; recovery will do it.
    down.clear()
    assert bench.counts(engine).leased == 1


def test_many_threads_may_stop_at_once(bench: Bench) -> None:
    engine = bench.engine(Tasks())
    for _ in range(10):
        engine.start_workers(3, block=False)
        threads = [threading.Thread(target=engine.stop_workers) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            joined(thread)
        assert engine_threads("bench") == []


def test_a_stop_right_after_the_start_ends_everything(bench: Bench) -> None:
    ran: list[int] = []
    tasks = Tasks()
    tasks.add(ran.append, "note")
    engine = bench.engine(tasks)
    for number in range(30):
        engine.schedule("note", number)
    for _ in range(30):
        engine.start_workers(2, block=False)
        engine.stop_workers()
        assert engine_threads("bench") == []
        counts = bench.counts(engine)
        assert (counts.leased, counts.members) == (0, 0)
    engine.start_workers(2, stop_when_queue_empty=True)
    assert sorted(ran) == list(range(30))


def test_asking_without_waiting_returns_at_once(bench: Bench, held: Held) -> None:
    engine = bench.engine(holding(held))
    engine.schedule("held")
    engine.start_workers(1, block=False)
    wait_for(held.begun)
    engine.stop_workers(_join_arbiter=False)
    assert engine_threads("bench")
    held.go_on.set()
    engine.stop_workers()
    assert engine_threads("bench") == []
