"""What the failed store keeps, as it is said in code."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine, FailedRetention, MemoryBroker
from spinach.const import MAX_FAILED, MAX_FAILED_AGE, MAX_FAILED_BYTES
from spinach.exc import InvalidArgument


def test_unless_something_else_is_said_it_is_as_the_constants_have_it() -> None:
    retention = MemoryBroker().failed_retention
    assert retention == FailedRetention()
    said = (retention.number, retention.age, retention.size)
    assert said == (MAX_FAILED, MAX_FAILED_AGE, MAX_FAILED_BYTES)


def test_the_broker_of_the_worker_says_what_is_kept() -> None:
    spin = Engine(MemoryBroker(failed_retention=FailedRetention(number=2)))

    @spin.task(name="fails")
    def fails(number: int) -> None:
        raise ValueError(number)

    for number in range(4):
        spin.schedule(fails, number)
    spin.start_workers(1, stop_when_queue_empty=True)
    assert [entry.job.task_args for entry in spin.failed.list()] == [(3,), (2,)]


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({"number": 0}, "number of FailedRetention is 0, expected an int from 1"),
        ({"number": 1_000_001}, "from 1 to 1000000"),
        ({"number": True}, "True"),
        ({"age": timedelta(0)}, "age of FailedRetention is .*at least 1 second"),
        ({"age": timedelta(days=4000)}, "at most 3650 days"),
        ({"age": 7}, "age of FailedRetention is 7"),
        ({"size": 0}, "size of FailedRetention is 0"),
        ({"size": 1.5}, "size of FailedRetention is 1.5"),
    ],
)
def test_a_bound_out_of_range_is_refused(bounds: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        FailedRetention(**bounds)


def test_what_is_no_retention_is_refused_by_the_broker() -> None:
    with pytest.raises(InvalidArgument, match=r"failed_retention is 7.*FailedRetention\(age="):
        MemoryBroker(failed_retention=7)  # type: ignore[arg-type]  # that is what is tested
