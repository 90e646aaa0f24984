"""Waits that a backoff chose pass on the turned clock, however long they are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from spinach import Backoff, Engine, Tasks
from spinach_testing import Jobs, TestWorker, VirtualClock

DAY = timedelta(days=1)
NOTHING = timedelta(0)


@pytest.mark.parametrize(
    ("backoff", "least", "most"),
    [
        pytest.param(None, timedelta(seconds=21), timedelta(seconds=42), id="default"),
        pytest.param(
            Backoff(first=DAY, factor=10, cap=30 * DAY, jitter=0.0), 41 * DAY, 41 * DAY, id="policy"
        ),
        pytest.param(lambda attempt: attempt * DAY, 6 * DAY, 6 * DAY, id="function"),
        pytest.param(lambda attempt: NOTHING, NOTHING, NOTHING, id="at once"),
    ],
)
def test_waits_of_every_kind_pass(
    spinach_engine: Engine,
    spinach_jobs: Jobs,
    spinach_worker: TestWorker,
    spinach_clock: VirtualClock,
    backoff: Backoff | Callable[[int], timedelta] | None,
    least: timedelta,
    most: timedelta,
) -> None:
    started: list[datetime] = []
    tasks = Tasks(max_retries=3)

    @tasks.task(name="ask", backoff=backoff)
    def ask() -> None:
        started.append(spinach_clock.now())
        if len(started) <= 3:
            raise ConnectionError("away")

    spinach_engine.attach_tasks(tasks)
    spinach_engine.schedule(ask)
    with spinach_jobs.expect_failure(ask, ConnectionError, count=3):
        spinach_worker.run_until_finished()
    assert len(started) == 4
    assert least <= started[-1] - started[0] <= most


def test_a_clock_that_is_turned_to_just_before_the_wait_starts_nothing(
    spinach_engine: Engine, spinach_jobs: Jobs, spinach_worker: TestWorker
) -> None:
    runs: list[int] = []

    @spinach_engine.task(name="ask", max_retries=1, backoff=lambda _: timedelta(seconds=30))
    def ask() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise ConnectionError("away")

    spinach_engine.schedule(ask)
    with spinach_jobs.expect_failure(ask, ConnectionError):
        spinach_worker.drain()
    spinach_worker.advance(timedelta(seconds=29.999))
    assert runs == [1]
    spinach_worker.advance(timedelta(milliseconds=1))
    assert runs == [1, 1]
