"""Backoff: exponential, with full jitter, within bounds."""

from __future__ import annotations

import random
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from spinach.backoff import CALL_CAP_SECONDS, Backoff, exponential_backoff, jittered_seconds


class Highest:
    """Takes the upper end of every range, and remembers the ranges."""

    def __init__(self) -> None:
        self.ranges: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float, /) -> float:
        self.ranges.append((a, b))
        return b


@given(st.integers(min_value=0, max_value=1_000_000))
def test_the_range_is_nothing_to_three_seconds_doubled_each_retry_up_to_twenty_minutes(
    retry: int,
) -> None:
    source = Highest()
    wait = exponential_backoff(retry, source=source)
    assert source.ranges == [(0.0, wait.total_seconds())]
    assert wait.total_seconds() == (3 * 2**retry if retry < 9 else 1200)


def test_the_first_bounds_are_those_of_the_documentation() -> None:
    bounds = [exponential_backoff(n, source=Highest()).total_seconds() for n in range(11)]
    assert bounds == [3, 6, 12, 24, 48, 96, 192, 384, 768, 1200, 1200]


@given(st.integers(min_value=0, max_value=100), st.integers(min_value=1, max_value=5000))
def test_the_cap_bounds_every_wait(attempt: int, cap: int) -> None:
    assert timedelta(0) <= exponential_backoff(attempt, cap) <= timedelta(seconds=cap)


@given(st.integers(min_value=0, max_value=100), st.randoms())
def test_a_wait_is_within_its_range_whatever_chance_says(retry: int, source: random.Random) -> None:
    seconds = jittered_seconds(retry, base_seconds=0.5, cap_seconds=60, source=source)
    assert 0 <= seconds <= min(60, 0.5 * 2.0 ** min(retry, 64))


def test_waits_are_spread_over_the_whole_range() -> None:
    source = random.Random(1)
    waits = [exponential_backoff(3, source=source).total_seconds() for _ in range(1000)]
    assert min(waits) < 1
    assert max(waits) > 23
    assert 11 < sum(waits) / len(waits) < 13


def test_without_a_source_the_random_module_decides() -> None:
    random.seed(7)
    first = exponential_backoff(5)
    random.seed(7)
    assert exponential_backoff(5) == first


def test_failed_calls_wait_longer_and_longer_up_to_the_cap() -> None:
    backoff = Backoff(Highest())
    waits = [backoff.failed() for _ in range(12)]
    assert waits[:4] == [0.02, 0.04, 0.08, 0.16]
    assert waits == sorted(waits)
    assert waits[-1] == CALL_CAP_SECONDS


def test_a_success_forgets_the_failures() -> None:
    backoff = Backoff(Highest())
    assert not backoff.failing
    backoff.failed()
    backoff.failed()
    assert backoff.failing
    backoff.succeeded()
    assert not backoff.failing
    assert backoff.failed() == 0.02
