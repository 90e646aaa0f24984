"""The pytest plugin: real workers, on a clock that the test turns."""

from datetime import timedelta

import pytest

from spinach import RetryException, Tasks

tasks = Tasks()
sent: list[str] = []


@tasks.task(name="remind", max_retries=5)
def remind(name: str) -> None:
    sent.append(name)
    if sent.count(name) < 3:
        raise RetryException("nobody answered")


@tasks.task(name="daily", periodicity=timedelta(days=1))
def daily() -> None:
    sent.append("daily")


@pytest.fixture(scope="session")
def spinach_tasks():
    return [tasks]


def test_a_reminder_is_repeated_until_somebody_answers(spinach_engine, spinach_worker):
    tasks.schedule(remind, "ada")
    spinach_worker.drain()
    assert sent == ["ada"]
    spinach_worker.advance(timedelta(hours=1))
    assert sent == ["ada"] * 3


def test_a_year_of_a_daily_task_takes_no_time(spinach_worker):
    spinach_worker.advance(timedelta(days=365))
    assert sent.count("daily") == 365
