"""What a job may cost, counted and not timed: encodings, lock acquisitions, wake-ups.

The bounds are what was measured when they were written. A change that raises one makes every
job dearer, and should say what it buys.
"""

from __future__ import annotations

import importlib
import math
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from spinach import Batch, Engine, MemoryBroker, Tasks
from spinach.brokers.calls import Verdict
from spinach.const import REPORT_CHUNK
from spinach.outcome import Outcome
from spinach.worker.buffer import LeasedJob
from spinach.worker.wake_up import WakeUp

from .support import PATIENCE
from .test_in_flight import Rig, succeeded

#: Jobs of one fetch.
BATCH = 1000


class CountingSync:
    """Makes locks and conditions that count how often they are taken and notified."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def Lock(self) -> Any:  # noqa: N802 - the name that threading has
        counts, lock = self.counts, threading.Lock()

        class Lock:
            def __enter__(self) -> bool:
                counts["taken"] += 1
                return lock.acquire(timeout=10)

            def __exit__(self, *_: object) -> None:
                lock.release()

            def acquire(self, blocking: bool = True, timeout: float = 10) -> bool:
                # Conditions try without blocking to learn whether it is taken.
                counts["taken"] += blocking
                return lock.acquire(blocking, timeout if blocking else -1)

            release = staticmethod(lock.release)

        return Lock()

    def Condition(self, lock: Any) -> Any:  # noqa: N802
        counts = self.counts

        class Condition(threading.Condition):
            def notify(self, n: int = 1) -> None:
                counts["woken"] += n
                super().notify(n)

        return Condition(lock)


def counting(monkeypatch: pytest.MonkeyPatch, *names: str) -> Counter[str]:
    """Count the calls of functions in `spinach.record`, such as "payload._ENCODE"."""
    counts: Counter[str] = Counter()

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return function(*args, **kwargs)

        return counted

    for name in names:
        module, _, function = f"spinach.record.{name}".rpartition(".")
        found = getattr(importlib.import_module(module), function)
        monkeypatch.setattr(f"{module}.{function}", wrap(name, found))
    return counts


def run_through(rig: Rig, threads: int) -> list[Outcome]:
    """Threads take turns until the buffer is empty; their last outcomes are handed in.

    Returns:
        All outcomes, in the order they were reported in.
    """
    running: dict[int, LeasedJob] = {}
    for number in range(BATCH):
        worker = number % threads
        before = running.get(worker)
        running[worker] = rig.take(worker, None if before is None else succeeded(before))
    rig.in_flight.close()
    for worker, job in running.items():
        rig.end(worker, job)
    reported: list[Outcome] = []
    while outcomes := rig.in_flight.collect((), REPORT_CHUNK):
        rig.in_flight.answered([Verdict.APPLIED] * len(outcomes))
        reported += outcomes
    return reported


@pytest.mark.parametrize("schedule", ["one", "batch"])
def test_arguments_are_encoded_once_and_decoded_once(
    schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = counting(monkeypatch, "payload._ENCODE", "payload._DECODE")
    spin = Engine(MemoryBroker())
    seen: list[tuple[str, int]] = []
    spin.task(name="note")(lambda text, number: seen.append((text, number)))
    if schedule == "one":
        for number in range(20):
            spin.schedule("note", "text", number=number)
    else:
        batch = Batch()
        for number in range(20):
            batch.schedule("note", "text", number=number)
        spin.schedule_batch(batch)
    assert counts == {"payload._ENCODE": 20}

    spin.start_workers(2, stop_when_queue_empty=True)
    assert sorted(seen) == [("text", number) for number in range(20)]
    assert counts == {"payload._ENCODE": 20, "payload._DECODE": 20}


def test_records_without_listeners_are_read_once_on_the_way_to_their_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spin = Engine(MemoryBroker())
    spin.task(name="nothing")(lambda: None)
    batch = Batch()
    for _ in range(20):
        batch.schedule("nothing")
    spin.schedule_batch(batch)
    counts = counting(monkeypatch, "header._read_line", "payload._DECODE")
    spin.start_workers(2, stop_when_queue_empty=True)
    assert counts["payload._DECODE"] == 20
    assert counts["header._read_line"] <= 20


@pytest.mark.parametrize("threads", [1, 10])
def test_job_takes_the_lock_of_the_hand_over_once(threads: int) -> None:
    sync = CountingSync()
    rig = Rig(sync=sync)
    rig.put(*range(BATCH))
    before = sync.counts["taken"]
    assert before == 1, "a whole fetch is put in under one lock"

    assert len(run_through(rig, threads)) == BATCH
    reports = -(-BATCH // REPORT_CHUNK)
    # Each thread comes once more to hand in its last outcome. A report takes two, one
    # look finds nothing left, and one is for the close.
    assert sync.counts["taken"] - before <= BATCH + threads + 2 * reports + 2


def test_batch_rings_the_notifier_and_the_arbiter_once() -> None:
    rig = Rig()
    rig.put(*range(BATCH))
    run_through(rig, threads=10)
    assert rig.notifier_rang == 1
    # The threads that come when the buffer is closed ring once each.
    assert rig.arbiter_rang <= 1 + 10 + 1


def test_batch_wakes_one_sleeping_thread_and_not_one_for_each_job() -> None:
    sync = CountingSync()
    rig = Rig(sync=sync)
    # Ten threads sleep, as `exchange` leaves them.
    rig.in_flight._idle = 10
    rig.put(*range(BATCH))
    assert sync.counts["woken"] == 1
    # The job is shorter than the time it takes to wake a thread: nobody else is woken.
    before = None
    for _ in range(BATCH):
        job = rig.take(1, None if before is None else succeeded(before))
        before = job
    assert sync.counts["woken"] == 1


@pytest.mark.concurrency
@pytest.mark.parametrize("threads", [1, 4])
def test_job_on_an_idle_worker_wakes_the_subscriber_once_at_most_and_the_arbiter_never(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: Counter[str] = Counter()
    wait = WakeUp.wait

    def counted(wake_up: WakeUp, timeout_seconds: float) -> bool:
        was_set = wait(wake_up, timeout_seconds)
        woken[threading.current_thread().name] += was_set
        return was_set

    monkeypatch.setattr(WakeUp, "wait", counted)
    broker = Waited()
    spin = Engine(broker)
    spin.task(name="nothing")(lambda: None)
    spin.start_workers(threads, block=False)
    for _ in range(20):
        # Each job finds the subscriber in its wait.
        assert broker.waits.acquire(timeout=PATIENCE)
        spin.schedule("nothing")
    assert broker.waits.acquire(timeout=PATIENCE)
    woken_by_then = dict(woken)
    spin.stop_workers()
    assert woken_by_then.get("spinach-arbiter", 0) == 0
    assert woken_by_then.get("spinach-subscriber", 0) <= 20 + 1


def test_a_row_of_jobs_with_a_time_limit_wakes_the_arbiter_once() -> None:
    rig = Rig()
    tasks = Tasks()
    tasks.add(print, "limited", time_limit=timedelta(seconds=10))
    jobs = rig.put(*range(100))
    for job in jobs:
        job.task = tasks.get("limited")
    outcome, looks = None, 0
    for _ in jobs:
        job = rig.take(1, outcome)
        outcome = succeeded(job)
        rig.advance(0.2)  # 20 s in all
        if rig.in_flight.overdue_in() == 0.0:
            looks += 1
            assert rig.in_flight.take_overdue() == []
    assert (rig.arbiter_rang, looks) == (1, 2)


def test_jobs_without_a_time_limit_are_never_looked_at() -> None:
    rig = Rig()
    rig.put(1)
    rig.take(1)
    assert rig.in_flight.overdue_in() == math.inf
    rig.in_flight._lock = None  # type: ignore[assignment] # nobody takes it
    assert rig.in_flight.take_overdue() == []


class Waited(MemoryBroker):
    """Tells of each fetch that waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Semaphore(0)

    def fetch(self, *args: Any, block_seconds: float = 0.0, **options: Any) -> Any:
        if block_seconds:
            self.waits.release()
        return super().fetch(*args, block_seconds=block_seconds, **options)
