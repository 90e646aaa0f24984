"""Delivery over a line that loses requests and answers: no job lost, none run twice."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from spinach import Batch, Engine, Tasks
from spinach.brokers.calls import Enrolment, FetchTurn
from spinach.exc import BrokerError
from spinach.outcome import Lease
from spinach_memory import MemoryBroker

from .support import PATIENCE, Bench, Ear, FlakyBroker, Tally, engine_threads, wait_for

SECOND = timedelta(seconds=1)

pytestmark = pytest.mark.concurrency


def noting(done: Tally, max_retries: int = 0, **options: Any) -> Tasks:
    tasks = Tasks()
    tasks.add(done.add, "note", max_retries=max_retries, **options)
    return tasks


def cutting(**cuts: list[str]) -> Callable[[str], str | None]:
    """Cut the first calls of a name, one after another."""
    return lambda call: cuts[call].pop(0) if cuts.get(call) else None


def schedule(engine: Engine, count: int) -> None:
    batch = Batch()
    for number in range(count):
        batch.schedule("note", number)
    engine.schedule_batch(batch)


@pytest.mark.parametrize("max_retries", [0, 3])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["join", "fetch", "report", "beat", "tick"])
def test_one_lost_call_of_each_kind_loses_and_doubles_nothing(
    bench: Bench, call: str, when: str, max_retries: int
) -> None:
    done = Tally()
    broker = FlakyBroker(bench.store, plan=cutting(**{call: [when]}), clock=bench.clock)
    engine = bench.engine(noting(done, max_retries), broker=broker)
    engine.schedule_at("note", bench.clock.now() + 5 * SECOND, 0)
    engine.start_workers(2, block=False)
    bench.advance(15 * SECOND)
    schedule(engine, 20)
    bench.advance(15 * SECOND)
    assert broker.cut == {(call, when): 1}
    assert Counter(done.calls) == Counter([0, *range(20)])
    assert bench.counts(engine).unfinished == 0


def test_leases_whose_answer_was_lost_are_received_by_the_reconciliation(bench: Bench) -> None:
    # I6
    done = Tally()
    broker = FlakyBroker(
        bench.store,
        plan=cutting(fetch=["after"], reconcile=["before", "after"]),
        clock=bench.clock,
    )
    engine = bench.engine(noting(done), broker=broker)
    schedule(engine, 3)
    with Ear("bench") as ear:
        engine.start_workers(3, block=False)
        bench.advance(10 * SECOND)
    assert sorted(done.calls) == [0, 1, 2]
    assert broker.cut == {
        ("fetch", "after"): 1,
        ("reconcile", "before"): 1,
        ("reconcile", "after"): 1,
    }
    assert {kw["job"].attempt for kw in ear.of("job_started")} == {1}


def test_an_outcome_is_reported_again_until_it_is_answered(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    done = Tally()
    broker = FlakyBroker(
        bench.store, plan=cutting(report=["after", "before", "after"]), clock=bench.clock
    )
    engine = bench.engine(noting(done), broker=broker)
    schedule(engine, 5)
    engine.start_workers(1, block=False)
    bench.advance(20 * SECOND)
    assert done.calls == list(range(5))
    assert bench.counts(engine).unfinished == 0
    messages = [r.getMessage() for r in caplog.records if r.name == "spinach.worker"]
    assert sum("cannot be reported, retrying" in m for m in messages) == 1
    # A refusal of what was sent before is what a repeat looks like, and is no news (I5).
    assert not any("refused" in m for m in messages)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("max_retries", [0, 2])
def test_a_line_that_loses_a_third_of_all_calls_loses_and_doubles_nothing(
    bench: Bench, seed: int, max_retries: int
) -> None:
    # I3, I4: nobody dies here, so that even jobs that may repeat run once.
    chance, lock = random.Random(seed), threading.Lock()
    flaky = True

    def plan(call: str) -> str | None:
        with lock:
            return chance.choice([None, None, None, None, "before", "after"]) if flaky else None

    done = Tally()
    engines = []
    for number in range(2):
        broker = FlakyBroker(bench.store, plan=plan, clock=bench.clock)
        engine = bench.engine(
            noting(done, max_retries), namespace="app", broker=broker,
            random_source=random.Random(seed * 2 + number),
        )  # fmt: skip
        engines.append(engine)
    schedule(engines[0], 60)
    for engine in engines:
        engine.start_workers(3, block=False)
    bench.advance(20 * SECOND, SECOND / 4)
    flaky = False
    bench.advance(40 * SECOND)
    assert Counter(done.calls) == Counter(range(60))
    assert bench.counts(engines[0]).unfinished == 0


def test_a_broker_that_is_down_at_the_start_is_tried_until_it_is_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "spinach")
    down = True
    broker = FlakyBroker(
        bench.store, plan=lambda call: "before" if down else None, clock=bench.clock
    )
    done = Tally()
    engine = bench.engine(noting(done), broker=broker)
    schedule(engine, 2)
    engine.start_workers(2, block=False)
    bench.advance(60 * SECOND)
    assert done.calls == []
    assert 10 < broker.cut["join", "before"] < 100  # it waits longer and longer, 5 s at most
    down = False
    bench.advance(10 * SECOND)
    assert sorted(done.calls) == [0, 1]
    messages = [r.getMessage() for r in caplog.records]
    assert sum("is unavailable, retrying" in m for m in messages) == 1
    assert sum("is available again" in m for m in messages) == 1


class DeadProcess:
    """A process that takes jobs and is not heard of again."""

    def __init__(self, bench: Bench, name: str = "dead") -> None:
        self._broker = bench.brokers[bench.engine(namespace="app")]
        self._name = name
        self._number = 0
        self._broker.join("spinach", name, Enrolment(lease_ms=30_000))

    def take(self, idle: int = 1, extra: int = 0) -> list[Lease]:
        self._number += 1
        # In case the job was put aside by a process that does not know it.
        turn = FetchTurn("spinach", self._name, self._number, parks=("note",))
        (reply,) = self._broker.fetch([turn], idle=idle, extra=extra, max_bytes=10**6)
        return list(reply.leases)


def test_an_at_most_once_job_whose_worker_died_is_failed_and_never_run_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    # I3, I11
    done = Tally()
    engine = bench.engine(noting(done), namespace="app")
    job = engine.schedule("note", "secret")
    assert DeadProcess(bench).take()
    with Ear("app") as ear:
        engine.start_workers(1, block=False)
        bench.advance(40 * SECOND)
    assert done.calls == []
    (failed,) = ear.of("job_failed")
    assert failed["job"].id == job.id
    assert failed["job"].status.name == "FAILED"
    assert type(failed["err"]).__name__ == "WorkerLost"
    assert str(job.id) in str(failed["err"])
    (entry,) = engine.failed.list()
    assert entry.job.id == job.id
    (record,) = [r for r in caplog.records if r.name == "spinach.job"]
    assert (record.levelname, record.job_id) == ("ERROR", str(job.id))
    assert "secret" not in caplog.text


def test_a_repeatable_job_whose_worker_died_runs_again_with_an_attempt_spent(
    bench: Bench,
) -> None:
    # I7, I11: within lease + 10 s, plus a random delay.
    done = Tally()
    engine = bench.engine(noting(done, max_retries=3), namespace="app")
    engine.schedule("note", 1)
    assert DeadProcess(bench).take()
    with Ear("app") as ear:
        engine.start_workers(1, block=False)
        bench.advance(60 * SECOND)
    assert done.calls == [1]
    assert [kw["job"].attempt for kw in ear.of("job_started")] == [2]


def test_a_job_that_only_waited_in_the_buffer_of_the_dead_spends_nothing(bench: Bench) -> None:
    # I7
    done = Tally()
    engine = bench.engine(noting(done, max_retries=3), namespace="app")
    schedule(engine, 3)
    leases = DeadProcess(bench).take(idle=0, extra=3)
    assert [lease.direct for lease in leases] == [False] * 3
    with Ear("app") as ear:
        engine.start_workers(1, block=False)
        bench.advance(60 * SECOND)
    assert sorted(done.calls) == [0, 1, 2]
    assert {kw["job"].attempt for kw in ear.of("job_started")} == {1}


def test_a_job_that_lost_three_workers_is_poison_whatever_attempts_it_has_left(
    bench: Bench,
) -> None:
    # I12
    done = Tally()
    engine = bench.engine(noting(done, max_retries=99), namespace="app")
    engine.schedule("note", 1)
    survivor = bench.engine(Tasks(), namespace="app")  # recovers, and cannot run it
    with Ear("app") as ear:
        for number in range(3):
            assert DeadProcess(bench, f"dead-{number}").take()
            survivor.start_workers(1, block=False)
            bench.advance(60 * SECOND)
            survivor.stop_workers()
    assert [type(kw["err"]).__name__ for kw in ear.of("job_failed")] == ["WorkerLost"]
    assert bench.counts(engine).failed == 1
    assert done.calls == []


def test_a_process_that_was_taken_for_dead_joins_again_and_starts_nothing_it_lost(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    # I5, I16: cut off for longer than its lease while another process lives.
    done = Tally()
    cut = False
    broker = FlakyBroker(
        bench.store, plan=lambda call: "before" if cut else None, clock=bench.clock
    )
    away = bench.engine(noting(done), namespace="app", broker=broker)
    away.start_workers(2, block=False)
    bench.settle()
    cut = True
    bench.advance(2 * SECOND)
    other = bench.engine(noting(done), namespace="app")
    other.start_workers(2, block=False)
    bench.advance(90 * SECOND)
    schedule(other, 5)
    bench.advance(5 * SECOND)
    cut = False
    bench.advance(15 * SECOND)
    schedule(other, 5)
    bench.advance(5 * SECOND)
    assert Counter(done.calls) == Counter(dict.fromkeys(range(5), 2))
    assert "Lease on queue spinach expired, rejoining" in caplog.text
    assert bench.counts(other).members == 2


def test_an_outcome_that_comes_too_late_is_refused_and_said_so_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    # I5: a process loses its lease while a job runs; what it says then changes nothing.
    begun, go_on = threading.Event(), threading.Event()
    runs = Tally()
    tasks = Tasks()

    @tasks.task(name="slow", max_retries=1)
    def slow() -> None:
        runs.add(threading.current_thread().name)
        if len(runs) == 1:
            begun.set()
            assert go_on.wait(20)

    cut = False
    broker = FlakyBroker(
        bench.store, plan=lambda call: "before" if cut else None, clock=bench.clock
    )
    away = bench.engine(tasks, namespace="app", broker=broker)
    away.schedule("slow")
    away.start_workers(1, block=False)
    assert begun.wait(20)
    cut = True
    bench.busy = 1
    other = bench.engine(tasks, namespace="app")
    other.start_workers(1, block=False)
    bench.advance(90 * SECOND)
    assert len(runs) == 2  # recovered, and run by the other process
    cut = False
    bench.busy = 0
    go_on.set()
    bench.advance(20 * SECOND)
    counts = bench.counts(other)
    assert (counts.unfinished, counts.failed) == (0, 0)
    assert len(runs) == 2


@pytest.mark.parametrize("call", ["fetch", "beat", "tick", "report", "recover"])
def test_a_broker_that_raises_stops_the_engine_which_says_so(
    bench: Bench, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    error = BrokerError("The password was refused.")
    broken: list[str] = []

    def plan(name: str) -> BaseException | None:
        return error if name in broken else None

    done = Tally()
    broker = FlakyBroker(bench.store, plan=plan, clock=bench.clock)
    engine = bench.engine(noting(done), namespace="app", broker=broker)
    if call == "recover":
        schedule(engine, 1)
        assert DeadProcess(bench).take()
    engine.start_workers(2, block=False)
    bench.settle()
    broken.append(call)
    if call in {"fetch", "report"}:
        schedule(engine, 1)
    if call == "tick":
        engine.schedule_at("note", bench.clock.now() + SECOND, 1)
    pool = engine._pool
    assert pool is not None
    for _ in range(120):
        if not pool.running:
            break
        bench.advance(SECOND)
    assert not pool.running
    assert pool.error is error
    assert engine_threads("app") == []
    critical = [r for r in caplog.records if r.levelname == "CRITICAL"]
    assert critical
    assert critical[0].name == "spinach.engine"
    assert "died, stopping the workers" in critical[0].getMessage()
    assert critical[0].exc_info
    assert critical[0].exc_info[1] is error
    broken.clear()
    engine.start_workers(1, block=False)  # another try is allowed
    engine.stop_workers()


def test_a_blocking_start_raises_what_ended_the_workers(bench: Bench) -> None:
    error = BrokerError("The password was refused.")
    broker = FlakyBroker(
        bench.store, plan=lambda call: error if call == "fetch" else None, clock=bench.clock
    )
    engine = bench.engine(Tasks(), broker=broker)
    with pytest.raises(BrokerError) as info:
        engine.start_workers(1)
    assert info.value is error
    assert engine_threads("bench") == []


def test_a_broker_that_refuses_the_join_refuses_the_start(bench: Bench) -> None:
    error = BrokerError("The password was refused.")
    broker = FlakyBroker(
        bench.store, plan=lambda call: error if call == "join" else None, clock=bench.clock
    )
    engine = bench.engine(Tasks(), broker=broker)
    with pytest.raises(BrokerError) as info:
        engine.start_workers(1, block=False)
    assert info.value is error
    assert engine_threads("bench") == []
    engine.attach_tasks(Tasks())  # no workers run


def test_a_stop_does_not_wait_for_outcomes_that_a_dead_notifier_will_not_report(
    bench: Bench,
) -> None:
    logging_, left = threading.Event(), threading.Event()

    class Buggy(MemoryBroker):
        def report(self, outcomes: Any) -> Any:
            raise ZeroDivisionError("a bug")

        def leave(self, turn: Any) -> Any:
            left.set()
            return super().leave(turn)

    class SlowHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # The dying thread is still there while the arbiter winds up.
            logging_.set()
            left.wait(PATIENCE)

    done = Tally()
    engine = bench.engine(noting(done), broker=Buggy(bench.store, clock=bench.clock))
    schedule(engine, 1)
    handler = SlowHandler(logging.CRITICAL)
    logging.getLogger("spinach.engine").addHandler(handler)
    try:
        engine.start_workers(1, block=False)
        wait_for(logging_, "the record of the death")
        wait_for(left, "the end of the membership, without any time passing")
        engine.stop_workers()
    finally:
        logging.getLogger("spinach.engine").removeHandler(handler)


def test_an_exception_in_the_broker_that_nobody_foresaw_ends_like_any_other(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    class Buggy(MemoryBroker):
        def report(self, outcomes: Any) -> Any:
            raise ZeroDivisionError("a bug")

    done = Tally()
    engine = bench.engine(noting(done), broker=Buggy(bench.store, clock=bench.clock))
    schedule(engine, 1)
    with pytest.raises(ZeroDivisionError):
        engine.start_workers(2)
    assert engine_threads("bench") == []
    assert "bench-result-notifier" in caplog.text
