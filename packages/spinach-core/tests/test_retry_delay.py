"""When a failed job runs again, whatever the backoff of its task does."""

from __future__ import annotations

import logging
import random
import statistics
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from spinach import Backoff, RetryException, Tasks
from spinach.backoff import MAX_WAIT

from .support import Bench, Ear, Fixed

Policy = Backoff | Callable[[int], timedelta]


class Failing:
    """Fails a number of times, and notes when it ran, in seconds since the first time."""

    def __init__(self, bench: Bench, times: int) -> None:
        self.left = times
        self._clock = bench.clock
        self._began = bench.clock.now()
        self.ran_at: list[float] = []

    def __call__(self) -> None:
        self.ran_at.append((self._clock.now() - self._began).total_seconds())
        self.left -= 1
        if self.left >= 0:
            raise ConnectionError("down")


def run(
    bench: Bench,
    backoff: Policy | None,
    *,
    failures: int = 1,
    seconds: float = 30,
    step_seconds: float = 0.5,
    fraction: float = 1.0,
) -> list[float]:
    task = Failing(bench, failures)
    tasks = Tasks(max_retries=failures)
    tasks.add(task, "flaky", backoff=backoff)
    engine = bench.engine(tasks, random_source=Fixed(fraction))
    engine.schedule("flaky")
    engine.start_workers(1, block=False)
    bench.advance(timedelta(seconds=seconds), timedelta(seconds=step_seconds))
    counts = bench.counts(engine)
    assert (counts.unfinished, counts.failed) == (0, 0), f"left is {counts}"
    return task.ran_at


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_the_default_waits_half_to_all_of_6_12_and_24_seconds(
    bench: Bench, fraction: float
) -> None:
    waits = [most * (0.5 + fraction / 2) for most in (6, 12, 24)]
    assert run(bench, None, failures=3, seconds=50, fraction=fraction) == [
        0,
        waits[0],
        sum(waits[:2]),
        sum(waits),
    ]


def test_a_policy_of_the_task_says_how_long(bench: Bench) -> None:
    backoff = Backoff(first=timedelta(seconds=1), factor=3, cap=timedelta(seconds=5), jitter=0.0)
    assert run(bench, backoff, failures=4) == [0, 1, 4, 9, 14]


def test_a_function_gets_the_number_of_the_attempt_that_failed(bench: Bench) -> None:
    asked: list[int] = []

    def backoff(attempt: int) -> timedelta:
        asked.append(attempt)
        return timedelta(seconds=attempt)

    with Ear("bench") as ear:
        assert run(bench, backoff, failures=3) == [0, 1, 3, 6]
    failed = [kw["job"] for name, kw in ear.heard if name == "job_schedule_retry"]
    assert len(failed) == 3
    assert asked == [1, 2, 3]


def test_a_wait_of_nothing_is_a_retry_at_once(bench: Bench) -> None:
    assert run(bench, lambda _: timedelta(0), failures=3, seconds=0) == [0, 0, 0, 0]


def test_a_wait_is_rounded_up_to_the_millisecond(bench: Bench) -> None:
    ran_at = run(bench, lambda _: timedelta(microseconds=1), seconds=0.001, step_seconds=0.001)
    assert ran_at == [0, 0.001]


class Stretchy(timedelta):
    """As other libraries have them: with arithmetic of its own."""

    def __neg__(self) -> Any:
        return self

    def __floordiv__(self, other: Any) -> Any:
        return object()

    def __le__(self, other: Any) -> bool:
        raise TypeError("not to be compared")


def test_a_wait_of_another_library_is_the_same_wait(bench: Bench) -> None:
    assert run(bench, lambda _: Stretchy(seconds=1)) == [0, 1]


def test_a_retry_that_a_task_asks_for_without_an_instant_waits_by_its_policy(
    bench: Bench,
) -> None:
    ran_at: list[float] = []
    began = bench.clock.now()
    tasks = Tasks()

    @tasks.task(name="asks", max_retries=1, backoff=lambda _: timedelta(seconds=7))
    def asks() -> None:
        ran_at.append((bench.clock.now() - began).total_seconds())
        if len(ran_at) == 1:
            raise RetryException("not ready")

    engine = bench.engine(tasks)
    engine.schedule("asks")
    engine.start_workers(1, block=False)
    bench.advance(timedelta(seconds=10))
    assert ran_at == [0, 7]


# -- functions that break their word -------------------------------------------


def raises(attempt: int) -> timedelta:
    raise LookupError("no plan for it")


def exits(attempt: int) -> timedelta:
    raise SystemExit(3)


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class NamelessError(Exception, metaclass=Nameless):
    pass


def raises_nameless(attempt: int) -> timedelta:
    raise NamelessError


class RaisingBackoff(Backoff):
    def after(self, attempt: int, source: Any = None) -> timedelta:
        raise LookupError("no plan for it")


class BackwardBackoff(Backoff):
    def after(self, attempt: int, source: Any = None) -> timedelta:
        return timedelta(seconds=-1)


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("no text")


async def _later() -> timedelta:
    return timedelta(seconds=1)


def returns(value: Any) -> Callable[[int], timedelta]:
    return lambda attempt: value() if callable(value) else value


