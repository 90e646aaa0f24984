"""What a process knows about its membership."""

from __future__ import annotations

import pytest

from spinach.brokers.calls import Turn
from spinach.worker.membership import Membership


def test_turns_are_numbered_from_one_without_gaps() -> None:
    membership = Membership("q", 30)
    turns = [membership.turn() for _ in range(3)]
    assert turns == [Turn("q", membership.member, number) for number in (1, 2, 3)]


def test_two_memberships_never_share_a_name() -> None:
    assert len({Membership("q", 30).member for _ in range(100)}) == 100


def test_a_lease_counts_from_the_sending_of_the_proof_of_life_less_a_margin() -> None:
    # I16: a job starts only before send time + lease - 5 s; a beat is due each third.
    membership = Membership("q", 30)
    membership.renewed(100.0)
    assert membership.safe_until == 125.0
    assert membership.beat_at == 110.0


def test_nothing_may_start_before_the_first_proof_of_life() -> None:
    assert Membership("q", 30).safe_until == 0.0


@pytest.mark.parametrize(
    ("joined", "uncertain", "not_before", "usable"),
    [
        (True, False, 0.0, True),
        (True, False, 50.0, True),
        (False, False, 0.0, False),
        (True, True, 0.0, False),
        (True, False, 50.1, False),
    ],
)
def test_it_may_fetch_when_joined_certain_and_not_in_a_backoff(
    joined: bool, uncertain: bool, not_before: float, usable: bool
) -> None:
    membership = Membership("q", 30)
    membership.joined, membership.uncertain = joined, uncertain
    membership.fetching.not_before = not_before
    assert membership.may_fetch(50.0) is usable
    # A beat depends on neither.
    assert membership.may_keep(50.0) is joined


@pytest.mark.parametrize(
    ("tick_at", "periodic_at", "due"),
    [(None, None, None), (5.0, None, 5.0), (None, 6.0, 6.0), (5.0, 6.0, 5.0), (7.0, 6.0, 6.0)],
)
def test_the_next_tick_is_the_earlier_of_jobs_and_periods(
    tick_at: float | None, periodic_at: float | None, due: float | None
) -> None:
    membership = Membership("q", 30)
    membership.tick_at, membership.periodic_at = tick_at, periodic_at
    assert membership.next_due == due


def test_the_arbiter_takes_over_what_fetches_told_once() -> None:
    membership = Membership("q", 30)
    membership.due_at = 5.0
    assert membership.note()
    assert membership.tick_at == 5.0
    membership.tick_at = 9.0  # as a tick told
    assert not membership.note()
    assert membership.tick_at == 9.0
    membership.due_at = None  # another process keeps the time
    assert membership.note()
    assert membership.tick_at is None


def test_a_proof_of_life_that_was_sent_earlier_takes_nothing_back() -> None:
    membership = Membership("q", 30)
    membership.renewed(100.0)
    membership.renewed(90.0)
    assert (membership.safe_until, membership.beat_at) == (125.0, 110.0)


def test_an_outage_is_told_once_however_many_threads_meet_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "spinach.worker")
    membership = Membership("q", 30)
    membership.keeping.failed("beat", None, 1.0)
    membership.fetching.failed("fetch", None, 1.0)
    membership.fetching.answered("fetch")
    assert membership.fetching.not_before == 0.0
    assert membership.keeping.not_before > 0.0
    membership.keeping.answered("beat")
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO"]


def test_a_fenced_membership_tells_of_no_further_outage(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "spinach.worker")
    membership = Membership("q", 30)
    membership.end_outage()
    # The answer of a call that was under way did not come.
    membership.fetching.failed("declare", None, 1.0)
    membership.fetching.answered("declare")
    assert caplog.records == []
