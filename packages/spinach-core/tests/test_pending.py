"""Outcomes on their way: in order, held until they are answered."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinach.brokers.calls import Verdict
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach.worker.pending import PendingOutcome, PendingOutcomes


def entry(number: int, queue: str = "q", *, stray: bool = False) -> PendingOutcome:
    lease = Lease(queue, "m", f"1{number}", f"t{number}", True, b"", 0)
    return PendingOutcome(Outcome(OutcomeKind.SUCCEEDED, lease, "task"), stray=stray)


def numbers(outcomes: list[Outcome]) -> list[int]:
    return [int(outcome.lease.stored_id[1:]) for outcome in outcomes]


def filled(count: int, queue: str = "q") -> PendingOutcomes:
    pending = PendingOutcomes()
    for number in range(count):
        pending.add(entry(number, queue))
    return pending


def test_outcomes_leave_in_the_order_they_came() -> None:
    pending = filled(5)
    assert numbers(pending.collect((), 3)) == [0, 1, 2]
    assert pending.waiting == 2
    assert len(pending) == 5


def test_what_was_answered_is_gone() -> None:
    pending = filled(2)
    pending.collect((), 10)
    assert pending.answered([Verdict.APPLIED, Verdict.APPLIED], Counter()) == ([], set())
    assert len(pending) == 0
    assert list(pending.leases()) == []


def test_what_got_no_answer_goes_first_again_and_in_order() -> None:
    # I9: releases of one process return to the front in order.
    pending = filled(4)
    pending.collect((), 3)
    unknown = [Verdict.UNKNOWN, Verdict.APPLIED, Verdict.UNKNOWN]
    assert pending.answered(unknown, Counter()) == ([], {"q"})
    assert numbers(pending.collect((), 10)) == [0, 2, 3]


def test_a_refusal_is_told_once() -> None:
    pending = filled(1)
    (outcome,) = pending.collect((), 10)
    assert pending.answered([Verdict.REFUSED], Counter()) == ([outcome], set())
    assert len(pending) == 0


def test_a_refusal_of_a_resend_is_silent_since_it_may_have_arrived() -> None:
    pending = filled(1)
    pending.collect((), 10)
    pending.answered([Verdict.UNKNOWN], Counter())
    pending.collect((), 10)
    assert pending.answered([Verdict.REFUSED], Counter()) == ([], set())


def test_a_refusal_that_was_expected_is_silent() -> None:
    pending = PendingOutcomes()
    pending.add(entry(1, stray=True))
    pending.collect((), 10)
    assert pending.answered([Verdict.REFUSED], Counter()) == ([], set())


def test_a_blocked_queue_waits_and_the_others_go_on() -> None:
    pending = PendingOutcomes()
    for number, queue in enumerate(["a", "b", "a", "b"]):
        pending.add(entry(number, queue))
    assert numbers(pending.collect({"a"}, 10)) == [1, 3]
    pending.answered([Verdict.APPLIED] * 2, Counter())
    assert numbers(pending.collect((), 10)) == [0, 2]


def test_nothing_to_report_is_an_empty_list() -> None:
    assert PendingOutcomes().collect((), 10) == []


def test_leases_stay_held_until_the_answer() -> None:
    # I6: held is what was received and whose outcome has not been answered.
    pending = filled(3)
    pending.collect((), 2)
    assert {lease.stored_id for lease in pending.leases()} == {"10", "11", "12"}


def test_an_answer_of_the_wrong_length_is_an_error() -> None:
    pending = filled(2)
    pending.collect((), 10)
    with pytest.raises(ValueError, match="zip"):
        pending.answered([Verdict.APPLIED], Counter())


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("ab")),
            st.tuples(st.just("report"), st.lists(st.sampled_from(list(Verdict)[:1]), max_size=0)),
            st.tuples(st.just("cut"), st.sets(st.integers(min_value=0, max_value=5))),
        ),
        max_size=40,
    )
)
def test_whatever_is_cut_each_queue_is_reported_in_order_and_once(
    steps: list[tuple[str, object]],
) -> None:
    pending = PendingOutcomes()
    added: dict[str, list[int]] = {"a": [], "b": []}
    answered: dict[str, list[int]] = {"a": [], "b": []}
    number = 0

    def report(cut: object) -> None:
        outcomes = pending.collect((), 4)
        # A line that breaks takes all later answers of that queue with it.
        verdicts = []
        broken: set[str] = set()
        for index, outcome in enumerate(outcomes):
            queue = outcome.lease.queue
            if isinstance(cut, set) and index in cut:
                broken.add(queue)
            if queue in broken:
                verdicts.append(Verdict.UNKNOWN)
            else:
                verdicts.append(Verdict.APPLIED)
                answered[queue] += numbers([outcome])
        pending.answered(verdicts, Counter())

    for kind, detail in steps:
        if kind == "add":
            assert isinstance(detail, str)
            pending.add(entry(number, detail))
            added[detail].append(number)
            number += 1
        else:
            report(detail)
    while len(pending):
        report(None)
    assert answered == added
    assert pending.waiting == 0
