"""Cancels: each job can be taken back, wherever it is."""

from __future__ import annotations

from spinach.brokers.calls import Verdict
from spinach.const import CANCELS_TOLD, MAX_FETCH_BYTES
from spinach.outcome import Lease, OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids, once
from ..invariants import holds
from ..lab import Lab
from ..process import outcome
from .jobs import (
    CANCELLED,
    FINISHED,
    HOUR,
    NEW,
    NOBODY,
    REQUESTED,
    SLOW,
    UNKNOWN,
    cancel,
    find,
    gone,
)


class CancelBehaviour(BrokerBehaviour):
    """`cancel_jobs`: what was cancelled does not start, and is counted no more."""

    @holds("I22")
    def test_cancelled_ready_job_is_gone(self, lab: Lab) -> None:
        first, second, third = jobs = [deposit(), once(), deposit()]
        lab.enqueue(*jobs)
        [reply] = lab.client.cancel_jobs(QUEUE, [second.stored_id])
        assert (reply.verdict, reply.record, reply.retries) == (CANCELLED, second.record, 0)
        assert gone(lab, second)
        assert lab.counts().ready == 2
        assert find(lab, third).ahead == 1
        process = lab.process()
        assert ids(process.take(idle=5, extra=5)) == [first.stored_id, third.stored_id]
        assert lab.counts().unfinished == 2

    @holds("I22")
    def test_job_is_cancelled_once(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job, deposit())
        assert cancel(lab, job, job) == [CANCELLED, UNKNOWN]
        assert cancel(lab, job) == [UNKNOWN]
        assert lab.counts().ready == 1

    @holds("I14", "I22")
    def test_queue_of_cancelled_jobs_is_empty(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(5)]
        lab.enqueue(*jobs)
        assert cancel(lab, *jobs[1:4]) == [CANCELLED] * 3
        process = lab.process()
        reply = process.fetch(idle=1)
        assert ids(reply.leases) == [jobs[0].stored_id]
        assert reply.more
        reply = process.fetch(idle=1)
        assert ids(reply.leases) == [jobs[4].stored_id]
        assert not reply.more
        process.succeed(*process.reconcile().missing)
        lab.enqueue(*jobs[1:2])
        assert cancel(lab, jobs[1]) == [CANCELLED]
        assert not process.fetch(idle=1).more
        assert lab.counts().unfinished == 0

    @holds("I14", "I22")
    def test_what_follows_the_cancelled_jobs_is_taken(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(30)]
        lab.enqueue(*jobs)
        assert cancel(lab, *jobs[2:]) == [CANCELLED] * 28
        process = lab.process()
        reply = process.fetch(idle=2)
        assert ids(reply.leases) == ids(jobs[:2])
        assert not reply.more
        new = deposit()
        lab.enqueue(new)
        assert lab.counts().ready == 1
        assert process.take_one().stored_id == new.stored_id
        assert process.take(idle=5, extra=5) == []

    @holds("I1", "I22")
    def test_job_that_is_stored_again_after_its_cancel_is_handed_out_once(self, lab: Lab) -> None:
        first, again, last = jobs = [deposit() for _ in range(3)]
        lab.enqueue(*jobs)
        assert cancel(lab, again) == [CANCELLED]
        lab.enqueue(again)
        assert lab.counts().ready == 3
        assert cancel(lab, again, again) == [CANCELLED, UNKNOWN]
        assert lab.counts().ready == 2
        lab.enqueue(again)
        process = lab.process()
        assert ids(process.take(idle=9)) == ids([first, last, again])
        assert lab.counts().ready == 0
        assert process.take(idle=9) == []

    @holds("I22")
    def test_cancelled_future_job_never_becomes_due(self, lab: Lab) -> None:
        job, other = (deposit(due_ms=lab.in_ms(HOUR * n)) for n in (1, 2))
        lab.enqueue(job, other)
        assert cancel(lab, job) == [CANCELLED]
        assert lab.counts().future == 1
        lab.advance(3 * HOUR)
        lab.promote()
        assert ids(lab.process().take(idle=5)) == [other.stored_id]

    @holds("I22")
    def test_job_that_waits_for_a_retry_is_cancelled(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        process = lab.process()
        process.retry(process.take_one(), delay=HOUR)
        [reply] = lab.client.cancel_jobs(QUEUE, [job.stored_id])
        assert (reply.verdict, reply.retries) == (CANCELLED, 1)
        counts = lab.counts()
        assert (counts.retrying, counts.future, counts.unfinished) == (0, 0, 0)
        lab.live(2 * HOUR, process)
        lab.promote()
        assert process.take(idle=5) == []

    @holds("I10", "I22")
    def test_held_job_is_cancelled_and_takes_no_slot(self, lab: Lab) -> None:
        process = lab.process(limits={SLOW: 1})
        jobs = [deposit(SLOW) for _ in range(6)]
        lab.enqueue(*jobs)
        [running] = process.take(idle=6)
        assert cancel(lab, jobs[1], jobs[3], jobs[5]) == [CANCELLED] * 3
        assert lab.counts().held == 2
        [limit] = lab.client.limits(QUEUE)
        assert limit.held == 2
        for job in (jobs[2], jobs[4]):
            process.succeed(running)
            [running] = process.take(idle=6)
            assert running.stored_id == job.stored_id
        assert lab.counts().held == 0
        process.succeed(running)
        assert process.take(idle=6) == []
        assert lab.counts().unfinished == 0

    @holds("I10", "I22")
    def test_job_that_came_back_to_the_front_is_cancelled(self, lab: Lab) -> None:
        process = lab.process(limits={SLOW: 1})
        jobs = [deposit(SLOW) for _ in range(4)]
        lab.enqueue(*jobs)
        [running] = process.take(idle=6)
        process.succeed(running)
        assert cancel(lab, jobs[1]) == [CANCELLED]
        for job in jobs[2:]:
            [running] = process.take(idle=6)
            assert running.stored_id == job.stored_id
            process.succeed(running)
        assert lab.counts().unfinished == 0

    @holds("I10", "I22")
    def test_jobs_that_come_to_the_front_meanwhile_are_cancelled(self, lab: Lab) -> None:
        process = lab.process(limits={SLOW: 1})
        jobs = [deposit(SLOW) for _ in range(6)]
        lab.enqueue(*jobs)
        [running] = process.take(idle=6)
        # The next one comes to the front. Each cancel of such a one brings another.
        process.succeed(running)
        assert cancel(lab, *jobs[1:4]) == [CANCELLED] * 3
        counts = lab.counts()
        assert (counts.ready, counts.held) == (1, 1)
        for job in jobs[4:]:
            [running] = process.take(idle=6)
            assert running.stored_id == job.stored_id
            process.succeed(running)
        assert lab.counts().unfinished == 0

    @holds("I13", "I22")
    def test_parked_job_is_cancelled(self, lab: Lab) -> None:
        jobs = [deposit(NEW) for _ in range(4)]
        lab.enqueue(*jobs)
        old, new = lab.process(), lab.process()
        old.park(*old.take(idle=4))
        assert cancel(lab, jobs[0], jobs[2]) == [CANCELLED] * 2
        assert lab.counts().parks == {NEW: 2}
        reply = new.fetch(idle=1, parks=[NEW])
        assert ids(reply.leases) == [jobs[1].stored_id]
        assert reply.more
        assert cancel(lab, jobs[3]) == [CANCELLED]
        assert lab.counts().parked == 0
        assert new.fetch(parks=[NEW]).parks == ()

    @holds("I22")
    def test_failed_job_is_finished(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        process = lab.process()
        process.fail(process.take_one())
        assert cancel(lab, job) == [FINISHED]
        assert lab.counts().failed == 1
        assert cancel(lab, deposit()) == [UNKNOWN]
        assert cancel(lab, job, queue="nothing") == [UNKNOWN]

    @holds("I22")
    def test_worker_hears_of_the_cancel_with_each_beat(self, lab: Lab) -> None:
        jobs = [deposit(), once(), deposit()]
        lab.enqueue(*jobs)
        process, other = lab.process(), lab.process()
        leases = process.take(idle=2)
        other.take_one()
        assert cancel(lab, jobs[0], jobs[1], jobs[0]) == [REQUESTED] * 3
        assert [find(lab, job).cancel_requested for job in jobs] == [True, True, False]
        pairs = [(lease.stored_id, lease.token) for lease in leases]
        for _ in range(2):
            assert sorted(process.beat().cancelled) == sorted(pairs)
        assert other.beat().cancelled == ()
        process.succeed(leases[0])
        assert process.beat().cancelled == (pairs[1],)
        assert process.report(outcome(OutcomeKind.CANCELLED, leases[1])) == (Verdict.APPLIED,)
        assert process.beat().cancelled == ()
        assert lab.counts().unfinished == 1

    @holds("I22")
    def test_job_whose_cancel_was_asked_for_goes_back_to_no_queue(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(4)]
        lab.enqueue(*jobs)
        process = lab.process()
        leases = process.take(idle=4)
        assert cancel(lab, *jobs[:3]) == [REQUESTED] * 3
        kinds = (OutcomeKind.RETRY, OutcomeKind.RELEASE, OutcomeKind.PARK, OutcomeKind.RELEASE)
        told = [outcome(kind, lease) for kind, lease in zip(kinds, leases, strict=True)]
        reply = process.broker.report(told)
        assert (reply.verdicts, reply.cancelled) == ((Verdict.APPLIED,) * 4, (0, 1, 2))
        assert [gone(lab, job) for job in jobs] == [True, True, True, False]
        counts = lab.counts()
        assert (counts.unfinished, counts.parked, counts.future) == (1, 0, 0)
        # It was asked for that lease, and not for those to come.
        assert process.take_one().stored_id == jobs[3].stored_id
        assert process.beat().cancelled == ()

    @holds("I22")
    def test_job_that_ends_as_its_process_says_is_not_told_as_cancelled(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(4)]
        lab.enqueue(*jobs)
        process = lab.process()
        leases = process.take(idle=4)
        assert cancel(lab, *jobs) == [REQUESTED] * 4
        kinds = (OutcomeKind.SUCCEEDED, OutcomeKind.FAILED, OutcomeKind.CANCELLED)
        told = [outcome(kind, lease) for kind, lease in zip(kinds, leases, strict=False)]
        # A copy is refused, and tells nothing of the first one.
        told += [outcome(OutcomeKind.RETRY, leases[3])] * 2
        reply = process.broker.report(told)
        assert reply.verdicts == (Verdict.APPLIED,) * 4 + (Verdict.REFUSED,)
        assert reply.cancelled == (3,)

    @holds("I22")
    def test_cancel_is_forgotten_with_the_lease(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        process = lab.process()
        lease = process.take_one()
        assert cancel(lab, job) == [REQUESTED]
        process.fail(lease)
        # A person wants it to run once more, after all.
        assert lab.client.retry_failed(QUEUE, [job.stored_id]) == 1
        again = process.take_one()
        assert process.beat().cancelled == ()
        assert not find(lab, job).cancel_requested
        process.release(again)
        assert process.take_one().stored_id == job.stored_id

    @holds("I10", "I22")
    def test_slot_of_a_job_that_ends_as_cancelled_is_free(self, lab: Lab) -> None:
        process = lab.process(limits={SLOW: 1})
        jobs = [deposit(SLOW) for _ in range(2)]
        lab.enqueue(*jobs)
        lease = process.take_one()
        assert cancel(lab, jobs[0]) == [REQUESTED]
        process.release(lease)
        assert process.take_one().stored_id == jobs[1].stored_id

    @holds("I11", "I22")
    def test_lost_job_whose_cancel_was_asked_for_is_gone(self, lab: Lab) -> None:
        jobs = [deposit(), once(), deposit(), deposit()]
        lab.enqueue(*jobs)
        dead, survivor = lab.process(), lab.process()
        assert len(dead.take(idle=2, extra=2)) == 4
        assert cancel(lab, *jobs[:3]) == [REQUESTED] * 3
        named = lab.live(HOUR / 60, survivor)
        assert dead.member() in named
        replies = lab.recoveries(dead, survivor)
        assert sum(reply.cancelled for reply in replies) == 3
        assert [lost for reply in replies for lost in reply.lost] == []
        assert [gone(lab, job) for job in jobs] == [True, True, True, False]
        counts = lab.counts()
        assert (counts.ready, counts.unfinished, counts.failed) == (1, 1, 0)

    @holds("I22")
    def test_cancel_reaches_no_other_namespace(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        [reply] = lab.broker(namespace="elsewhere").cancel_jobs(QUEUE, [job.stored_id])
        assert reply.verdict is UNKNOWN
        assert lab.counts().ready == 1

    @holds("I14", "I22")
    def test_cancelled_job_wakes_nobody(self, lab: Lab) -> None:
        process = lab.process()
        process.fetch()
        lab.enqueue(job := deposit())
        assert cancel(lab, job) == [CANCELLED]
        waiting = lab.background(lambda: process.fetch(block_seconds=60))
        assert not waiting.ends_within(lab.settle_seconds)
        lab.enqueue(other := deposit())
        assert ids(waiting.result().leases) == [other.stored_id]

    @holds("I22")
    def test_many_are_cancelled_in_one_call(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(1200)]
        lab.enqueue(*jobs)
        assert cancel(lab, *jobs[::2]) == [CANCELLED] * 600
        assert lab.counts().ready == 600
        process = lab.process()
        taken: list[str] = []
        while reply := process.take(idle=0, extra=250):
            taken += ids(reply)
        assert taken == ids(jobs[1::2])

    @holds("I22")
    def test_each_cancel_of_a_call_is_answered_for_itself_and_in_order(self, lab: Lab) -> None:
        process = lab.process()
        failed, running, ready = (deposit() for _ in range(3))
        lab.enqueue(failed, running, ready)
        process.fail(process.take_one())
        process.take_one()
        replies = lab.client.cancel_jobs(
            QUEUE, [running.stored_id, NOBODY, ready.stored_id, failed.stored_id]
        )
        told = [(reply.verdict, reply.record, reply.retries) for reply in replies]
        assert told == [
            (REQUESTED, b"", 0),
            (UNKNOWN, b"", 0),
            (CANCELLED, ready.record, 0),
            (FINISHED, b"", 0),
        ]
        assert lab.client.cancel_jobs(QUEUE, []) == []

    @holds("I18", "I19", "I22")
    def test_large_jobs_are_cancelled_in_one_call(self, lab: Lab) -> None:
        jobs = [deposit(payload=b"x" * (MAX_FETCH_BYTES // 3)) for _ in range(7)]
        lab.enqueue(*jobs)
        replies = lab.client.cancel_jobs(QUEUE, ids(jobs))
        assert [reply.record for reply in replies] == [job.record for job in jobs]
        assert lab.counts().unfinished == 0

    @holds("I19", "I22")
    def test_beat_names_a_bounded_number_and_the_others_later(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(CANCELS_TOLD + 50)]
        lab.enqueue(*jobs)
        process = lab.process()
        leases: dict[str, Lease] = {}
        while len(leases) < len(jobs):
            taken = process.take(idle=len(jobs) - len(leases))
            leases.update((lease.stored_id, lease) for lease in taken)
        assert set(cancel(lab, *jobs)) == {REQUESTED}
        while leases:
            told = process.beat().cancelled
            assert 0 < len(told) <= CANCELS_TOLD
            process.succeed(*(leases.pop(stored_id) for stored_id, _ in told))
        assert lab.counts().unfinished == 0
