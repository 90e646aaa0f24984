"""Leases and outcomes as records."""

from __future__ import annotations

from typing import Any

import pytest

from spinach.outcome import Failure, Lease, Outcome, OutcomeKind

LEASE = Lease("q", "m", "1abc", "t", True, b"record", 2, 1)


@pytest.mark.parametrize(("stored_id", "repeatable"), [("0abc", False), ("1abc", True)])
def test_the_kind_character_tells_whether_a_job_may_repeat(
    stored_id: str, repeatable: bool
) -> None:
    assert Lease("q", "m", stored_id, "t", True, b"", 0).repeatable is repeatable


def test_an_outcome_says_nothing_about_time_or_failure_unless_told() -> None:
    outcome = Outcome(OutcomeKind.SUCCEEDED, LEASE, "task")
    assert (outcome.delay_ms, outcome.at_ms, outcome.failure) == (None, None, None)


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (LEASE, "token"),
        (Outcome(OutcomeKind.FAILED, LEASE, "task"), "kind"),
        (Failure(error="E", message="m"), "message"),
    ],
)
def test_records_cannot_be_changed(record: Any, field: str) -> None:
    with pytest.raises(AttributeError):
        setattr(record, field, "x")
