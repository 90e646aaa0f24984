"""A purge forgets the jobs of one status, whole or not at all, and touches no others."""

from __future__ import annotations

from datetime import timedelta

from spinach.brokers.calls import Place, Verdict

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids
from ..invariants import holds
from ..lab import Lab
from ..process import Process

HOUR = timedelta(hours=1)
LIMITED = "letters.print"

#: More than any test has.
ALL = 1000


def one_in_each_place(lab: Lab) -> Process:
    """A queue with a job ready, held, parked, waiting, waiting for a retry, failed and leased."""
    process = lab.process(limits={LIMITED: 1})
    lab.enqueue(deposit(LIMITED), deposit(LIMITED), *(deposit() for _ in range(3)))
    # The limited job stays leased; the other one is held.
    _, park, retry, fail = process.take(idle=5)
    process.park(park)
    process.retry(retry, delay=HOUR)
    process.fail(fail)
    lab.enqueue(deposit(), deposit(due_ms=lab.in_ms(HOUR)))
    assert places(lab) == (1, 1, 1, 1, 1, 1, 1)
    return process


def places(lab: Lab) -> tuple[int, ...]:
    """Jobs ready, held, parked, waiting, waiting for a retry, failed, leased."""
    counts = lab.counts()
    return (
        counts.ready,
        counts.held,
        counts.parked,
        counts.future,
        counts.retrying,
        counts.failed,
        counts.leased,
    )


