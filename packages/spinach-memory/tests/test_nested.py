"""Nested calls: signal handlers, finalizers and log handlers that schedule."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from spinach import Engine, MemoryBroker
from spinach.clock import SystemClock
from spinach.exc import NestedCall
from spinach_memory import MemoryStore
from spinach_testing.conformance import deposit, ids

if TYPE_CHECKING:
    from collections.abc import Callable

    from spinach_testing.conformance import Lab

INTERRUPTED = """
import signal
from collections import Counter
from spinach import Engine, MemoryBroker

spin = Engine(MemoryBroker())
ran = []
spin.task(name="note", max_retries=1)(lambda *what: ran.append(what))
nested, deep = [], []
EVERY = 0.0007

def on_alarm(*_):
    # Two deep at most, where a call takes longer than that.
    deep.append(None)
    if len(deep) == 1:
        signal.setitimer(signal.ITIMER_REAL, EVERY)
    what = ("nested", len(nested))
    nested.append(what)
    spin.schedule("note", *what)
    deep.pop()
    signal.setitimer(signal.ITIMER_REAL, EVERY)

signal.signal(signal.SIGALRM, on_alarm)
spin.start_workers(2, block=False)
signal.setitimer(signal.ITIMER_REAL, EVERY)
outer = [("outer", number) for number in range(20_000)]
for what in outer:
    spin.schedule("note", *what)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
spin.stop_workers()
spin.start_workers(2, stop_when_queue_empty=True)
assert Counter(ran) == Counter(outer + nested), (len(ran), len(outer), len(nested))
assert len(nested) > 100, len(nested)
"""


@pytest.mark.concurrency
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such timers")
def test_each_job_of_a_process_whose_signal_handler_schedules_runs_once() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", INTERRUPTED],
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


class Moment(SystemClock):
    """Calls something once when the store looks at its clock, under its lock."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.call: Callable[[], object] | None = None

    def now(self) -> datetime:
        if self.call is not None and self.store.shelves().in_call():
            call, self.call = self.call, None
            call()
        return super().now()


@pytest.fixture
def moment() -> Moment:
    return Moment()


@pytest.fixture
def spin(moment: Moment) -> Engine:
    spin = Engine(MemoryBroker(moment.store, clock=moment))
    spin.task(name="note")(lambda *_: None)
    return spin


def test_nested_jobs_are_there_for_whoever_asks_after_they_were_scheduled(
    moment: Moment, spin: Engine
) -> None:
    """Also for a thread that asks before the outer call has ended."""
    seen: list[int] = []
    broker = MemoryBroker(moment.store)
    broker.bind(spin.namespace, object())
    watcher = threading.Thread(target=lambda: seen.append(broker.counts(["spinach"])[0].ready))

    def schedule_and_tell() -> None:
        spin.schedule("note")
        watcher.start()

    moment.call = schedule_and_tell
    spin.schedule("note")
    watcher.join(10)
    assert seen[0] >= 1
    assert broker.counts(["spinach"])[0].ready == 2


def test_other_nested_calls_are_refused_and_change_nothing(moment: Moment, spin: Engine) -> None:
    refused: list[NestedCall] = []

    def look() -> None:
        for call in (
            lambda: spin.failed.list("spinach"),
            lambda: spin.start_workers(1, block=False),
        ):
            with pytest.raises(NestedCall, match="on the same thread") as info:
                call()
            refused.append(info.value)

    moment.call = look
    job = spin.schedule("note")
    assert len(refused) == 2
    assert job.status.name == "QUEUED"
    spin.start_workers(1, stop_when_queue_empty=True)


def test_nested_call_that_raises_leaves_the_store_usable(moment: Moment, spin: Engine) -> None:
    def schedule_and_fail() -> None:
        spin.schedule("note")
        raise KeyboardInterrupt

    moment.call = schedule_and_fail
    with pytest.raises(KeyboardInterrupt):
        spin.schedule("note")
    # The nested one was accepted; the outer one was not.
    assert moment.store.shelves().queue("spinach", "spinach").enqueued == 1
    ended = threading.Thread(target=spin.schedule, args=("note",))
    ended.start()
    ended.join(10)
    assert not ended.is_alive()
    assert moment.store.shelves().queue("spinach", "spinach").enqueued == 2


def test_finalizer_may_schedule(moment: Moment, spin: Engine) -> None:
    class Resource:
        def __init__(self) -> None:
            self.itself = self  # only the garbage collector finds it

        def __del__(self) -> None:
            spin.schedule("note", "finalized")

    def collect() -> Any:
        Resource()
        return gc.collect()

    moment.call = collect
    spin.schedule("note")
    assert moment.store.shelves().queue("spinach", "spinach").enqueued == 2


def test_clock_may_be_turned_in_the_middle_of_a_call(
    lab: Lab, store: MemoryStore, clock: Any
) -> None:
    """A clock that is turned notifies those who wait for the store, by its lock."""
    process, job = lab.process(), deposit()
    call = lab.background(lambda: process.fetch(block_seconds=5))
    clock.expect_wait()
    shelves = store.shelves()
    with shelves, shelves.lock:
        lab.enqueue(job)
        lab.advance(timedelta(seconds=1))
    assert ids(call.result().leases) == [job.stored_id]
