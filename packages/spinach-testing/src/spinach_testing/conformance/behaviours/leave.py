"""Leave: a membership ends when it holds nothing, and for good."""

from __future__ import annotations

from spinach.brokers.calls import Verdict
from spinach.const import DEFAULT_LEASE

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit
from ..invariants import holds
from ..lab import Lab


class LeaveBehaviour(BrokerBehaviour):
    """`Broker.leave`."""

    @holds("I20")
    def test_process_that_holds_nothing_leaves(self, lab: Lab) -> None:
        process, other = lab.process(), lab.process()
        assert lab.counts().members == 2
        assert process.leave().verdict is Verdict.APPLIED
        assert lab.counts().members == 1
        assert other.leave().verdict is Verdict.APPLIED
        assert lab.counts().members == 0

    @holds("I20")
    def test_leave_is_refused_while_leases_are_held(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit())
        process = lab.process()
        direct, buffered = process.take(idle=1, extra=1)
        assert process.leave().verdict is Verdict.REFUSED
        process.succeed(direct)
        assert process.leave().verdict is Verdict.REFUSED
        # It is a member as before, and its outcomes count.
        assert process.beat().verdict is Verdict.APPLIED
        process.release(buffered)
        assert process.leave().verdict is Verdict.APPLIED
        assert lab.counts().ready == 1

    @holds("I20")
    def test_who_left_is_fenced(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        process.leave()
        assert process.fetch().verdict is Verdict.FENCED
        assert process.beat().verdict is Verdict.FENCED
        assert process.leave().verdict is Verdict.FENCED
        assert lab.counts().ready == 1

    @holds("I11", "I20")
    def test_who_left_is_not_missed(self, lab: Lab) -> None:
        process, other = lab.process(), lab.process()
        process.leave()
        assert lab.live(3 * DEFAULT_LEASE, other) == []
        assert other.broker.recover(QUEUE, process.member()).verdict is Verdict.REFUSED

    @holds("I20", "I21")
    def test_leaving_one_queue_keeps_the_others(self, lab: Lab) -> None:
        process = lab.process(QUEUE, "invoices")
        assert process.leave(QUEUE).verdict is Verdict.APPLIED
        assert process.beat("invoices").verdict is Verdict.APPLIED
        assert lab.counts("invoices").members == 1

    @holds("I20")
    def test_jobs_of_the_queue_stay_for_others(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit())
        process = lab.process()
        process.release(*process.take(idle=1))
        process.leave()
        assert len(lab.process().take(idle=5)) == 2