BROKEN: dict[str, tuple[Policy, str]] = {
    "raises": (raises, "it raised LookupError"),
    "raises what has no name": (raises_nameless, "NamelessError"),
    "subclass that raises": (RaisingBackoff(), "it raised LookupError"),
    "subclass that goes back": (BackwardBackoff(), "expected a timedelta from 0 to 3650 days"),
    "exits": (exits, "it raised SystemExit"),
    "nothing": (returns(None), "it returned None of type NoneType, expected a timedelta"),
    "number": (returns(3.5), "it returned 3.5 of type float, expected a timedelta"),
    "negative": (returns(timedelta(seconds=-1)), "expected a timedelta from 0 to 3650 days"),
    "too long": (returns(MAX_WAIT * 2), "expected a timedelta from 0 to 3650 days"),
    "longest": (returns(timedelta.max), "expected a timedelta from 0 to 3650 days"),
    "coroutine": (returns(_later), "of type coroutine, expected a timedelta"),
    "long text": (returns("x" * 10_000), "xxx... of type str, expected a timedelta"),
    "unprintable": (returns(Unprintable()), "it raised ValueError"),
}


@pytest.mark.parametrize(("backoff", "told"), BROKEN.values(), ids=BROKEN)
def test_a_function_that_breaks_its_word_leaves_the_choice_to_the_default(
    bench: Bench,
    backoff: Policy,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "spinach")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a coroutine that nobody awaited
        assert run(bench, backoff) == [0, 6]
    warning, failure = caplog.records
    assert (warning.name, warning.levelname) == ("spinach.job", "WARNING")
    assert "Backoff of task flaky cannot be used: it r" in warning.getMessage()
    assert "waits 6.0 s after attempt 1, as the default" in warning.getMessage()
    assert told in warning.getMessage()
    assert len(warning.getMessage()) < 600
    assert (warning.task, warning.attempt) == ("flaky", 1)  # type: ignore[attr-defined]
    assert (warning.exc_info is not None) is ("raised" in warning.getMessage())
    assert failure.getMessage().startswith("Job will be retried")


@pytest.fixture
def handler_that_raises() -> Iterator[None]:
    def raising(record: logging.LogRecord) -> bool:
        raise RuntimeError("bad filter")

    logger = logging.getLogger("spinach.job")
    logger.addFilter(raising)
    try:
        yield
    finally:
        logger.removeFilter(raising)


@pytest.mark.usefixtures("handler_that_raises")
def test_a_function_and_a_log_handler_that_raise_lose_no_job(bench: Bench) -> None:
    assert run(bench, raises) == [0, 6]


# -- beside the original -------------------------------------------------------


def original_wait(retry: int, source: random.Random) -> float:
    """Seconds before retry number `retry`, from 0, as spinach 0.0.25 draws them.

    Whole seconds from half to all of 3 s doubled for each attempt made, 20 minutes at most;
    it counts the attempt that failed.
    """
    half = min(3 * 2 ** (retry + 1), 1200) // 2
    return half + source.randint(0, half)


@pytest.mark.parametrize("retry", range(11))
def test_waits_are_spread_as_those_of_the_original(retry: int) -> None:
    source = random.Random(retry)
    theirs = [original_wait(retry, source) for _ in range(4000)]
    ours = [Backoff().after(retry + 1, source).total_seconds() for _ in range(4000)]
    assert min(theirs) <= min(ours)
    assert max(ours) <= max(theirs)
    # Whole seconds and any fraction differ by half a second on average; chance adds a little.
    tolerance = 0.6 + 0.02 * max(theirs)
    for one, other in zip(
        statistics.quantiles(ours, n=10), statistics.quantiles(theirs, n=10), strict=True
    ):
        assert abs(one - other) <= tolerance


JOBS = 200
AWAY = timedelta(seconds=20)
RETRIES = 3


def survivors(bench: Bench, backoff: Policy | None) -> int:
    """How many jobs succeed whose downstream is away for a while; by real workers."""
    back_at = bench.clock.now() + AWAY
    done: list[int] = []
    tasks = Tasks(max_retries=RETRIES, backoff=backoff)

    @tasks.task(name="ask")
    def ask(number: int) -> None:
        if bench.clock.now() < back_at:
            raise ConnectionError("the downstream is away")
        done.append(number)

    engine = bench.engine(tasks, random_source=random.Random(1))
    for number in range(JOBS):
        engine.schedule("ask", number)
    engine.start_workers(5, block=False)
    bench.advance(timedelta(seconds=50))
    counts = bench.counts(engine)
    assert (counts.unfinished, counts.failed) == (0, JOBS - len(done))
    assert len(set(done)) == len(done)
    return len(done)


def test_all_jobs_survive_20_seconds_without_their_downstream(bench: Bench) -> None:
    source = random.Random(1)
    originals = [sum(original_wait(n, source) for n in range(RETRIES)) for _ in range(JOBS)]
    assert min(originals) >= AWAY.total_seconds()
    assert survivors(bench, None) == JOBS


def test_few_jobs_survive_where_half_of_the_wait_is_not_for_certain(bench: Bench) -> None:
    # What the default was before: anything from nothing to 3 s, 6 s, 12 s.
    full_jitter = Backoff(first=timedelta(seconds=3), jitter=1.0)
    assert survivors(bench, full_jitter) < JOBS / 20
