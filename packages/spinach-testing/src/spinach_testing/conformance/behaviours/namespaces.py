"""Namespaces: applications on one store share nothing."""

from __future__ import annotations

from datetime import timedelta

from spinach.brokers.calls import FetchTurn, Turn, Verdict
from spinach.const import DEFAULT_LEASE
from spinach.outcome import OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids
from ..harness import NAMESPACE
from ..invariants import holds
from ..lab import Lab
from ..process import outcome

ELSEWHERE = "elsewhere"
HOUR = timedelta(hours=1)


class NamespacesBehaviour(BrokerBehaviour):
    """Two namespaces, one queue name."""

    @holds("I21")
    def test_broker_says_which_namespace_it_serves(self, lab: Lab) -> None:
        # A harness may put a prefix of its own before it.
        assert lab.client.namespace.endswith(NAMESPACE)
        assert lab.broker(namespace=ELSEWHERE).namespace.endswith(ELSEWHERE)

    @holds("I21")
    def test_jobs_stay_in_their_namespace(self, lab: Lab) -> None:
        here, there = lab.process(), lab.process(namespace=ELSEWHERE)
        mine, theirs = deposit(), deposit()
        lab.enqueue(mine)
        there.broker.enqueue([theirs])
        assert ids(here.take(idle=5, extra=5)) == [mine.stored_id]
        assert ids(there.take(idle=5, extra=5)) == [theirs.stored_id]

    @holds("I21")
    def test_future_jobs_stay_in_their_namespace(self, lab: Lab) -> None:
        here, there = lab.process(), lab.process(namespace=ELSEWHERE)
        lab.enqueue(deposit(due_ms=lab.in_ms(HOUR)))
        lab.advance(HOUR)
        assert there.tick().next_due_in_ms is None
        assert here.take(idle=5) == []
        here.tick()
        assert there.take(idle=5) == []
        assert len(here.take(idle=5)) == 1

    @holds("I21")
    def test_members_stay_in_their_namespace(self, lab: Lab) -> None:
        here, there = lab.process(), lab.process(namespace=ELSEWHERE)
        name = here.member()
        turn = Turn(QUEUE, name, 1)
        assert there.broker.beat([turn])[0].verdict is Verdict.FENCED
        assert there.broker.leave(turn).verdict is Verdict.FENCED
        assert there.broker.reconcile(turn, []).verdict is Verdict.FENCED
        [reply] = there.broker.fetch([FetchTurn(QUEUE, name, 1)], idle=1, extra=0, max_bytes=100)
        assert reply.verdict is Verdict.FENCED
        assert here.beat().verdict is Verdict.APPLIED

    @holds("I5", "I21")
    def test_leases_stay_in_their_namespace(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        here, there = lab.process(), lab.process(namespace=ELSEWHERE)
        lease = here.take_one()
        # The same process in name, and the same job, of another application.
        told = outcome(OutcomeKind.SUCCEEDED, lease)
        assert there.report(told) == (Verdict.REFUSED,)
        here.succeed(lease)

    @holds("I11", "I21")
    def test_deaths_stay_in_their_namespace(self, lab: Lab) -> None:
        doomed, there = lab.process(), lab.process(namespace=ELSEWHERE)
        assert lab.live(2 * DEFAULT_LEASE, there) == []
        assert there.broker.recover(QUEUE, doomed.member()).verdict is Verdict.REFUSED

    @holds("I10", "I21")
    def test_limits_stay_in_their_namespace(self, lab: Lab) -> None:
        lab.process(limits={"letters.send": 1})
        there = lab.process(namespace=ELSEWHERE)
        there.broker.enqueue([deposit(), deposit()])
        assert len(there.take(idle=5)) == 2

    @holds("I15", "I21")
    def test_periodic_tasks_stay_in_their_namespace(self, lab: Lab) -> None:
        here, there = lab.process(periodic={"report": HOUR}), lab.process(namespace=ELSEWHERE)
        lab.advance(HOUR)
        assert there.tick(periodic=["report"]).due == ()
        [due] = here.tick(periodic=["report"]).due
        reply = there.broker.fire(QUEUE, "report", due.due_ms, deposit("report"))
        assert reply.verdict is Verdict.REFUSED

    @holds("I21")
    def test_failed_and_parked_jobs_stay_in_their_namespace(self, lab: Lab) -> None:
        failed, parked = deposit(), deposit()
        lab.enqueue(failed, parked)
        here, there = lab.process(), lab.process(namespace=ELSEWHERE)
        here.fail(here.take_one())
        here.park(here.take_one())
        assert there.broker.failed_jobs(QUEUE) == []
        assert there.broker.retry_failed(QUEUE, [failed.stored_id]) == 0
        assert there.broker.discard_failed(QUEUE, [failed.stored_id]) == 0
        reply = there.fetch(parks=["letters.send"])
        assert (reply.leases, reply.parks) == ((), ())
        [counts] = there.broker.counts([QUEUE])
        assert (counts.failed, counts.parked, counts.enqueued, counts.members) == (0, 0, 0, 1)
