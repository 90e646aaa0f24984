"""A clock that stands is told of, once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from spinach_memory.stopped_clock import StoppedClock
from spinach_testing.clock import START


class Hands:
    """A clock whose two hands a test moves by themselves."""

    def __init__(self) -> None:
        self.at = START
        self.seconds = 0.0

    def now(self):
        return self.at

    def monotonic(self):
        return self.seconds

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        raise NotImplementedError


def test_a_wall_clock_that_stands_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Hands()
    standing = StoppedClock(clock)
    for _ in range(5):
        standing.look()
        clock.seconds += 0.6
    [record] = caplog.records
    assert (record.name, record.levelname) == ("spinach.broker.memory", "WARNING")
    assert "The clock stands at 2030-01-01T00:00:00+00:00" in record.getMessage()
    assert "spinach_worker.advance()" in record.getMessage()


def test_many_looks_at_one_moment_tell_nothing(caplog: pytest.LogCaptureFixture) -> None:
    clock = Hands()
    standing = StoppedClock(clock)
    for _ in range(50):
        standing.look()
        clock.seconds += 0.01
    assert not caplog.records


def test_a_clock_that_moves_at_times_does_not_stand(caplog: pytest.LogCaptureFixture) -> None:
    clock = Hands()
    standing = StoppedClock(clock)
    for _ in range(50):
        standing.look()
        clock.seconds += 0.9
        standing.look()
        clock.at += timedelta(microseconds=1)
    assert not caplog.records


def test_a_clock_that_a_test_turns_may_stand(caplog: pytest.LogCaptureFixture) -> None:
    clock = Hands()
    standing = StoppedClock(clock)
    for _ in range(50):
        standing.look()
    assert not caplog.records