class PurgingBehaviour(BrokerBehaviour):
    """`Broker.purge`."""

    @holds("I1", "I24")
    def test_purge_takes_the_jobs_of_its_status_and_no_others(self, lab: Lab) -> None:
        process = one_in_each_place(lab)
        reply = lab.client.purge(QUEUE, "queued", ALL)
        assert (reply.removed, reply.more) == (3, False)
        assert places(lab) == (0, 0, 0, 1, 1, 1, 1)
        reply = lab.client.purge(QUEUE, "waiting", ALL)
        assert (reply.removed, reply.more) == (2, False)
        assert places(lab) == (0, 0, 0, 0, 0, 1, 1)
        reply = lab.client.purge(QUEUE, "failed", ALL)
        assert (reply.removed, reply.more) == (1, False)
        assert places(lab) == (0, 0, 0, 0, 0, 0, 1)
        assert lab.client.failed_jobs(QUEUE) == []
        # Nothing of what was forgotten comes back.
        lab.live(2 * HOUR, process)
        lab.promote()
        assert process.take(idle=5, extra=5, parks=["letters.send"]) == []

    @holds("I1", "I24")
    def test_purge_of_an_empty_queue_removes_nothing(self, lab: Lab) -> None:
        for status in ("queued", "waiting", "failed"):
            reply = lab.client.purge(QUEUE, status, ALL)
            assert (reply.removed, reply.more) == (0, False)

    @holds("I1", "I19", "I24")
    def test_purge_takes_no_more_than_it_was_told_and_the_first_ones_first(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(5)]
        lab.enqueue(*jobs)
        reply = lab.client.purge(QUEUE, "queued", 2)
        assert (reply.removed, reply.more) == (2, True)
        assert ids(lab.process().take(idle=9)) == ids(jobs[2:])

    @holds("I19", "I24")
    def test_purge_of_what_waits_or_failed_takes_the_earliest_first(self, lab: Lab) -> None:
        waiting = [deposit(due_ms=lab.in_ms(n * HOUR)) for n in (3, 1, 2)]
        failed = [deposit() for _ in range(3)]
        process = lab.process()
        lab.enqueue(*waiting, *failed)
        for _ in failed:
            process.fail(process.take_one())
        replies = [lab.client.purge(QUEUE, "waiting", 2), lab.client.purge(QUEUE, "failed", 2)]
        assert [(reply.removed, reply.more) for reply in replies] == [(2, True)] * 2
        for place, left in ((Place.FUTURE, waiting[0]), (Place.FAILED, failed[2])):
            assert ids(lab.client.list_jobs(QUEUE, places=[place]).jobs) == [left.stored_id]

    @holds("I1", "I19", "I24")
    def test_parts_of_a_purge_add_up_to_all_jobs(self, lab: Lab) -> None:
        one_in_each_place(lab)
        lab.enqueue(*(deposit() for _ in range(4)))
        removed, more = [], True
        while more:
            reply = lab.client.purge(QUEUE, "queued", 2)
            removed.append(reply.removed)
            more = reply.more
        assert sum(removed) == 7
        assert max(removed) == 2
        assert places(lab)[:3] == (0, 0, 0)

    @holds("I2", "I24")
    def test_purged_jobs_leave_nothing_behind(self, lab: Lab) -> None:
        process = lab.process()
        job = deposit()
        lab.enqueue(job)
        process.retry(process.take_one())
        assert lab.client.purge(QUEUE, "queued", ALL).removed == 1
        # As one that was never there: with all its attempts, and counted as new.
        assert lab.enqueue(job) == [True]
        assert process.take_one().retries == 0

    @holds("I1", "I22", "I24")
    def test_purge_counts_no_cancelled_jobs(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(6)]
        lab.enqueue(*jobs)
        lab.client.cancel_jobs(QUEUE, ids(jobs[1:4]))
        # It stands behind the others now.
        lab.enqueue(jobs[1])
        removed, more = [], True
        while more:
            reply = lab.client.purge(QUEUE, "queued", 2)
            removed.append(reply.removed)
            more = reply.more
            assert lab.counts().ready == 4 - sum(removed)
        assert sum(removed) == 4

    @holds("I10", "I24")
    def test_purge_of_held_jobs_leaves_the_limit_in_force(self, lab: Lab) -> None:
        process = lab.process(limits={LIMITED: 1})
        lab.enqueue(*(deposit(LIMITED) for _ in range(3)))
        [lease] = process.take(idle=5)
        assert lab.client.purge(QUEUE, "queued", ALL).removed == 2
        lab.enqueue(deposit(LIMITED))
        assert process.take(idle=5) == []
        process.succeed(lease)
        assert len(process.take(idle=5)) == 1

    @holds("I10", "I14", "I24")
    def test_slot_of_a_job_that_is_purged_is_for_the_next_one(self, lab: Lab) -> None:
        process = lab.process(limits={LIMITED: 1})
        jobs = [deposit(LIMITED) for _ in range(3)]
        lab.enqueue(*jobs)
        [lease] = process.take(idle=5)
        process.succeed(lease)
        # The second one is back in line, and the third one still held.
        assert places(lab)[:2] == (1, 1)
        reply = lab.client.purge(QUEUE, "queued", 1)
        assert (reply.removed, reply.more) == (1, True)
        assert ids(process.take(idle=5)) == ids(jobs[2:])

    @holds("I10", "I24")
    def test_purge_brings_back_one_held_job_for_each_slot_that_it_frees(self, lab: Lab) -> None:
        process = lab.process(limits={LIMITED: 1, "letters.sort": 1})
        lab.enqueue(*(deposit(task) for task in (LIMITED, "letters.sort") for _ in range(3)))
        process.succeed(*process.take(idle=9))
        # Of each task one job came to the front, and one is held.
        assert places(lab)[:2] == (2, 2)
        assert lab.client.purge(QUEUE, "queued", 1).removed == 1
        assert places(lab)[:2] == (2, 1)

    @holds("I5", "I24")
    def test_purge_leaves_leases_in_force(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(deposit(), deposit())
        first, second = process.take(idle=2)
        for status in ("queued", "waiting", "failed"):
            lab.client.purge(QUEUE, status, ALL)
        process.succeed(first)
        process.fail(second)
        assert lab.counts().failed == 1

    @holds("I14", "I24")
    def test_leaving_a_purged_queue_is_possible(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(*(deposit() for _ in range(3)))
        lab.client.purge(QUEUE, "queued", ALL)
        assert lab.counts().unfinished == 0
        assert process.fetch().leases == ()
        assert process.leave().verdict is Verdict.APPLIED
