"""Lease: proof of life keeps it, silence ends it, nothing else does either."""

from __future__ import annotations

from datetime import timedelta

from spinach.brokers.calls import Turn, Verdict
from spinach.const import DEFAULT_LEASE

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit
from ..invariants import holds
from ..lab import BEAT, DEATH_NOTICE, Lab


class LeaseBehaviour(BrokerBehaviour):
    """Leases of memberships in `join` and `beat`."""

    @holds("I11")
    def test_process_that_beats_keeps_its_jobs(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        worker, other = lab.process(), lab.process()
        lease = worker.take_one()
        assert lab.live(5 * DEFAULT_LEASE, worker, other) == []
        assert lab.counts().members == 2
        refused = other.broker.recover(QUEUE, worker.member())
        assert refused.verdict is Verdict.REFUSED
        worker.succeed(lease)

    @holds("I6", "I11")
    def test_process_that_reconciles_keeps_its_jobs(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        worker, other = lab.process(), lab.process()
        lease = worker.take_one()
        for _ in range(10):
            assert lab.live(BEAT, other) == []
            assert worker.reconcile([lease]).verdict is Verdict.APPLIED
        worker.succeed(lease)

    @holds("I11")
    def test_one_call_beats_for_all_memberships(self, lab: Lab) -> None:
        worker, other = lab.process(QUEUE, "invoices"), lab.process(QUEUE, "invoices")
        for _ in range(6):
            lab.live(BEAT, other)
            members = [Turn(each, worker.member(each), 0) for each in (QUEUE, "invoices")]
            replies = worker.broker.beat(members)
            assert [reply.verdict for reply in replies] == [Verdict.APPLIED] * 2
        assert lab.counts(QUEUE).members == lab.counts("invoices").members == 2

    @holds("I6")
    def test_fetch_that_brings_nothing_tells_how_many_leases_there_are(self, lab: Lab) -> None:
        lab.enqueue(*(deposit() for _ in range(4)))
        worker, other = lab.process(QUEUE, "invoices"), lab.process()
        first, _ = worker.take(idle=2)
        other.take_one()
        # There is one more, which this one does not ask for.
        assert worker.fetch(idle=0).lease_count == 2
        assert worker.fetch("invoices").lease_count == 0
        worker.succeed(first)
        assert worker.fetch(idle=0).lease_count == 1
        assert other.fetch(idle=0).lease_count == 1
        assert other.fetch(idle=1).lease_count is None
        assert other.fetch(idle=1).lease_count == 2

    @holds("I5")
    def test_each_beat_has_a_verdict_of_its_own(self, lab: Lab) -> None:
        worker = lab.process()
        turns = [Turn("invoices", "nobody", 1), worker.turn()]
        verdicts = [reply.verdict for reply in worker.broker.beat(turns)]
        assert verdicts == [Verdict.FENCED, Verdict.APPLIED]

    @holds("I11")
    def test_report_does_not_renew_the_lease(self, lab: Lab) -> None:
        lab.enqueue(*(deposit() for _ in range(4)))
        worker, survivor = lab.process(), lab.process()
        named: list[str] = []
        for lease in worker.take(idle=4):
            worker.succeed(lease)
            named += lab.live(BEAT, survivor)
        assert worker.member() in named

    @holds("I11")
    def test_late_process_that_nobody_recovered_lives_on(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        late, survivor = lab.process(), lab.process()
        lease = late.take_one()
        lab.live(DEATH_NOTICE, survivor)
        assert late.beat().verdict is Verdict.APPLIED
        assert survivor.broker.recover(QUEUE, late.member()).verdict is Verdict.REFUSED
        late.succeed(lease)

    @holds("I11")
    def test_each_membership_has_the_lease_that_it_asked_for(self, lab: Lab) -> None:
        patient, survivor = lab.stranger(), lab.process()
        patient.join(lease=timedelta(hours=1))
        assert lab.live(timedelta(minutes=30), survivor) == []
        assert survivor.broker.recover(QUEUE, patient.member()).verdict is Verdict.REFUSED
        assert patient.member() in lab.live(timedelta(minutes=31), survivor)

    @holds("I11")
    def test_joining_again_changes_nothing_but_the_lease(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        worker, survivor = lab.process(), lab.process()
        lease = worker.take_one()
        used, held = worker.turn(), [(lease.stored_id, lease.token)]
        assert worker.broker.reconcile(used, held).verdict is Verdict.APPLIED
        lab.live(2 * BEAT, survivor)
        worker.join()
        assert lab.live(2 * BEAT, survivor) == []
        assert worker.broker.reconcile(used, held).verdict is Verdict.STALE
        assert lab.counts().members == 2
        worker.succeed(lease)
