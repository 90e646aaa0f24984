"""What is remembered of a server between calls."""

from __future__ import annotations

import logging

import pytest

from spinach_redis import health
from spinach_redis.health import Health


class Clock:
    """In place of the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(health, "time", clock)
    return clock


def test_server_that_now_answers_and_now_fails_is_logged_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = Health("there")
    for _ in range(50):
        server.failed(OSError("no connections left"))
        server.answered()
        clock.now += health.STEADY_SECONDS / 2
        server.answered()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    clock.now += health.STEADY_SECONDS
    for _ in range(5):
        server.answered()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_server_that_lets_calls_wait_is_left_alone_longer_each_time(clock: Clock) -> None:
    server = Health("there", health.MOST_REST_OF_NODE_SECONDS)
    rests = []
    for _ in range(7):
        server.hung(5.0)
        rests.append(server.rest_until - clock.now)
        clock.now = server.rest_until
    assert rests == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    server.heard()
    assert server.rest_until == 0.0
    server.hung(5.0)
    assert server.rest_until - clock.now == 1.0


def test_server_that_refuses_at_once_is_asked_again(clock: Clock) -> None:
    server = Health("there")
    server.hung(0.1)
    assert server.rest_until == 0.0
