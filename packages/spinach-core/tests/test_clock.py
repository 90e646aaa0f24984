"""Instants, and the machine's clock."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinach.clock import SystemClock, as_utc, from_ms, to_ms
from spinach.exc import InvalidArgument

from .support import NOON

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_a_naive_datetime_counts_as_utc() -> None:
    assert as_utc(NOON.replace(tzinfo=None)) == NOON


def test_an_aware_datetime_keeps_its_instant() -> None:
    local = NOON.astimezone(timezone(timedelta(hours=-7)))
    result = as_utc(local)
    assert result == NOON
    assert result.tzinfo is UTC


@pytest.mark.parametrize("value", [date(2030, 1, 1), 5, 5.0, "2030-01-01", None, timedelta(1)])
def test_anything_but_a_datetime_is_refused_with_a_remedy(value: Any) -> None:
    with pytest.raises(InvalidArgument) as info:
        as_utc(value, what="at")
    assert repr(value) in str(info.value)
    assert type(value).__name__ in str(info.value)
    assert "datetime.now(timezone.utc)" in str(info.value)


@pytest.mark.parametrize(
    "at",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12))),
    ],
)
def test_an_instant_beyond_the_calendar_of_utc_is_refused(at: datetime) -> None:
    with pytest.raises(InvalidArgument, match="years 1 to 9999"):
        as_utc(at)


@given(st.datetimes(timezones=st.just(UTC)))
def test_milliseconds_are_rounded_up_and_never_a_whole_one(at: datetime) -> None:
    # I8: a job that waits for the rounded instant is not early, nor a millisecond late.
    rounded = EPOCH + timedelta(milliseconds=to_ms(at)) if at.year < 9999 else at
    assert timedelta(0) <= rounded - at < timedelta(milliseconds=1)


@given(st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_999))
def test_milliseconds_come_back(instant_ms: int) -> None:
    assert to_ms(from_ms(instant_ms)) == instant_ms
    assert from_ms(instant_ms).tzinfo is UTC


def test_the_machines_clock_is_aware_and_in_utc() -> None:
    assert SystemClock().now().tzinfo is UTC


def test_the_machines_monotonic_clock_does_not_go_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_a_wait_without_a_notification_ends_by_its_timeout() -> None:
    condition = threading.Condition()
    with condition:
        assert SystemClock().wait(condition, 0.001) is False


def test_a_wait_that_is_notified_says_so() -> None:
    condition = threading.Condition()

    def notify() -> None:
        with condition:
            condition.notify()

    with condition:
        thread = threading.Thread(target=notify)
        thread.start()  # it cannot notify before the wait: we hold the lock
        assert SystemClock().wait(condition, 30) is True
    thread.join()
