"""Bounds: no call does or carries more than it should, and each says what is left."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from spinach.brokers.calls import Verdict
from spinach.const import HOUSEKEEPING_CHUNK, MAX_FETCH_BYTES

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids, once
from ..invariants import holds
from ..lab import DEATH_NOTICE, Lab

if TYPE_CHECKING:
    from spinach.outcome import Lease

HOUR = timedelta(hours=1)


def size(number: int) -> bytes:
    """A payload of this many bytes."""
    return b"x" * number


class BoundsBehaviour(BrokerBehaviour):
    """`max_bytes`, and housekeeping in portions."""

    @holds("I19")
    def test_records_of_one_fetch_stay_below_max_bytes(self, lab: Lab) -> None:
        jobs = [deposit(payload=size(1000)) for _ in range(7)]
        lab.enqueue(*jobs)
        process = lab.process()
        taken: list[str] = []
        while len(taken) < 7:
            reply = process.fetch(idle=9, max_bytes=2500)
            assert reply.leases
            assert sum(len(lease.record) for lease in reply.leases) <= 2500
            taken += ids(reply.leases)
            assert reply.more == (len(taken) < 7)
        assert taken == ids(jobs)

    @holds("I19")
    def test_bound_holds_for_the_buffer_too(self, lab: Lab) -> None:
        jobs = [deposit(payload=size(1000)) for _ in range(7)]
        lab.enqueue(*jobs)
        reply = lab.process().fetch(idle=1, extra=9, max_bytes=3500)
        assert 1 <= len(reply.leases) <= 3
        assert ids(reply.leases) == ids(jobs[: len(reply.leases)])
        assert reply.more

    @holds("I19")
    def test_job_beyond_max_bytes_is_handed_out_alone(self, lab: Lab) -> None:
        jobs = [deposit(), deposit(payload=size(5000)), deposit()]
        lab.enqueue(*jobs)
        process = lab.process()
        for job in jobs:
            assert ids(process.fetch(idle=9, max_bytes=500).leases) == [job.stored_id]

    @holds("I19")
    def test_large_job_is_buffered_alone(self, lab: Lab) -> None:
        jobs = [deposit(payload=size(5000)) for _ in range(3)]
        lab.enqueue(*jobs)
        process = lab.process()
        for job in jobs:
            reply = process.fetch(idle=0, extra=9, max_bytes=500)
            assert ids(reply.leases) == [job.stored_id]

    @holds("I19")
    def test_bound_holds_over_all_turns_of_a_call(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(payload=size(1000)) for _ in range(2)))
        lab.enqueue(*(deposit(queue="invoices", payload=size(1000)) for _ in range(2)))
        process = lab.process(QUEUE, "invoices")
        replies = process.fetch_from([QUEUE, "invoices"], idle=9, max_bytes=3500)
        records = [lease.record for reply in replies for lease in reply.leases]
        assert sum(len(record) for record in records) <= 3500
        assert len(replies[0].leases) == 2
        assert replies[1].more

    @holds("I19")
    def test_bound_holds_for_parks_too(self, lab: Lab) -> None:
        lab.enqueue(*(deposit("new", payload=size(1000)) for _ in range(4)))
        process = lab.process()
        process.park(*process.take(idle=4))
        reply = process.fetch(idle=9, max_bytes=2500, parks=["new"])
        assert 1 <= len(reply.leases) <= 2
        assert reply.more

    @holds("I8", "I19")
    def test_tick_promotes_a_bounded_number(self, lab: Lab) -> None:
        jobs = [deposit(due_ms=lab.in_ms(HOUR) + n) for n in range(2 * HOUSEKEEPING_CHUNK + 50)]
        lab.enqueue(*jobs)
        lab.advance(2 * HOUR)
        process = lab.process()
        ready = 0
        while ready < len(jobs):
            reply = process.tick()
            promoted = lab.counts().ready - ready
            assert 0 < promoted <= HOUSEKEEPING_CHUNK
            ready += promoted
            assert (reply.next_due_in_ms == 0) == (ready < len(jobs))
        assert process.tick().next_due_in_ms is None
        assert ids(process.take(idle=len(jobs))) == ids(jobs)

    @holds("I11", "I19")
    def test_recover_takes_back_a_bounded_number(self, lab: Lab) -> None:
        jobs = [once() for _ in range(2 * HOUSEKEEPING_CHUNK + 50)]
        lab.enqueue(*jobs)
        doomed, survivor = lab.process(), lab.process()
        doomed.take(idle=len(jobs))
        lab.live(DEATH_NOTICE, survivor)
        lost: list[str] = []
        while len(lost) < len(jobs):
            reply = survivor.broker.recover(QUEUE, doomed.member())
            assert reply.verdict is Verdict.APPLIED
            assert 0 < len(reply.lost) <= HOUSEKEEPING_CHUNK
            lost += ids(reply.lost)
            assert reply.more == (len(lost) < len(jobs))
            # Fenced from the first call on, while leases of its are left.
            assert doomed.beat().verdict is Verdict.FENCED
        assert sorted(lost) == sorted(ids(jobs))
        assert lab.counts().leased_by_dead == 0
        assert lab.counts().failed == len(jobs)

    @holds("I11")
    def test_recovery_may_be_continued_by_another(self, lab: Lab) -> None:
        jobs = [once() for _ in range(2 * HOUSEKEEPING_CHUNK)]
        lab.enqueue(*jobs)
        doomed, *survivors = [lab.process() for _ in range(3)]
        doomed.take(idle=len(jobs))
        lab.live(DEATH_NOTICE, *survivors)
        lost = ids(survivors[0].broker.recover(QUEUE, doomed.member()).lost)
        # The first one breaks off. The next one that is told of the death goes on.
        assert doomed.member() in lab.live(DEATH_NOTICE, survivors[1])
        lost += ids(lab.recover(doomed, survivors[1]))
        assert sorted(lost) == sorted(ids(jobs))
        assert lab.counts().unfinished == 0

    @holds("I13", "I19")
    def test_fetch_names_a_bounded_number_of_parks(self, lab: Lab) -> None:
        tasks = [f"task.{n}" for n in range(3 * HOUSEKEEPING_CHUNK)]
        lab.enqueue(*(deposit(task) for task in tasks))
        process = lab.process()
        process.park(*process.take(idle=len(tasks)))
        assert lab.counts().parked == len(tasks)
        found: set[str] = set()
        while len(found) < len(tasks):
            names = process.fetch(idle=0).parks
            assert 0 < len(names) <= HOUSEKEEPING_CHUNK
            assert found.isdisjoint(names)
            found |= set(names)
            # A park that was emptied makes way for another one.
            process.succeed(*process.take(idle=len(names), parks=names))
        assert found == set(tasks)

    @holds("I9", "I19")
    def test_job_that_is_too_large_for_the_rest_is_not_overtaken(self, lab: Lab) -> None:
        first, large = (deposit("new", payload=size(number)) for number in (1000, 3000))
        lab.enqueue(first, large)
        process = lab.process()
        process.park(*process.take(idle=2))
        lab.enqueue(deposit())
        reply = process.fetch(idle=9, max_bytes=2000, parks=["new"])
        assert ids(reply.leases) == [first.stored_id]
        assert reply.more

    @holds("I6", "I19")
    def test_reconcile_returns_what_fits_into_a_reply(self, lab: Lab) -> None:
        jobs = [deposit(payload=size(400 * 1024)) for _ in range(5)]
        lab.enqueue(*jobs)
        process = lab.process()
        leases: list[Lease] = []
        while len(leases) < len(jobs):
            leases += process.take(idle=len(jobs) - len(leases))
        found: list[Lease] = []
        while len(found) < len(jobs):
            reply = process.reconcile(found)
            assert 0 < sum(len(lease.record) for lease in reply.missing) <= MAX_FETCH_BYTES
            found += reply.missing
            assert reply.more == (len(found) < len(jobs))
        assert ids(found) == ids(jobs)
        process.succeed(*leases)

    @holds("I11", "I19")
    def test_recover_tells_of_what_fits_into_a_reply(self, lab: Lab) -> None:
        jobs = [once(payload=size(400 * 1024)) for _ in range(5)]
        lab.enqueue(*jobs)
        doomed, survivor = lab.process(), lab.process()
        taken = 0
        while taken < len(jobs):
            taken += len(doomed.take(idle=len(jobs) - taken))
        lab.live(DEATH_NOTICE, survivor)
        lost: list[str] = []
        while len(lost) < len(jobs):
            reply = survivor.broker.recover(QUEUE, doomed.member())
            assert reply.verdict is Verdict.APPLIED
            assert 0 < sum(len(job.record) for job in reply.lost) <= MAX_FETCH_BYTES
            lost += ids(reply.lost)
            assert reply.more == (len(lost) < len(jobs))
        assert sorted(lost) == sorted(ids(jobs))
