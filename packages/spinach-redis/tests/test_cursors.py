"""Cursors of lists of jobs: strangers may have had them in their hands."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection

import pytest

from spinach.brokers.calls import Place
from spinach.exc import InvalidArgument
from spinach_redis import RedisBroker

from .jobs import QUEUE, deposit

NewBroker = Callable[..., RedisBroker]

ID = "1f0e37dc9-2f9a-4a4b-8a6d-5f3c0f6f2a11"
PLACES: tuple[Collection[Place], ...] = ((), [Place.LEASED], [Place.FUTURE], [Place.FAILED])


@pytest.mark.parametrize("places", PLACES, ids=repr)
@pytest.mark.parametrize(
    "made",
    [
        "x", [], ["scan"], ["scan", "x"], ["scan", "", "x"], ["scan", "", "9" * 20],
        ["scan", "", "5", "no id"], ["scan", "", "5", 7], ["small"], ["small", "zzz"],
        ["leased"], ["leased", "x"], ["leased", "1", "2"], ["sorted", "1"], ["sorted", "x", ID],
        ["sorted", "1.e", ID], ["sorted", "1", "y"], ["sorted", "1", ID, ID],
        ["other", "1"], [["scan"], "", "5"], 7,
    ],
    ids=repr,
)  # fmt: skip
def test_cursor_that_no_page_gave_is_refused(
    new_broker: NewBroker, places: Collection[Place], made: object
) -> None:
    with pytest.raises(InvalidArgument, match="expected that of the page before"):
        new_broker().list_jobs(QUEUE, places=places, cursor=json.dumps(made))


def test_cursor_of_another_place_is_refused(new_broker: NewBroker) -> None:
    broker = new_broker()
    broker.enqueue([deposit() for _ in range(3)])
    cursor = broker.list_jobs(QUEUE, limit=1).cursor
    assert cursor is not None
    assert len(broker.list_jobs(QUEUE, cursor=cursor).jobs) == 2
    for place in PLACES[1:]:
        with pytest.raises(InvalidArgument, match="expected that of the page before"):
            broker.list_jobs(QUEUE, places=place, cursor=cursor)


def test_page_goes_on_behind_a_round_instant(new_broker: NewBroker) -> None:
    broker = new_broker()
    round_ms = 2_000_000_000_000  # 2e+12 to some servers
    jobs = [deposit(due_ms=round_ms + more) for more in (0, 0, 1)]
    broker.enqueue(jobs)
    listed: list[str] = []
    cursor = None
    for _ in jobs:
        page = broker.list_jobs(QUEUE, places=[Place.FUTURE], limit=1, cursor=cursor)
        listed += [job.stored_id for job in page.jobs]
        cursor = page.cursor
    assert listed == [job.stored_id for job in jobs]
