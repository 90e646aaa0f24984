"""Outcome: how leases end, and that each ends once."""

from __future__ import annotations

import msgspec

from spinach.brokers.calls import Verdict
from spinach.outcome import OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import deposit, ids, once
from ..invariants import holds
from ..lab import Lab
from ..process import outcome

APPLIED, REFUSED = Verdict.APPLIED, Verdict.REFUSED


class OutcomeBehaviour(BrokerBehaviour):
    """`Broker.report`."""

    @holds("I5")
    def test_report_of_nothing_does_nothing(self, lab: Lab) -> None:
        assert lab.process().report() == ()

    @holds("I1", "I4")
    def test_job_that_succeeded_disappears(self, lab: Lab) -> None:
        lab.enqueue(deposit(), once())
        process = lab.process()
        process.succeed(*process.take(idle=2))
        counts = lab.counts()
        assert counts.unfinished == 0
        assert (counts.failed, counts.parked, counts.future) == (0, 0, 0)
        assert process.take(idle=2) == []
        assert counts.enqueued == 2

    @holds("I1")
    def test_job_that_failed_moves_to_the_failed_store(self, lab: Lab) -> None:
        # With retries before it, too: the engine has decided.
        jobs = [deposit(max_retries=5), once()]
        lab.enqueue(*jobs)
        process = lab.process()
        process.fail(*process.take(idle=2))
        assert lab.counts().unfinished == 0
        assert lab.counts().failed == 2
        assert sorted(ids(lab.client.failed_jobs(jobs[0].queue))) == sorted(ids(jobs))

    @holds("I1", "I4")
    def test_job_that_expired_or_was_cancelled_disappears(self, lab: Lab) -> None:
        process = lab.process()
        for kind in (OutcomeKind.EXPIRED, OutcomeKind.CANCELLED):
            # Whatever retries it has left.
            jobs = [deposit(max_retries=5), once()]
            lab.enqueue(*jobs)
            told = [outcome(kind, lease) for lease in process.take(idle=2)]
            assert process.report(*told) == (APPLIED, APPLIED), kind
            counts = lab.counts()
            assert counts.unfinished == 0, kind
            # It stays for nobody to look at.
            assert (counts.failed, counts.parked, counts.future) == (0, 0, 0), kind
            assert lab.client.failed_jobs(jobs[0].queue) == [], kind
            assert process.take(idle=2) == [], kind

    @holds("I5")
    def test_outcomes_of_one_call_are_answered_in_order(self, lab: Lab) -> None:
        lab.enqueue(*(deposit() for _ in range(7)))
        process = lab.process()
        a, b, c, d, e, f, g = process.take(idle=7)
        process.succeed(b)
        verdicts = process.report(
            outcome(OutcomeKind.FAILED, a),
            outcome(OutcomeKind.SUCCEEDED, b),
            outcome(OutcomeKind.RELEASE, c),
            outcome(OutcomeKind.RETRY, d),
            outcome(OutcomeKind.PARK, e),
            outcome(OutcomeKind.EXPIRED, f),
            outcome(OutcomeKind.CANCELLED, g),
        )
        assert verdicts == (APPLIED, REFUSED, APPLIED, APPLIED, APPLIED, APPLIED, APPLIED)

    @holds("I5")
    def test_repeated_outcome_changes_nothing(self, lab: Lab) -> None:
        for kind in OutcomeKind:
            lab.enqueue(deposit())
            process = lab.process()
            told = outcome(kind, process.take_one())
            assert process.report(told) == (APPLIED,), kind
            before = lab.counts()
            assert process.report(told, told) == (REFUSED, REFUSED), kind
            after = lab.counts()
            assert (after.ready, after.retrying, after.parked, after.failed) == (
                before.ready,
                before.retrying,
                before.parked,
                before.failed,
            ), kind
            if kind is OutcomeKind.RELEASE:
                process.succeed(process.take_one())

    @holds("I5")
    def test_same_lease_twice_in_one_call_counts_once(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        lease = process.take_one()
        verdicts = process.report(
            outcome(OutcomeKind.RELEASE, lease), outcome(OutcomeKind.SUCCEEDED, lease)
        )
        assert verdicts == (APPLIED, REFUSED)
        assert lab.counts().ready == 1

    @holds("I5")
    def test_outcome_with_a_token_of_an_earlier_lease_is_refused(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        old = process.take_one()
        process.release(old)
        new = process.take_one()
        for kind in OutcomeKind:
            assert process.report(outcome(kind, old)) == (REFUSED,), kind
        assert lab.counts().leased == 1
        process.succeed(new)

    @holds("I5")
    def test_outcome_with_a_made_up_token_is_refused(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        lease = process.take_one()
        forged = msgspec.structs.replace(lease, token=lease.token + "0")
        assert process.report(outcome(OutcomeKind.SUCCEEDED, forged)) == (REFUSED,)
        process.succeed(lease)

    @holds("I5")
    def test_outcome_under_the_name_of_another_member_is_refused(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        owner, other, stranger = lab.process(), lab.process(), lab.stranger()
        lease = owner.take_one()
        for process in (other, stranger):
            forged = msgspec.structs.replace(lease, member=process.member())
            assert process.report(outcome(OutcomeKind.SUCCEEDED, forged)) == (REFUSED,)
        owner.succeed(lease)

    @holds("I5")
    def test_outcome_of_a_job_that_nobody_enqueued_is_refused(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        lease = process.take_one()
        unknown = msgspec.structs.replace(lease, stored_id=deposit().stored_id)
        for kind in OutcomeKind:
            assert process.report(outcome(kind, unknown)) == (REFUSED,), kind
        assert lab.counts().unfinished == 1
        assert lab.counts().failed == 0

    @holds("I5", "I19")
    def test_many_outcomes_travel_in_one_call(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(1000)]
        lab.enqueue(*jobs)
        process = lab.process()
        leases = process.take(idle=1, extra=999)
        assert len(leases) == 1000
        process.succeed(*leases)
        assert lab.counts().unfinished == 0

    @holds("I5")
    def test_outcomes_of_several_queues_travel_in_one_call(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit(queue="invoices"))
        process = lab.process("letters", "invoices")
        one, two = process.fetch_from(["letters", "invoices"], idle=2)
        process.succeed(*two.leases, *one.leases)
        assert lab.counts("letters").unfinished == 0
        assert lab.counts("invoices").unfinished == 0
