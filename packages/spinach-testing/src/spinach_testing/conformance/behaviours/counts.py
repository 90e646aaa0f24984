"""Counts: one number a place, and when the next waiting job is due."""

from __future__ import annotations

from datetime import timedelta

from spinach.brokers.calls import QueueCounts, Verdict

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, once
from ..invariants import holds
from ..lab import DEATH_NOTICE, TOLERANCE_MS, Lab

HOUR = timedelta(hours=1)
LIMITED = "letters.print"


class CountsBehaviour(BrokerBehaviour):
    """`Broker.counts`."""

    @holds("I1")
    def test_unknown_queue_is_empty(self, lab: Lab) -> None:
        assert lab.counts("unheard") == QueueCounts(verdict=Verdict.APPLIED, queue="unheard")
        assert lab.client.counts([]) == []

    @holds("I1", "I21")
    def test_queues_are_counted_in_the_order_asked_for(self, lab: Lab) -> None:
        lab.enqueue(deposit(queue="a"), deposit(queue="b"), deposit(queue="b"))
        counts = lab.client.counts(["b", "none", "a"])
        assert [(each.queue, each.ready) for each in counts] == [("b", 2), ("none", 0), ("a", 1)]

    @holds("I1")
    def test_each_place_is_counted(self, lab: Lab) -> None:
        lab.enqueue(
            deposit(due_ms=lab.in_ms(HOUR)),
            deposit("parked"),
            deposit("failed"),
            deposit("retried"),
            deposit(LIMITED),
            deposit(LIMITED),
            deposit(LIMITED),
            deposit(),
        )
        process = lab.process(limits={LIMITED: 1})
        parked, failed, retried = process.take(idle=3)
        process.park(parked)
        process.fail(failed)
        process.retry(retried, delay=HOUR)
        # The limited one that finds no slot is set aside on the way to the last.
        assert len(process.take(idle=2)) == 2
        lab.enqueue(once(), once(), once())
        counts = lab.counts()
        assert counts.verdict is Verdict.APPLIED
        assert (counts.future, counts.retrying, counts.parked, counts.failed) == (1, 1, 1, 1)
        assert (counts.leased, counts.held, counts.ready) == (2, 2, 3)
        assert (counts.members, counts.leased_by_dead, counts.enqueued) == (1, 0, 11)

    @holds("I13")
    def test_parked_jobs_are_counted_by_task(self, lab: Lab) -> None:
        lab.enqueue(deposit("letters.scan"), deposit("letters.fax"), deposit("letters.scan"))
        old, new = lab.process(), lab.process()
        assert lab.counts().parks == {}
        old.park(*old.take(idle=3))
        counts = lab.counts()
        assert (counts.parked, counts.parks) == (3, {"letters.scan": 2, "letters.fax": 1})
        new.succeed(*new.take(idle=2, parks=["letters.scan"]))
        counts = lab.counts()
        assert (counts.parked, counts.parks) == (1, {"letters.fax": 1})

    @holds("I1", "I11")
    def test_leases_of_the_dead_are_counted_apart(self, lab: Lab) -> None:
        lab.enqueue(*(deposit() for _ in range(5)))
        doomed, survivor = lab.process(), lab.process()
        doomed.take(idle=1, extra=1)
        survivor.take(idle=1)
        lab.live(DEATH_NOTICE, survivor)
        counts = lab.counts()
        assert (counts.leased, counts.leased_by_dead, counts.members) == (1, 2, 1)
        assert counts.unfinished == 5

    @holds("I1")
    def test_enqueued_only_grows(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit(due_ms=lab.in_ms(HOUR)))
        assert lab.counts().enqueued == 2
        process = lab.process()
        process.release(process.take_one())
        process.succeed(process.take_one())
        assert lab.counts().enqueued == 2
        lab.enqueue(deposit())
        assert lab.counts().enqueued == 3

    @holds("I8")
    def test_counts_tell_when_the_first_waiting_job_is_due(self, lab: Lab) -> None:
        assert lab.counts().next_due_in_ms is None
        lab.enqueue(deposit(due_ms=lab.in_ms(2 * HOUR)))
        due = lab.counts().next_due_in_ms
        assert due is not None
        assert 7_200_000 - TOLERANCE_MS < due <= 7_200_000
        lab.enqueue(deposit())
        process = lab.process()
        process.retry(process.take_one(), delay=HOUR)
        due = lab.counts().next_due_in_ms
        assert due is not None
        # Delay and rest are rounded up, so that neither is cut short.
        assert 3_600_000 - TOLERANCE_MS < due <= 3_600_001
        lab.advance(HOUR + timedelta(milliseconds=1))
        due = lab.counts().next_due_in_ms
        assert due is not None
        assert due <= 0
        lab.promote()
        lab.advance(2 * HOUR)
        lab.promote()
        assert lab.counts().next_due_in_ms is None

    @holds("I8")
    def test_what_is_ready_or_parked_is_not_due(self, lab: Lab) -> None:
        lab.enqueue(deposit("parked"), deposit())
        process = lab.process()
        process.park(process.take_one())
        assert lab.counts(QUEUE).next_due_in_ms is None
