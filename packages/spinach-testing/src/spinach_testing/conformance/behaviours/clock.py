"""Clock: servers and machines have their time set back, by a little all day, and by far."""

from __future__ import annotations

from datetime import timedelta

from spinach.brokers.calls import Verdict
from spinach.const import DEFAULT_LEASE

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids
from ..invariants import holds
from ..lab import BEAT, DEATH_NOTICE, Lab

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

#: What time servers do, and no more. A number of its own: it judges the one of the policy.
LESS_THAN_A_STEP = timedelta(milliseconds=900)


class ClockBehaviour(BrokerBehaviour):
    """What becomes of leases, offices, ticks and failed jobs when the store's time goes back."""

    @holds("I11")
    def test_less_than_a_second_back_delays_no_recovery(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        assert lab.live(2 * BEAT, survivor) == []
        lab.set_back(LESS_THAN_A_STEP)
        # Somebody has to call before time makes up for it.
        assert survivor.beat().dead is None
        assert lab.live(DEATH_NOTICE - 2 * BEAT, survivor) == [doomed.member()]

    @holds("I11")
    def test_many_small_steps_back_delay_no_recovery(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        named: list[str] = []
        for _ in range(4):
            lab.set_back(timedelta(milliseconds=1))
            assert survivor.beat().verdict is Verdict.APPLIED
            named += lab.live(BEAT + timedelta(milliseconds=1), survivor)
        assert named == [doomed.member()]

    @holds("I11")
    def test_nobody_dies_of_a_clock_that_is_set_back(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        worker, other = lab.process(), lab.process()
        lease = worker.take_one()
        lab.set_back(HOUR)
        assert lab.live(DEFAULT_LEASE - BEAT, other) == []
        assert other.broker.recover(QUEUE, worker.member()).verdict is Verdict.REFUSED
        assert worker.beat().verdict is Verdict.APPLIED
        worker.succeed(lease)

    @holds("I11")
    def test_the_dead_stay_dead_when_the_clock_is_set_back(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        doomed, survivor = lab.process(), lab.process()
        doomed.take_one()
        lab.set_back(HOUR)
        # A lease after the next beat, which notices; not an hour later, when the clock reaches
        # the deadline that was written before.
        assert lab.live(BEAT + DEATH_NOTICE, survivor) == [doomed.member()]
        assert lab.recover(doomed, survivor) == []
        assert lab.counts().leased_by_dead == 0

    @holds("I8", "I14")
    def test_somebody_keeps_the_time_of_a_clock_that_was_set_back(self, lab: Lab) -> None:
        keeper, other = lab.process(), lab.process()
        lab.enqueue(deposit(due_ms=lab.in_ms(HOUR)))
        assert keeper.fetch().next_due_in_ms is not None
        assert other.fetch().next_due_in_ms is None
        lab.set_back(HOUR)
        assert other.fetch().next_due_in_ms is not None

    @holds("I8", "I14")
    def test_office_of_a_member_that_left_is_over_when_the_clock_comes_back(self, lab: Lab) -> None:
        keeper, other = lab.process(), lab.process()
        lab.enqueue(deposit(due_ms=lab.in_ms(2 * HOUR)))
        assert keeper.fetch().next_due_in_ms is not None
        lab.set_back(MINUTE)
        assert keeper.leave().verdict is Verdict.APPLIED
        lab.advance(MINUTE)
        assert other.fetch().next_due_in_ms is not None

    @holds("I15")
    def test_periodic_task_does_not_wait_for_a_clock_that_was_set_back(self, lab: Lab) -> None:
        process = lab.process(periodic={"report": MINUTE})
        lab.set_back(HOUR)
        reply = process.tick(periodic=["report"])
        assert reply.due == ()
        assert reply.next_periodic_in_ms is not None
        assert reply.next_periodic_in_ms <= MINUTE / timedelta(milliseconds=1)

    @holds("I15")
    def test_less_than_a_second_back_moves_no_grid(self, lab: Lab) -> None:
        process = lab.process(periodic={"report": MINUTE})
        lab.advance(MINUTE)
        [due] = process.tick(periodic=["report"]).due
        job = deposit("report")
        assert process.broker.fire(QUEUE, "report", due.due_ms, job).verdict is Verdict.APPLIED
        lab.set_back(LESS_THAN_A_STEP)
        process.tick(periodic=["report"])
        lab.advance(2 * MINUTE)
        [later] = process.tick(periodic=["report"]).due
        assert later.due_ms == due.due_ms + MINUTE // timedelta(milliseconds=1)

    @holds("I1")
    def test_failed_jobs_stand_in_the_order_of_their_instants(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(6)]
        lab.enqueue(*jobs)
        process = lab.process()
        first, second, *others = process.take(idle=6)
        process.fail(first)
        lab.advance(2 * HOUR)
        process.fail(second)
        lab.set_back(HOUR)
        # Several of one ms, while one of a later instant is there already.
        process.fail(*others)
        newest = ids([jobs[1], *jobs[:1:-1], jobs[0]])
        found = lab.client.failed_jobs(QUEUE)
        assert ids(found) == newest
        assert ids(lab.client.failed_jobs(QUEUE, after=found[2].cursor)) == newest[3:]
