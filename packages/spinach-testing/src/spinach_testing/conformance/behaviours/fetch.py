"""Fetch: how many jobs, in which order, from which queue, and what the reply says."""

from __future__ import annotations

from datetime import timedelta

from spinach.brokers.calls import FetchTurn, Verdict

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids
from ..invariants import holds
from ..lab import Lab

OTHER = "invoices"


class FetchBehaviour(BrokerBehaviour):
    """`Broker.fetch`, without limits, parks and waiting."""

    @holds("I1")
    def test_fetch_from_an_empty_queue_brings_nothing(self, lab: Lab) -> None:
        reply = lab.process().fetch(idle=5, extra=5)
        assert reply.verdict is Verdict.APPLIED
        assert reply.leases == ()
        assert not reply.more
        assert reply.parks == ()
        assert reply.dead is None
        assert reply.next_due_in_ms is None

    @holds("I5")
    def test_lease_says_whose_it_is(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        process = lab.process()
        lease = process.take_one()
        assert lease.queue == QUEUE
        assert lease.member == process.member()
        assert lease.stored_id == job.stored_id
        assert lease.record == job.record
        assert lease.token
        assert lease.direct
        assert (lease.retries, lease.losses) == (0, 0)

    @holds("I1")
    def test_leased_jobs_are_not_handed_out_again(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(6)]
        lab.enqueue(*jobs)
        processes = [lab.process() for _ in range(3)]
        taken = [ids(process.take(idle=2)) for process in processes]
        assert taken == [ids(jobs[0:2]), ids(jobs[2:4]), ids(jobs[4:6])]
        assert [process.take(idle=2) for process in processes] == [[], [], []]

    @holds("I9")
    def test_fetch_takes_no_more_than_was_asked_for(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(10)]
        lab.enqueue(*jobs)
        process = lab.process()
        assert process.take(idle=0, extra=0) == []
        assert ids(process.take(idle=2, extra=0)) == ids(jobs[:2])
        assert ids(process.take(idle=1, extra=2)) == ids(jobs[2:5])
        assert ids(process.take(idle=0, extra=1)) == ids(jobs[5:6])

    @holds("I14")
    def test_fetch_says_whether_takeable_jobs_remain(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit(), deposit())
        process = lab.process()
        assert process.fetch(idle=0).more
        assert process.fetch(idle=2).more
        assert not process.fetch(idle=1).more
        assert not process.fetch(idle=1).more

    @holds("I9", "I21")
    def test_turns_are_served_in_strict_order(self, lab: Lab) -> None:
        first = [deposit() for _ in range(2)]
        second = [deposit(queue=OTHER) for _ in range(4)]
        lab.enqueue(*first, *second)
        process = lab.process(QUEUE, OTHER)
        one, two = process.fetch_from([QUEUE, OTHER], idle=3)
        assert (ids(one.leases), one.more) == (ids(first), False)
        assert (ids(two.leases), two.more) == (ids(second[:1]), True)
        # The order is that of the turns, not that of joining.
        lab.enqueue(deposit())
        two, one = process.fetch_from([OTHER, QUEUE], idle=2)
        assert ids(two.leases) == ids(second[1:3])
        assert (one.leases, one.more) == ((), True)

    @holds("I9")
    def test_idle_and_extra_are_shared_by_all_turns(self, lab: Lab) -> None:
        first = [deposit() for _ in range(2)]
        second = [deposit(queue=OTHER) for _ in range(4)]
        lab.enqueue(*first, *second)
        process = lab.process(QUEUE, OTHER)
        one, two = process.fetch_from([QUEUE, OTHER], idle=1, extra=3)
        assert [lease.direct for lease in one.leases] == [True, False]
        assert ids(one.leases) == ids(first)
        assert [lease.direct for lease in two.leases] == [False, False]
        assert ids(two.leases) == ids(second[:2])
        assert {lease.queue for lease in two.leases} == {OTHER}
        assert {lease.member for lease in two.leases} == {process.member(OTHER)}

    @holds("I5")
    def test_each_turn_has_a_verdict_of_its_own(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit(queue=OTHER))
        process = lab.process(QUEUE)
        lost, kept = process.fetch_from([OTHER, QUEUE], idle=5)
        assert (lost.verdict, lost.leases) == (Verdict.FENCED, ())
        assert (kept.verdict, len(kept.leases)) == (Verdict.APPLIED, 1)

    @holds("I5")
    def test_job_that_is_leased_again_has_another_token(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        tokens = set()
        for _ in range(5):
            lease = process.take_one()
            tokens.add(lease.token)
            process.release(lease)
        assert len(tokens) == 5

    @holds("I9")
    def test_waiting_jobs_are_passed_over(self, lab: Lab) -> None:
        waiting, ready = deposit(due_ms=lab.in_ms(timedelta(days=1))), deposit()
        lab.enqueue(waiting, ready)
        assert ids(lab.process().take(idle=5, extra=5)) == [ready.stored_id]

    @holds("I21")
    def test_one_process_has_separate_memberships_in_its_queues(self, lab: Lab) -> None:
        lab.enqueue(deposit(queue=OTHER))
        process = lab.process(QUEUE)
        # The member of one queue is nobody in another.
        [reply] = process.broker.fetch(
            [FetchTurn(OTHER, process.member(QUEUE), 1)], idle=1, extra=0, max_bytes=1000
        )
        assert (reply.verdict, reply.leases) == (Verdict.FENCED, ())
