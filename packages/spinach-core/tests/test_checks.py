"""Checks of what users hand in."""

from __future__ import annotations

import enum
from datetime import timedelta
from typing import Any

import pytest

from spinach.exc import InvalidArgument, InvalidTask
from spinach.support.checks import require_int, require_timedelta


class Size(enum.IntEnum):
    SMALL = 3


@pytest.mark.parametrize("value", [1, 5, Size.SMALL])
def test_an_int_of_the_range_comes_back_as_a_plain_int(value: int) -> None:
    assert type(require_int(value, "size", 1, 5)) is int


@pytest.mark.parametrize("value", [0, 6, -1, True, False, 2.0, "2", None, [2]])
def test_anything_else_is_refused_with_value_and_range(value: Any) -> None:
    with pytest.raises(InvalidArgument) as info:
        require_int(value, "size", 1, 5)
    assert f"size is {value!r}" in str(info.value)
    assert "from 1 to 5" in str(info.value)


def test_the_caller_chooses_the_error() -> None:
    with pytest.raises(InvalidTask):
        require_int(0, "size", 1, 5, InvalidTask)
    with pytest.raises(InvalidTask):
        require_timedelta(0, "period", timedelta(0), InvalidTask)


def test_a_timedelta_may_be_just_long_enough() -> None:
    assert require_timedelta(timedelta(seconds=2), "period", timedelta(seconds=2)) == timedelta(
        seconds=2
    )


@pytest.mark.parametrize("value", [timedelta(seconds=1.999), timedelta(-1), 5, 5.0, "5", None])
def test_a_timedelta_that_is_too_short_or_none_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgument) as info:
        require_timedelta(value, "period", timedelta(seconds=2))
    assert repr(value) in str(info.value)
    assert "at least 2 seconds" in str(info.value)
    assert "timedelta(minutes=5)" in str(info.value)
