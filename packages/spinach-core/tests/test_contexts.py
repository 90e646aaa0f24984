"""Each attempt, with its signals, runs in a context of its own, empty at first."""

from __future__ import annotations

import contextvars
import decimal
from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine, MemoryBroker, signals

from .support import Bench

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name")


def test_what_one_job_sets_the_next_one_does_not_see(bench: Bench) -> None:
    seen: list[tuple[str | None, int]] = []
    engine = bench.engine()

    @engine.task(name="set")
    def leak(name: str) -> None:
        seen.append((NAME.get(None), decimal.getcontext().prec))
        NAME.set(name)
        decimal.getcontext().prec = 3

    for name in ("a", "b", "c"):
        engine.schedule("set", name)
    engine.start_workers(1, stop_when_queue_empty=True)
    assert seen == [(None, decimal.DefaultContext.prec)] * 3


def test_an_attempt_that_failed_leaves_nothing_to_its_retry(bench: Bench) -> None:
    seen: list[str | None] = []
    engine = bench.engine()

    @engine.task(name="fail", max_retries=1)
    def fail() -> None:
        seen.append(NAME.get(None))
        NAME.set("failed")
        raise ValueError

    engine.schedule("fail")
    engine.start_workers(1, block=False)
    bench.settle()
    bench.advance(timedelta(minutes=1))
    assert seen == [None, None]


def test_signals_of_an_attempt_share_its_context(bench: Bench) -> None:
    seen: list[tuple[str, str | None]] = []
    engine = bench.engine()

    @engine.task(name="look")
    def look(number: int) -> None:
        seen.append(("task", NAME.get(None)))
        NAME.set(f"task {number}")

    def started(sender: str, job: Any, **_: Any) -> None:
        seen.append(("started", NAME.get(None)))
        NAME.set(f"job {job.task_args[0]}")

    def finished(sender: str, **_: Any) -> None:
        seen.append(("finished", NAME.get(None)))

    with (
        signals.job_started.connected_to(started, "bench"),
        signals.job_finished.connected_to(finished, "bench"),
    ):
        for number in (1, 2):
            engine.schedule("look", number)
        engine.start_workers(1, stop_when_queue_empty=True)
    assert seen == [
        ("started", None), ("task", "job 1"), ("finished", "task 1"),
        ("started", None), ("task", "job 2"), ("finished", "task 2"),
    ]  # fmt: skip


@pytest.mark.concurrency
def test_a_callback_begins_with_nothing_and_leaves_nothing() -> None:
    engine = Engine(MemoryBroker(), "callbacks")
    seen: list[str | None] = []
    engine.task(name="look")(lambda: seen.append(NAME.get(None)))

    def callback() -> None:
        seen.append(NAME.get(None))
        NAME.set("callback")

    def started(sender: str, **_: Any) -> None:
        NAME.set("thread")
        pool = engine._pool
        assert pool is not None
        for _ in range(2):
            pool._in_flight.run_callback(callback)
        engine.schedule("look")

    with signals.worker_started.connected_to(started, "callbacks"):
        engine.start_workers(1, stop_when_queue_empty=True)
    assert seen == [None, None, None]
