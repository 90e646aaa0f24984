"""Datetimes of other libraries, wherever an instant comes in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest

from spinach import Batch, Engine, RetryException
from spinach.clock import as_utc, to_ms
from spinach.exc import InvalidArgument

from .support import NOON, Bench, Ear


def refuse(self: object, *args: object) -> Any:
    # What the arithmetic of pendulum raised.
    raise AttributeError("This datetime computes in another way.")


class Hostile(datetime):
    """Shares fields and offset with a datetime, and nothing else."""

    __add__ = __radd__ = __sub__ = __rsub__ = __eq__ = __lt__ = __le__ = __gt__ = __ge__ = refuse
    __hash__ = refuse  # type: ignore[assignment]
    astimezone = replace = timestamp = date = time = timetz = utctimetuple = refuse  # type: ignore[assignment]
    isoformat = __repr__ = __str__ = refuse  # type: ignore[assignment]


class Offset(timedelta):
    """Of a `utcoffset` that computes in another way, too."""

    __neg__ = __sub__ = __rsub__ = __radd__ = refuse  # type: ignore[assignment]


class Zone(tzinfo):
    def __init__(self, offset: timedelta | None) -> None:
        self.offset = offset

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        return self.offset

    def dst(self, at: datetime | None) -> timedelta | None:
        return None


class NotATime(datetime):
    """As pandas has for a time that is missing."""

    year = month = day = float("nan")  # type: ignore[assignment]


LATER = NOON + timedelta(hours=1)
SAME: dict[str, datetime] = {
    "pendulum": pendulum.datetime(2030, 1, 1, 13, tz="UTC"),
    "pendulum elsewhere": pendulum.datetime(2030, 1, 1, 8, tz="America/New_York"),
    "pendulum naive": pendulum.naive(2030, 1, 1, 13),
    "zoneinfo": datetime(2030, 1, 1, 8, tzinfo=ZoneInfo("America/New_York")),
    "hostile": Hostile(2030, 1, 1, 11, tzinfo=timezone(timedelta(hours=-2))),
    "hostile naive": Hostile(2030, 1, 1, 13),
    "an offset of a class of its own": datetime(2030, 1, 1, 15, tzinfo=Zone(Offset(hours=2))),
    "a zone without an offset": datetime(2030, 1, 1, 13, tzinfo=Zone(None)),
}


@pytest.mark.parametrize("case", SAME)
def test_an_instant_comes_out_as_a_plain_datetime_in_utc(case: str) -> None:
    result = as_utc(SAME[case])
    assert type(result) is datetime
    assert result.tzinfo is UTC
    assert result == LATER


@pytest.mark.parametrize("case", ["pendulum", "pendulum elsewhere", "hostile"])
def test_a_clock_may_tell_the_time_in_a_class_of_its_own(case: str) -> None:
    assert to_ms(SAME[case]) == to_ms(LATER)


def test_the_second_time_of_an_hour_that_comes_twice_is_told_from_the_first() -> None:
    zone = "Europe/Berlin"
    first = pendulum.datetime(2030, 10, 27, 2, 30, tz=zone, fold=0)
    second = pendulum.datetime(2030, 10, 27, 2, 30, tz=zone, fold=1)
    assert as_utc(second) - as_utc(first) == timedelta(hours=1)
    assert (
        as_utc(first) == as_utc(first.replace(fold=0)) == datetime(2030, 10, 27, 0, 30, tzinfo=UTC)
    )


@pytest.mark.parametrize("at", [NotATime(2030, 1, 1), datetime(2030, 1, 1, tzinfo=Zone(Offset(2)))])
def test_what_names_no_instant_is_refused(at: datetime) -> None:
    with pytest.raises(InvalidArgument, match=r"names no instant .* Pass a datetime"):
        as_utc(at)


@pytest.mark.parametrize("case", SAME)
def test_a_job_can_be_scheduled_at_it(bench: Bench, case: str) -> None:
    engine = bench.engine()
    ran: list[datetime] = []
    engine.task(name="note")(lambda: ran.append(bench.clock.now()))
    batch = Batch()
    batch.schedule_at("note", SAME[case])
    jobs = [engine.schedule_at("note", SAME[case]), *engine.schedule_batch(batch)]
    assert [job.at for job in jobs] == [LATER, LATER]
    engine.start_workers(1, block=False)
    bench.settle()
    bench.advance(LATER - bench.clock.now() - timedelta(milliseconds=1), step=timedelta(seconds=5))
    assert ran == []
    bench.advance(timedelta(milliseconds=1))
    assert ran == [LATER, LATER]


def retrying(bench: Bench, make: Callable[[], BaseException]) -> tuple[Engine, list[datetime]]:
    engine = bench.engine()
    ran: list[datetime] = []

    @engine.task(name="retried", max_retries=1)
    def retried() -> None:
        ran.append(bench.clock.now())
        if len(ran) == 1:
            raise make()

    engine.schedule("retried")
    engine.start_workers(1, block=False)
    bench.settle()
    return engine, ran


@pytest.mark.parametrize("case", SAME)
def test_a_task_can_be_retried_at_it(
    bench: Bench, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Ear("bench") as ear:
        _, ran = retrying(bench, lambda: RetryException(at=SAME[case]))
    assert ear.of("job_schedule_retry")[0]["job"].at == LATER
    bench.advance(LATER - bench.clock.now(), step=timedelta(seconds=5))
    assert ran[1:] == [LATER]
    assert [each for each in caplog.records if each.levelno == logging.WARNING] == []


class AtRaises(RetryException):
    at = property(refuse)  # type: ignore[assignment]

    def __init__(self) -> None: ...


def assigned(at: object) -> RetryException:
    err = RetryException("later")
    err.at = at  # type: ignore[assignment]
    return err


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (lambda: RetryException(at=datetime.max.replace(tzinfo=UTC)), "9999, 12, 31"),
        (lambda: RetryException(at=NotATime(2030, 1, 1)), "NotATime"),
        (lambda: assigned(3600), "at is 3600 of type int"),
        (AtRaises, "computes in another way"),
    ],
)
def test_an_instant_that_cannot_be_used_is_told_and_left_to_the_backoff(
    bench: Bench, make: Callable[[], BaseException], given: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, ran = retrying(bench, make)
    bench.advance(timedelta(minutes=1), step=timedelta(milliseconds=250))
    assert len(ran) == 2
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "the backoff chooses" in record.getMessage()
    assert given in record.getMessage()
    assert record.task == "retried"  # type: ignore[attr-defined]


def test_a_retry_without_an_instant_warns_of_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    class Bare(RetryException):
        def __init__(self) -> None: ...

    retrying(bench, Bare)
    assert [each for each in caplog.records if each.levelno == logging.WARNING] == []
