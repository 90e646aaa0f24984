"""What is remembered of a server between calls."""

from __future__ import annotations

import logging

import pytest

from spinach_redis.transport import health
from spinach_redis.transport.health import Health

from .clocks import Clock


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


def hang(server: Health, clock: Clock, *, callers: int = 1) -> float:
    """Calls that wait for five seconds together; for how long the server rests then."""
    began = clock.now
    clock.now += 5.0
    for _ in range(callers):
        server.hung(TimeoutError("no answer"), began)
    return server.rest_until - clock.now


@pytest.mark.parametrize(
    "most, rests",
    [
        (health.MOST_REST_SECONDS, [1.0, 2.0, 2.0, 2.0]),
        (health.MOST_REST_OF_NODE_SECONDS, [1.0, 2.0, 4.0, 5.0]),
    ],
)
def test_server_that_lets_calls_wait_is_left_alone_longer_each_time(
    clock: Clock, most: float, rests: list[float]
) -> None:
    server, found = Health("there", most), []
    for _ in rests:
        found.append(hang(server, clock))
        clock.now = server.rest_until
    assert found == rests
    server.heard()
    assert server.rest_until == 0.0
    assert hang(server, clock) == 1.0
    assert server.rest_cause == "no answer"


def test_calls_that_wait_at_the_same_time_count_once(clock: Clock) -> None:
    assert hang(Health("there"), clock, callers=5) == 1.0


@pytest.mark.parametrize("error", [ConnectionError("refused"), OSError("reset")])
def test_server_that_refuses_is_asked_again(clock: Clock, error: Exception) -> None:
    server = Health("there")
    server.hung(error, clock.now)
    assert server.rest_until == 0.0
