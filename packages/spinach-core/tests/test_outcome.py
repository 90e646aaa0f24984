"""Leases and outcomes as records."""

from __future__ import annotations

from typing import Any

import pytest

from spinach.const import MAX_ERROR_BYTES
from spinach.outcome import Failure, Lease, Outcome, OutcomeKind, cut_failure

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


def size(failure: Failure) -> int:
    texts = (failure.error, failure.message, failure.traceback)
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def test_a_short_failure_is_kept_as_it_is() -> None:
    failure = Failure(error="ValueError", message="schön \udc80", traceback="Traceback")
    assert cut_failure(failure) is failure


@pytest.mark.parametrize("letter", ["x", "é", "€", "\udc80", "😀"])
def test_long_texts_are_cut_between_letters(letter: str) -> None:
    long = letter * MAX_ERROR_BYTES
    short = cut_failure(Failure(error="E", message=long, traceback="begin" + long + "end"))
    assert MAX_ERROR_BYTES - 8 <= size(short) <= MAX_ERROR_BYTES
    assert short.error == "E"
    assert set(short.message) == {letter}
    assert short.traceback.endswith(letter + "end")
    assert set(short.traceback) == {letter, *"end"}


def test_a_message_alone_may_take_all_the_room() -> None:
    short = cut_failure(Failure(error="E", message="m" * 20_000))
    assert size(short) == MAX_ERROR_BYTES
    assert cut_failure(Failure(error="E" * 20_000, message="m", traceback="t")).error[:2] == "EE"


def test_a_lone_surrogate_stays_where_it_was() -> None:
    text = "before \udcff after "
    short = cut_failure(Failure(error="E", message=text * 2000, traceback=text * 2000))
    assert (text * 2000).startswith(short.message)
    assert (text * 2000).endswith(short.traceback)
    assert min(len(short.message), len(short.traceback)) > MAX_ERROR_BYTES // 3
