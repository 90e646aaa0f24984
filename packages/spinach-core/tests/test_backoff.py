"""Backoff: exponential, with jitter, within bounds."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinach import Backoff, Tasks
from spinach.backoff import (
    CALL_CAP_SECONDS,
    MAX_WAIT,
    CallBackoff,
    exponential_backoff,
    jittered_seconds,
)
from spinach.exc import InvalidTask


class Highest:
    """Takes the upper end of every range, and remembers the ranges."""

    def __init__(self) -> None:
        self.ranges: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float, /) -> float:
        self.ranges.append((a, b))
        return b


class Fixed:
    """Takes every range at the same place, from 0 to 1."""

    def __init__(self, at: float) -> None:
        self.at = at

    def uniform(self, a: float, b: float, /) -> float:
        return a + self.at * (b - a)


def span_of(backoff: Backoff, attempt: int) -> tuple[float, float]:
    """What a wait is drawn from, in seconds."""
    source = Highest()
    backoff.after(attempt, source)
    [span] = source.ranges
    return span


# -- the wait of jobs ----------------------------------------------------------


@given(st.integers(min_value=1, max_value=1_000_000))
def test_the_default_is_half_to_all_of_six_seconds_doubled_each_time_up_to_twenty_minutes(
    attempt: int,
) -> None:
    most = 6 * 2 ** (attempt - 1) if attempt < 9 else 1200
    assert span_of(Backoff(), attempt) == (most / 2, most)


def test_the_first_spans_are_those_of_the_documentation() -> None:
    spans = [span_of(Backoff(), attempt) for attempt in range(1, 11)]
    assert [low for low, _ in spans] == [3, 6, 12, 24, 48, 96, 192, 384, 600, 600]
    assert [high for _, high in spans] == [6, 12, 24, 48, 96, 192, 384, 768, 1200, 1200]


def test_each_part_of_a_policy_counts() -> None:
    backoff = Backoff(first=timedelta(seconds=2), factor=3, cap=timedelta(seconds=15), jitter=0.25)
    assert [span_of(backoff, attempt) for attempt in (1, 2, 3, 4)] == [
        (1.5, 2),
        (4.5, 6),
        (11.25, 15),
        (11.25, 15),
    ]


def test_without_jitter_nothing_is_left_to_chance() -> None:
    backoff = Backoff(first=timedelta(seconds=5), factor=1.0, jitter=0.0)
    assert {backoff.after(attempt) for attempt in (1, 2, 50)} == {timedelta(seconds=5)}


@pytest.mark.parametrize("attempt", [10_000, 2**70])
@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0, 1e308], ids=str)
def test_no_attempt_and_no_factor_is_too_large(attempt: int, factor: float) -> None:
    wait = Backoff(factor=factor, jitter=0.0).after(attempt)
    assert wait == (timedelta(seconds=6) if factor == 1.0 else timedelta(minutes=20))


@given(st.integers(min_value=1, max_value=100), st.randoms())
def test_a_wait_is_within_its_span_whatever_chance_says(
    attempt: int, source: random.Random
) -> None:
    low, high = span_of(Backoff(), attempt)
    assert low <= Backoff().after(attempt, source).total_seconds() <= high


def test_without_a_source_the_random_module_decides() -> None:
    random.seed(7)
    first = Backoff().after(5), exponential_backoff(5)
    random.seed(7)
    assert (Backoff().after(5), exponential_backoff(5)) == first


def test_a_policy_is_a_value() -> None:
    assert Backoff() == Backoff(first=timedelta(seconds=6))
    assert hash(Backoff()) == hash(Backoff())
    with pytest.raises(AttributeError):
        Backoff().jitter = 1.0  # type: ignore[misc]  # that it is frozen is what is tested


# -- what is checked when a task is registered ---------------------------------


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"first": timedelta(0)}, "first of Backoff is datetime.timedelta(0)"),
        ({"first": timedelta(seconds=-1)}, "first of Backoff"),
        ({"first": timedelta(microseconds=999)}, "at least 0.001 seconds"),
        ({"first": 6}, "first of Backoff is 6"),
        ({"cap": timedelta(seconds=5)}, "cap of Backoff .* at least 6 seconds"),
        ({"cap": 1200}, "cap of Backoff is 1200"),
        ({"cap": MAX_WAIT + timedelta(seconds=1)}, "at most 3650 days"),
        ({"factor": 0.99}, "factor of Backoff is 0.99"),
        ({"factor": float("inf")}, "factor of Backoff is inf"),
        ({"factor": 10**400}, "factor of Backoff is 1000"),
        ({"factor": float("nan")}, "factor of Backoff is nan"),
        ({"factor": "2"}, "factor of Backoff is '2'"),
        ({"factor": True}, "factor of Backoff is True"),
        ({"jitter": -0.1}, "jitter of Backoff is -0.1"),
        ({"jitter": 1.1}, "at least 0 and at most 1"),
        ({"jitter": None}, "jitter of Backoff is None"),
        ({"jitter": float("nan")}, "jitter of Backoff is nan"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidTask, match=told.replace("(0)", r"\(0\)")):
        Backoff(**wrong)


async def asynchronous(attempt: int) -> timedelta:
    return timedelta(seconds=attempt)


def generator(attempt: int) -> Any:
    yield timedelta(seconds=attempt)


class Asynchronous:
    async def __call__(self, attempt: int) -> timedelta:
        return timedelta(seconds=attempt)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (5, "backoff is 5 of type int, expected a Backoff"),
        (timedelta(seconds=5), "of type timedelta, expected a Backoff"),
        (Backoff, "of type type, expected a Backoff"),
        (asynchronous, "an async or generator function"),
        (functools.partial(asynchronous), "an async or generator function"),
        (functools.partial(Asynchronous()), "an async or generator function"),
        (Asynchronous(), "an async or generator function"),
        (generator, "an async or generator function"),
        (lambda: timedelta(0), "does not take one argument"),
        (lambda attempt, error: timedelta(0), "does not take one argument"),
        (lambda *, attempt: timedelta(0), "does not take one argument"),
    ],
)
def test_what_cannot_be_a_backoff_is_refused_when_it_is_registered(wrong: Any, told: str) -> None:
    tasks = Tasks()
    with pytest.raises(InvalidTask, match=told):
        tasks.add(print, "t", max_retries=1, backoff=wrong)
    with pytest.raises(InvalidTask, match=told):
        tasks.task(name="t", backoff=wrong)(print)
    with pytest.raises(InvalidTask, match=told):
        Tasks(backoff=wrong)
    assert tasks.names == []


@pytest.mark.parametrize(
    "backoff",
    [
        Backoff(),
        Backoff().after,
        lambda attempt: timedelta(attempt),
        lambda attempt, more=1: timedelta(attempt),
        lambda *args: timedelta(0),
        functools.partial(lambda a, b: timedelta(b), 1),
    ],
)
def test_a_policy_and_any_function_of_one_argument_can_be_a_backoff(
    backoff: Backoff | Callable[[int], timedelta],
) -> None:
    tasks = Tasks()
    tasks.add(print, "t", backoff=backoff)
    assert tasks.get("t").backoff is backoff


def test_a_tasks_backoff_goes_before_the_registrys_and_that_before_the_default() -> None:
    mine, theirs = Backoff(jitter=0.0), Backoff(jitter=1.0)
    tasks = Tasks(backoff=theirs)
    tasks.add(print, "of.registry")
    tasks.add(print, "of.task", backoff=mine)
    plain = Tasks()
    plain.add(print, "plain")
    assert tasks.get("of.registry").backoff is theirs
    assert tasks.get("of.task").backoff is mine
    assert plain.get("plain").backoff == Backoff()


# -- the other waits -----------------------------------------------------------


@given(st.integers(min_value=0, max_value=1_000_000), st.integers(min_value=1, max_value=5000))
def test_exponential_backoff_is_half_to_all_of_three_seconds_doubled_each_attempt(
    attempt: int, cap: int
) -> None:
    """In whole seconds, as the older spinach has it."""
    half = min(3 * 2 ** min(attempt, 20), cap) // 2
    drawn = [exponential_backoff(attempt, cap, source=Fixed(at)) for at in (0.0, 0.5, 1.0)]
    assert drawn[0] == timedelta(seconds=half)
    assert drawn[1] == timedelta(seconds=half + (half + 1) // 2)
    assert drawn[2] == timedelta(seconds=2 * half)


def test_exponential_backoff_draws_each_second_of_its_span() -> None:
    source = random.Random(7)
    waits = {exponential_backoff(2, source=source) for _ in range(300)}
    assert waits == {timedelta(seconds=each) for each in range(6, 13)}


@given(st.integers(min_value=0, max_value=100), st.integers(min_value=1, max_value=5000))
def test_the_cap_bounds_every_wait(attempt: int, cap: int) -> None:
    assert timedelta(0) <= exponential_backoff(attempt, cap) <= timedelta(seconds=cap)


def test_a_task_waits_by_default_within_the_span_of_exponential_backoff() -> None:
    for attempt in range(1, 20):
        ends = [exponential_backoff(attempt, source=Fixed(at)).total_seconds() for at in (0, 1)]
        assert tuple(ends) == span_of(Backoff(), attempt)


@given(st.integers(min_value=0, max_value=100), st.randoms())
def test_seconds_are_within_their_range_whatever_chance_says(
    retry: int, source: random.Random
) -> None:
    seconds = jittered_seconds(retry, base_seconds=0.5, cap_seconds=60, source=source)
    assert 0 <= seconds <= min(60, 0.5 * 2.0 ** min(retry, 64))


def test_failed_calls_wait_longer_and_longer_up_to_the_cap() -> None:
    source = Highest()
    backoff = CallBackoff(source)
    waits = [backoff.failed() for _ in range(12)]
    assert waits[:4] == [0.02, 0.04, 0.08, 0.16]
    assert waits == sorted(waits)
    assert waits[-1] == CALL_CAP_SECONDS
    assert {low for low, _ in source.ranges} == {0.0}


def test_a_success_forgets_the_failures() -> None:
    backoff = CallBackoff(Highest())
    assert not backoff.failing
    backoff.failed()
    backoff.failed()
    assert backoff.failing
    backoff.succeeded()
    assert not backoff.failing
    assert backoff.failed() == 0.02
