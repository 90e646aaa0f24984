"""Empty: what workers still have to do before a queue counts as empty, and what not."""

from __future__ import annotations

from datetime import timedelta

from ..behaviour import BrokerBehaviour
from ..deposits import deposit
from ..invariants import holds
from ..lab import Lab

HOUR = timedelta(hours=1)
LIMITED = "letters.print"
NEW = "letters.scan"


class EmptyBehaviour(BrokerBehaviour):
    """`QueueCounts.unfinished`, by which `stop_when_queue_empty` decides."""

    @holds("I20")
    def test_queue_is_empty_when_workers_have_nothing_left_to_do(self, lab: Lab) -> None:
        process = lab.process()
        assert lab.counts().unfinished == 0
        lab.enqueue(deposit(), deposit(due_ms=lab.in_ms(HOUR)))
        assert lab.counts().unfinished == 1
        lease = process.take_one()
        assert lab.counts().unfinished == 1
        process.retry(lease, delay=HOUR)
        assert lab.counts().unfinished == 1
        lab.advance(2 * HOUR)
        lab.promote()
        assert lab.counts().unfinished == 2
        succeeded, failed = process.take(idle=2)
        process.succeed(succeeded)
        process.fail(failed)
        assert lab.counts().unfinished == 0

    @holds("I20")
    def test_buffered_and_held_jobs_are_unfinished(self, lab: Lab) -> None:
        lab.enqueue(deposit(LIMITED), deposit(LIMITED), deposit())
        process = lab.process(limits={LIMITED: 1})
        assert len(process.take(idle=2)) == 2
        lab.enqueue(deposit())
        assert len(process.take(idle=0, extra=1)) == 1
        assert lab.counts().unfinished == 4

    @holds("I13")
    def test_parked_jobs_do_not_keep_the_queue_from_being_empty(self, lab: Lab) -> None:
        lab.enqueue(deposit(NEW))
        old = lab.process()
        old.park(old.take_one())
        assert lab.counts().unfinished == 0
