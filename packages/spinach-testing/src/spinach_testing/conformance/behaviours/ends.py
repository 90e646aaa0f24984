"""Ends: jobs that were cancelled, lost, purged or retried leave the end that they should, or none.

Those who wait for such a job hear of it as of any other end, in some seconds at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinach.brokers.calls import (
    CancelVerdict,
    Ending,
    FailedFilter,
    FailedPortion,
    JobEnd,
    Verdict,
)
from spinach.outcome import OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, TASK, deposit
from ..invariants import holds
from ..process import FAILURE, outcome
from .results import (
    ABSENT,
    KEEP_MS,
    KEPT,
    OPTIONS,
    PENDING,
    awaited,
    end,
    end_of,
    kept,
    returned,
)

if TYPE_CHECKING:
    from spinach.brokers.calls import Cursor, Deposit
    from spinach.outcome import Lease

    from ..lab import Lab
    from ..process import Process

LIMITED = "letters.print"

CANCELLED = JobEnd(ending=Ending.CANCELLED)

#: Outcomes after which a job would run once more.
BACK = (OutcomeKind.RETRY, OutcomeKind.RELEASE, OutcomeKind.PARK)


def one_in_each_place(lab: Lab) -> dict[str, Deposit]:
    """Jobs whose ends are kept, one in each place where no worker has it."""
    process = lab.process(limits={LIMITED: 1})
    running, held = (deposit(LIMITED, options=OPTIONS) for _ in range(2))
    parked, retrying, ready = (kept() for _ in range(3))
    lab.enqueue(running, held, parked, retrying)
    leases = {lease.stored_id: lease for lease in process.take(idle=5)}
    process.park(leases[parked.stored_id])
    process.retry(leases[retrying.stored_id], delay=KEPT)
    waiting = deposit(options=OPTIONS, due_ms=lab.in_ms(KEPT))
    lab.enqueue(ready, waiting)
    jobs = {
        "ready": ready,
        "held": held,
        "parked": parked,
        "retrying": retrying,
        "waiting": waiting,
    }
    counts = lab.counts()
    assert (counts.ready, counts.held, counts.parked, counts.retrying, counts.future) == (1,) * 5
    return jobs


def cancel(lab: Lab, *jobs: Deposit) -> set[CancelVerdict]:
    """What the cancel of the jobs came to."""
    replies = lab.client.cancel_jobs(QUEUE, [job.stored_id for job in jobs])
    return {reply.verdict for reply in replies}


def asked_for(lab: Lab, process: Process, *jobs: Deposit) -> list[Lease]:
    """The leases of jobs that were fetched, and whose cancel was asked for."""
    lab.enqueue(*jobs)
    leases = process.take(idle=len(jobs))
    assert cancel(lab, *jobs) == {CancelVerdict.REQUESTED}
    return leases


def fail(process: Process, *leases: Lease) -> None:
    """The jobs failed, and the ends are kept."""
    told = [outcome(OutcomeKind.FAILED, lease, keep_ms=KEEP_MS) for lease in leases]
    assert process.report(*told) == (Verdict.APPLIED,) * len(told)


class EndsBehaviour(BrokerBehaviour):
    """What `job_ends` and `await_end` tell of jobs that did not run to their end."""

    # -- cancelled ---------------------------------------------------------

    @holds("I22", "I23")
    def test_cancelled_job_leaves_its_end_wherever_it_waited(self, lab: Lab) -> None:
        jobs = one_in_each_place(lab)
        plain = deposit()
        lab.enqueue(plain)
        assert cancel(lab, *jobs.values(), plain) == {CancelVerdict.CANCELLED}
        assert {place: end_of(lab, job) for place, job in jobs.items()} == dict.fromkeys(
            jobs, CANCELLED
        )
        assert end_of(lab, plain) == ABSENT
        # For as long as the job asked.
        lab.advance(KEPT / 2)
        assert [end_of(lab, job) for job in jobs.values()] == [CANCELLED] * 5
        lab.advance(KEPT)
        assert [end_of(lab, job) for job in jobs.values()] == [ABSENT] * 5

    @holds("I10", "I22", "I23")
    def test_job_that_is_cancelled_at_the_front_leaves_its_end(self, lab: Lab) -> None:
        process = lab.process(limits={LIMITED: 1})
        jobs = [deposit(LIMITED, options=OPTIONS) for _ in range(3)]
        lab.enqueue(*jobs)
        end(process, process.take(idle=5)[0])
        # The second one is back in line for the slot.
        assert cancel(lab, jobs[1]) == {CancelVerdict.CANCELLED}
        assert [end_of(lab, job) for job in jobs] == [returned(b"1"), CANCELLED, PENDING]

    @holds("I22", "I23")
    def test_cancel_of_a_job_wakes_all_who_wait_for_it(self, lab: Lab) -> None:
        jobs = one_in_each_place(lab)
        waits = [awaited(lab, job) for job in [*jobs.values(), jobs["ready"]]]
        cancel(lab, *jobs.values())
        assert [wait.result() for wait in waits] == [CANCELLED] * 6

    @holds("I22", "I23")
    def test_job_that_is_to_be_cancelled_has_not_ended(self, lab: Lab) -> None:
        process, job = lab.process(), kept()
        [lease] = asked_for(lab, process, job)
        assert end_of(lab, job) == PENDING
        wait = awaited(lab, job)
        assert process.report(outcome(OutcomeKind.CANCELLED, lease, keep_ms=KEEP_MS)) == (
            Verdict.APPLIED,
        )
        assert wait.result() == end_of(lab, job) == CANCELLED

    @holds("I22", "I23")
    def test_job_that_ended_before_it_heard_of_its_cancel_tells_that_end(self, lab: Lab) -> None:
        process = lab.process()
        done, failed = kept(), kept()
        first, second = asked_for(lab, process, done, failed)
        end(process, first, b'"done"')
        fail(process, second)
        assert end_of(lab, done) == returned(b'"done"')
        assert end_of(lab, failed) == JobEnd(ending=Ending.FAILED, failure=FAILURE)

    @holds("I22", "I23")
    def test_job_whose_cancel_was_asked_for_ends_where_it_would_go_back(self, lab: Lab) -> None:
        process = lab.process()
        jobs = [kept() for _ in BACK]
        leases = asked_for(lab, process, *jobs)
        waits = [awaited(lab, job) for job in jobs]
        told = [
            outcome(kind, lease, keep_ms=KEEP_MS) for kind, lease in zip(BACK, leases, strict=True)
        ]
        assert process.report(*told) == (Verdict.APPLIED,) * 3
        assert [wait.result() for wait in waits] == [CANCELLED] * 3
        assert [end_of(lab, job) for job in jobs] == [CANCELLED] * 3
        lab.advance(2 * KEPT)
        assert [end_of(lab, job) for job in jobs] == [ABSENT] * 3

    @holds("I22", "I23")
    def test_outcome_that_asks_for_nothing_leaves_no_end_of_a_cancel(self, lab: Lab) -> None:
        process = lab.process()
        # The outcome has the last word, not the record.
        jobs = [deposit(), kept(), kept()]
        leases = asked_for(lab, process, *jobs)
        told = [outcome(kind, lease) for kind, lease in zip(BACK, leases, strict=True)]
        assert process.report(*told) == (Verdict.APPLIED,) * 3
        assert [end_of(lab, job) for job in jobs] == [ABSENT] * 3

    @holds("I23")
    def test_job_that_goes_back_uncancelled_leaves_no_end(self, lab: Lab) -> None:
        process = lab.process()
        jobs = [kept() for _ in BACK]
        lab.enqueue(*jobs)
        leases = process.take(idle=3)
        told = [
            outcome(kind, lease, keep_ms=KEEP_MS) for kind, lease in zip(BACK, leases, strict=True)
        ]
        assert process.report(*told) == (Verdict.APPLIED,) * 3
        assert [end_of(lab, job) for job in jobs] == [PENDING] * 3

    # -- lost --------------------------------------------------------------

    @holds("I11", "I22", "I23")
    def test_lost_job_whose_cancel_was_asked_for_leaves_its_end(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        asked, last, plain = kept(), kept(max_retries=0), deposit()
        asked_for(lab, doomed, asked, last, plain)
        waits = [awaited(lab, job) for job in (asked, last, plain)]
        assert lab.bury(doomed, survivor) == []
        assert [wait.result() for wait in waits] == [CANCELLED, CANCELLED, ABSENT]
        assert [end_of(lab, job) for job in (asked, last, plain)] == [CANCELLED, CANCELLED, ABSENT]
        lab.live(2 * KEPT, survivor)
        assert end_of(lab, asked) == ABSENT

    @holds("I12", "I23")
    def test_wait_for_a_job_that_recovery_fails_is_over(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        job = kept(max_retries=0)
        lab.enqueue(job)
        doomed.take_one()
        wait = awaited(lab, job)
        lab.bury(doomed, survivor)
        assert wait.result() == end_of(lab, job)
        assert end_of(lab, job).ending is Ending.FAILED

    # -- purged, discarded and retried --------------------------------------

    @holds("I23", "I24")
    def test_purged_job_leaves_no_end(self, lab: Lab) -> None:
        jobs = one_in_each_place(lab)
        waits = [awaited(lab, job) for job in jobs.values()]
        assert lab.client.purge(QUEUE, "queued", 10).removed == 3
        assert lab.client.purge(QUEUE, "waiting", 10).removed == 2
        assert {place: end_of(lab, job) for place, job in jobs.items()} == dict.fromkeys(
            jobs, ABSENT
        )
        assert [wait.result() for wait in waits] == [ABSENT] * 5

    @holds("I23", "I24")
    def test_failed_job_that_is_forgotten_is_told_as_failed(self, lab: Lab) -> None:
        process = lab.process()
        purged, discarded, matched = jobs = [kept() for _ in range(3)]
        lab.enqueue(*jobs)
        fail(process, *process.take(idle=3))
        assert lab.client.discard_failed(QUEUE, [discarded.stored_id]) == 1
        [oldest] = [
            each for each in lab.client.failed_jobs(QUEUE) if each.stored_id == purged.stored_id
        ]
        every = FailedPortion(matching=FailedFilter(), after=oldest.cursor, until=_newest(lab))
        assert lab.client.discard_matching(QUEUE, every).count == 1
        assert lab.client.purge(QUEUE, "failed", 10).removed == 1
        assert lab.counts().failed == 0
        ended = JobEnd(ending=Ending.FAILED, failure=FAILURE)
        assert [end_of(lab, job) for job in (purged, discarded, matched)] == [ended] * 3

    @holds("I23")
    def test_jobs_that_are_retried_in_bulk_have_not_ended_any_more(self, lab: Lab) -> None:
        process = lab.process()
        again, other = kept(), deposit(LIMITED, options=OPTIONS)
        lab.enqueue(again, other)
        fail(process, *process.take(idle=2))
        portion = FailedPortion(matching=FailedFilter(task=TASK), until=_newest(lab))
        assert lab.client.retry_matching(QUEUE, portion).count == 1
        assert end_of(lab, again) == PENDING
        assert end_of(lab, other).ending is Ending.FAILED
        wait = awaited(lab, again)
        end(process, process.take_one(), b'"at last"')
        assert wait.result() == end_of(lab, again) == returned(b'"at last"')

    @holds("I22", "I23")
    def test_retried_job_that_is_cancelled_tells_the_cancel(self, lab: Lab) -> None:
        process, job = lab.process(), kept()
        lab.enqueue(job)
        fail(process, process.take_one())
        assert cancel(lab, job) == {CancelVerdict.FINISHED}
        assert end_of(lab, job).ending is Ending.FAILED
        assert lab.client.retry_failed(QUEUE, [job.stored_id]) == 1
        assert cancel(lab, job) == {CancelVerdict.CANCELLED}
        assert end_of(lab, job) == CANCELLED

    # -- waits -----------------------------------------------------------------

    @holds("I23")
    def test_wait_for_a_job_that_leaves_no_end_is_over(self, lab: Lab) -> None:
        process, doomed = lab.process(), lab.process()
        done, failed, lost, taken_back = jobs = [deposit(max_retries=0) for _ in range(4)]
        lab.enqueue(*jobs)
        first, second = process.take(idle=2)
        doomed.take_one()
        waits = [awaited(lab, job) for job in jobs]
        process.succeed(first)
        process.fail(second)
        assert cancel(lab, taken_back) == {CancelVerdict.CANCELLED}
        assert [waits[at].result() for at in (0, 1, 3)] == [ABSENT] * 3
        lab.bury(doomed, process)
        assert waits[2].result() == ABSENT
        assert [end_of(lab, job) for job in (done, failed, lost)] == [ABSENT] * 3

    @holds("I23")
    def test_wait_without_an_end_is_over_with_the_job(self, lab: Lab) -> None:
        process, job = lab.process(), kept()
        lab.enqueue(job)
        broker = lab.broker()
        call = lab.background(lambda: broker.await_end(QUEUE, job.stored_id, float("inf")))
        assert not call.ends_within(lab.settle_seconds)
        end(process, process.take_one())
        assert call.result() == returned(b"1")


def _newest(lab: Lab) -> Cursor:
    return lab.client.failed_jobs(QUEUE, limit=1)[0].cursor
