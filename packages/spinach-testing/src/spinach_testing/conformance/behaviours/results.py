"""Results: how a job ended is kept for those who ask, by the step that ends the job."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from spinach.brokers.calls import Ending, FailedFilter, FailedPortion, JobEnd, Verdict
from spinach.const import MAX_FETCH_BYTES
from spinach.outcome import OutcomeKind
from spinach.record.options import RecordOptions

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, once
from ..invariants import holds
from ..process import FAILURE, outcome

if TYPE_CHECKING:
    from spinach.brokers.calls import Deposit
    from spinach.outcome import Lease

    from ..lab import Call, Lab
    from ..process import Process

#: How long ends are kept here.
KEPT = timedelta(hours=1)
KEEP_MS = KEPT // timedelta(milliseconds=1)

#: Of a job whose end is kept.
OPTIONS = RecordOptions(keep_ms=KEEP_MS)

PENDING, ABSENT = JobEnd(ending=Ending.PENDING), JobEnd(ending=Ending.ABSENT)
CANCELLED = JobEnd(ending=Ending.CANCELLED)

#: Real seconds that a wait may take which is to end before.
LONG_SECONDS = 60.0


def kept(*, max_retries: int = 3, queue: str = QUEUE) -> Deposit:
    """A job whose end is kept."""
    return deposit(max_retries=max_retries, queue=queue, options=OPTIONS)


def returned(value: bytes) -> JobEnd:
    """The end of a job whose function returned that."""
    return JobEnd(ending=Ending.SUCCEEDED, result=value)


def end(process: Process, lease: Lease, value: bytes = b"1") -> None:
    """A job returns a value."""
    told = outcome(OutcomeKind.SUCCEEDED, lease, keep_ms=KEEP_MS, result=value)
    assert process.report(told) == (Verdict.APPLIED,)


def end_of(lab: Lab, job: Deposit) -> JobEnd:
    """How a job ended, as a client is told."""
    [found] = lab.client.job_ends(job.queue, [job.stored_id])
    return found


def awaited(lab: Lab, job: Deposit) -> Call[JobEnd]:
    """A call that waits for the end of a job, and has begun to."""
    broker = lab.broker()
    call = lab.background(lambda: broker.await_end(job.queue, job.stored_id, LONG_SECONDS))
    assert not call.ends_within(lab.settle_seconds), "a job is said to have ended that has not"
    return call


class ResultsBehaviour(BrokerBehaviour):
    """`job_ends` and `await_end`."""

    @holds("I23")
    def test_result_comes_back_byte_for_byte(self, lab: Lab) -> None:
        values = [b"1", b"null", b'{"a":[1,2.5,"h\xc3\xa9llo"]}', b'"' + b"x" * 100_000 + b'"']
        jobs = [kept() for _ in values]
        lab.enqueue(*jobs)
        process = lab.process()
        for lease, value in zip(process.take(idle=4), values, strict=True):
            end(process, lease, value)
        found = lab.client.job_ends(QUEUE, [job.stored_id for job in jobs])
        assert found == [returned(value) for value in values]
        # Asking takes nothing away.
        assert [end_of(lab, job) for job in jobs] == found
        assert lab.counts().unfinished == 0

    @holds("I23")
    def test_job_that_has_not_ended_is_pending_wherever_it_is(self, lab: Lab) -> None:
        ready, running, waiting, parked, later = (kept() for _ in range(5))
        lab.enqueue(running, waiting, parked)
        process = lab.process()
        leases = process.take(idle=3)
        process.retry(leases[1], delay=timedelta(hours=1))
        process.park(leases[2])
        future = deposit(options=OPTIONS, due_ms=lab.in_ms(timedelta(hours=1)))
        lab.enqueue(ready, future)
        jobs = [ready, running, waiting, parked, future]
        assert [end_of(lab, job) for job in jobs] == [PENDING] * 5
        process.release(leases[0])
        assert end_of(lab, running) == PENDING
        # One that was never stored is not known.
        assert end_of(lab, later) == ABSENT

    @holds("I23")
    def test_each_way_to_end_is_told(self, lab: Lab) -> None:
        ways = {
            OutcomeKind.SUCCEEDED: returned(b"[2]"),
            OutcomeKind.FAILED: JobEnd(ending=Ending.FAILED, failure=FAILURE),
            OutcomeKind.EXPIRED: JobEnd(ending=Ending.EXPIRED),
            OutcomeKind.CANCELLED: JobEnd(ending=Ending.CANCELLED),
        }
        jobs = [kept() for _ in ways]
        lab.enqueue(*jobs)
        process = lab.process()
        leases = process.take(idle=4)
        verdicts = process.report(
            *(
                outcome(
                    kind,
                    lease,
                    keep_ms=KEEP_MS,
                    result=b"[2]" if kind is OutcomeKind.SUCCEEDED else None,
                )
                for kind, lease in zip(ways, leases, strict=True)
            )
        )
        assert verdicts == (Verdict.APPLIED,) * 4
        assert [end_of(lab, job) for job in jobs] == list(ways.values())
        assert (lab.counts().unfinished, lab.counts().failed) == (0, 1)

    @holds("I23")
    def test_end_of_which_nobody_asked_to_keep_anything_is_absent(self, lab: Lab) -> None:
        jobs = [deposit(), once(), deposit()]
        lab.enqueue(*jobs)
        process = lab.process()
        leases = process.take(idle=3)
        process.succeed(*leases[:2])
        process.fail(leases[2])
        assert [end_of(lab, job) for job in jobs] == [ABSENT] * 3

    @holds("I5", "I23")
    def test_refused_outcome_leaves_no_result(self, lab: Lab) -> None:
        job = kept()
        lab.enqueue(job)
        process = lab.process()
        old = process.take_one()
        process.release(old)
        told = outcome(OutcomeKind.SUCCEEDED, old, keep_ms=KEEP_MS, result=b'"old"')
        assert process.report(told) == (Verdict.REFUSED,)
        assert end_of(lab, job) == PENDING
        lease = process.take_one()
        end(process, lease, b'"new"')
        # A repeat, as after an answer that was lost, and a zombie that ends otherwise.
        again = outcome(OutcomeKind.SUCCEEDED, lease, keep_ms=KEEP_MS, result=b'"new"')
        failed = outcome(OutcomeKind.FAILED, lease, keep_ms=KEEP_MS)
        assert process.report(told, again, failed) == (Verdict.REFUSED,) * 3
        assert end_of(lab, job) == returned(b'"new"')
        assert lab.counts().failed == 0

    @holds("I23")
    def test_outcomes_of_one_call_keep_each_its_own_end(self, lab: Lab) -> None:
        jobs = [kept() if i % 3 else deposit() for i in range(30)]
        lab.enqueue(*jobs)
        process, stranger = lab.process(), lab.process()
        leases = process.take(idle=30)
        told = []
        for i, lease in enumerate(leases):
            if i % 3 == 0:
                told.append(outcome(OutcomeKind.SUCCEEDED, lease))
            elif i % 3 == 1:
                value = b"%d" % i
                told.append(
                    outcome(OutcomeKind.SUCCEEDED, lease, keep_ms=KEEP_MS + i, result=value)
                )
            else:
                told.append(outcome(OutcomeKind.RETRY, lease))
        # One in their midst does not count.
        waits = [awaited(lab, jobs[i]) for i in (1, 28)]
        assert stranger.report(told[0]) == (Verdict.APPLIED,)
        verdicts = process.report(*told)
        assert verdicts == (Verdict.REFUSED,) + (Verdict.APPLIED,) * 29
        ends = lab.client.job_ends(QUEUE, [job.stored_id for job in jobs])
        expected = {0: ABSENT, 2: PENDING}
        assert ends == [expected.get(i % 3, returned(b"%d" % i)) for i in range(30)]
        assert [wait.result() for wait in waits] == [returned(b"1"), returned(b"28")]

    @holds("I23")
    def test_result_is_kept_as_long_as_it_was_asked_to(self, lab: Lab) -> None:
        short, long = kept(), kept()
        lab.enqueue(short, long)
        process = lab.process()
        one, other = process.take(idle=2)
        told = [
            outcome(OutcomeKind.SUCCEEDED, lease, keep_ms=keep_ms, result=b"1")
            for lease, keep_ms in ((one, KEEP_MS), (other, 3 * KEEP_MS))
        ]
        assert process.report(*told) == (Verdict.APPLIED,) * 2
        lab.advance(KEPT / 2)
        assert [end_of(lab, job) for job in (short, long)] == [returned(b"1")] * 2
        lab.advance(KEPT)
        assert [end_of(lab, job) for job in (short, long)] == [ABSENT, returned(b"1")]
        lab.advance(2 * KEPT)
        assert [end_of(lab, job) for job in (short, long)] == [ABSENT, ABSENT]

    @holds("I23")
    def test_failed_job_whose_end_is_not_kept_any_more_is_absent(self, lab: Lab) -> None:
        job = kept()
        lab.enqueue(job)
        process = lab.process()
        told = outcome(OutcomeKind.FAILED, process.take_one(), keep_ms=KEEP_MS)
        assert process.report(told) == (Verdict.APPLIED,)
        lab.advance(2 * KEPT)
        assert end_of(lab, job) == ABSENT
        assert lab.counts().failed == 1

    @holds("I22", "I23")
    def test_job_that_is_cancelled_before_it_starts_has_an_end(self, lab: Lab) -> None:
        jobs = [kept(), kept()]
        waiting = deposit(due_ms=lab.in_ms(KEPT), options=OPTIONS)
        plain = deposit()
        lab.enqueue(*jobs, waiting, plain)
        process = lab.process()
        process.park(process.take_one())
        wait = awaited(lab, jobs[1])
        asked = [*jobs, waiting, plain]
        lab.client.cancel_jobs(QUEUE, [job.stored_id for job in asked])
        assert [end_of(lab, job) for job in asked] == [CANCELLED] * 3 + [ABSENT]
        assert wait.result() == CANCELLED

    @holds("I22", "I23")
    def test_leased_job_that_ends_since_its_cancel_was_asked_for_has_an_end(self, lab: Lab) -> None:
        kinds = (OutcomeKind.RETRY, OutcomeKind.RELEASE, OutcomeKind.PARK)
        jobs = [kept() for _ in range(6)]
        lab.enqueue(*jobs)
        process = lab.process()
        leases = process.take(idle=6)
        lab.client.cancel_jobs(QUEUE, [job.stored_id for job in jobs[:3]])
        told = [
            outcome(k, each, keep_ms=KEEP_MS) for k, each in zip(kinds * 2, leases, strict=True)
        ]
        assert process.report(*told) == (Verdict.APPLIED,) * 6
        assert [end_of(lab, job) for job in jobs] == [CANCELLED] * 3 + [PENDING] * 3

    @holds("I11", "I22", "I23")
    def test_lost_job_whose_cancel_was_asked_for_has_an_end(self, lab: Lab) -> None:
        jobs = [kept(max_retries=0), kept()]
        lab.enqueue(*jobs)
        doomed, survivor = lab.process(), lab.process()
        doomed.take(idle=2)
        lab.client.cancel_jobs(QUEUE, [job.stored_id for job in jobs])
        lab.bury(doomed, survivor)
        assert [end_of(lab, job) for job in jobs] == [CANCELLED] * 2

    @holds("I23")
    def test_job_that_is_retried_with_others_has_not_ended_any_more(self, lab: Lab) -> None:
        jobs = [kept(), kept()]
        lab.enqueue(*jobs)
        process = lab.process()
        told = [outcome(OutcomeKind.FAILED, each, keep_ms=KEEP_MS) for each in process.take(idle=2)]
        assert process.report(*told) == (Verdict.APPLIED,) * 2
        newest, oldest = lab.client.failed_jobs(QUEUE)
        portion = FailedPortion(matching=FailedFilter(), until=oldest.cursor)
        assert lab.client.retry_matching(QUEUE, portion).count == 1
        assert lab.client.discard_failed(QUEUE, [newest.stored_id]) == 1
        assert [end_of(lab, job).ending for job in jobs] == [Ending.PENDING, Ending.FAILED]

    @holds("I23")
    def test_retried_job_has_not_ended_any_more(self, lab: Lab) -> None:
        jobs = [kept(), kept()]
        lab.enqueue(*jobs)
        process = lab.process()
        told = [outcome(OutcomeKind.FAILED, each, keep_ms=KEEP_MS) for each in process.take(idle=2)]
        assert process.report(*told) == (Verdict.APPLIED,) * 2
        again, left = jobs
        assert lab.client.retry_failed(QUEUE, [again.stored_id]) == 1
        assert end_of(lab, again) == PENDING
        assert end_of(lab, left).ending is Ending.FAILED
        wait = awaited(lab, again)
        end(process, process.take_one(), b'"at last"')
        assert wait.result() == returned(b'"at last"')

    @holds("I23")
    def test_wait_for_a_retried_job_is_not_told_its_former_end(self, lab: Lab) -> None:
        job = kept()
        lab.enqueue(job)
        process = lab.process()
        lease = process.take_one()
        first = awaited(lab, job)
        assert process.report(outcome(OutcomeKind.FAILED, lease, keep_ms=KEEP_MS)) == (
            Verdict.APPLIED,
        )
        assert first.result().ending is Ending.FAILED
        assert lab.client.retry_failed(QUEUE, [job.stored_id]) == 1
        second = awaited(lab, job)
        end(process, process.take_one(), b'"better"')
        assert second.result() == returned(b'"better"')

    @holds("I12", "I23")
    def test_job_that_recovery_fails_has_an_end(self, lab: Lab) -> None:
        lost, again, plain = kept(max_retries=0), kept(), once()
        lab.enqueue(lost, again, plain)
        doomed, survivor = lab.process(), lab.process()
        doomed.take(idle=3)
        lab.bury(doomed, survivor)
        found = end_of(lab, lost)
        [entry] = [
            entry for entry in lab.client.failed_jobs(QUEUE) if entry.stored_id == lost.stored_id
        ]
        assert found == JobEnd(ending=Ending.FAILED, failure=entry.failure)
        assert end_of(lab, again) == PENDING
        assert end_of(lab, plain) == ABSENT
        lab.live(2 * KEPT, survivor)
        assert end_of(lab, lost) == ABSENT

    @holds("I23")
    def test_recovered_end_is_kept_with_all_options_there_are(self, lab: Lab) -> None:
        # Arguments that look like options do not count.
        payload = b'[[{"keep_ms":5}],{"keep_ms":7},0]'
        headers = {"trace": '"keep_ms":9}]'}
        tricky = [
            deposit(max_retries=0, payload=payload, options=options)
            for options in (
                RecordOptions(headers=headers, keep_ms=KEEP_MS, expires_ms=2**52),
                OPTIONS,
            )
        ]
        lab.enqueue(*tricky)
        doomed, survivor = lab.process(), lab.process()
        doomed.take(idle=2)
        lab.bury(doomed, survivor)
        lab.live(KEPT / 2, survivor)
        assert [end_of(lab, job).ending for job in tricky] == [Ending.FAILED] * 2

    @holds("I23")
    def test_wait_ends_with_the_job(self, lab: Lab) -> None:
        for kind in (
            OutcomeKind.SUCCEEDED,
            OutcomeKind.FAILED,
            OutcomeKind.EXPIRED,
            OutcomeKind.CANCELLED,
        ):
            job = kept()
            lab.enqueue(job)
            process = lab.process()
            lease = process.take_one()
            wait = awaited(lab, job)
            assert process.report(outcome(kind, lease, keep_ms=KEEP_MS)) == (Verdict.APPLIED,)
            assert wait.result() == end_of(lab, job), kind

    @holds("I23")
    def test_all_who_wait_for_a_job_are_told(self, lab: Lab) -> None:
        job = kept()
        lab.enqueue(job)
        process = lab.process()
        lease = process.take_one()
        waits = [awaited(lab, job) for _ in range(5)]
        end(process, lease, b'"for all"')
        assert [wait.result() for wait in waits] == [returned(b'"for all"')] * 5
        # One who comes later is told at once.
        assert lab.client.await_end(QUEUE, job.stored_id, LONG_SECONDS) == returned(b'"for all"')

    @holds("I23")
    def test_wait_for_what_ended_or_is_not_known_is_over_at_once(self, lab: Lab) -> None:
        done, unknown, forgotten = kept(), kept(), deposit()
        lab.enqueue(done, forgotten)
        process = lab.process()
        first, second = process.take(idle=2)
        end(process, first)
        process.succeed(second)
        wait = [
            lab.background(
                lambda job=job: lab.client.await_end(QUEUE, job.stored_id, LONG_SECONDS)  # type: ignore[misc]
            )
            for job in (done, unknown, forgotten)
        ]
        assert [each.result() for each in wait] == [returned(b"1"), ABSENT, ABSENT]

    @holds("I23")
    def test_wait_without_time_looks_once(self, lab: Lab) -> None:
        job = kept()
        lab.enqueue(job)
        call = lab.background(lambda: lab.client.await_end(QUEUE, job.stored_id, 0.0))
        assert call.result() == PENDING

    @holds("I23")
    def test_wait_for_one_job_is_not_ended_by_another(self, lab: Lab) -> None:
        job, other = kept(), kept()
        lab.enqueue(other, job)
        process = lab.process()
        first, second = process.take(idle=2)
        wait = awaited(lab, job)
        end(process, first, b'"other"')
        assert not wait.ends_within(lab.settle_seconds)
        process.retry(second)
        assert not wait.ends_within(lab.settle_seconds)
        end(process, process.take_one(), b'"mine"')
        assert wait.result() == returned(b'"mine"')

    @holds("I23", "I24")
    def test_wait_for_a_job_that_is_purged_is_over(self, lab: Lab) -> None:
        ready, future = kept(), deposit(options=OPTIONS, due_ms=lab.in_ms(KEPT))
        lab.enqueue(ready, future)
        waits = [awaited(lab, job) for job in (ready, future)]
        for status in ("queued", "waiting"):
            assert lab.client.purge(QUEUE, status, 10).removed == 1
        assert [wait.result() for wait in waits] == [ABSENT] * 2

    @holds("I23")
    def test_many_results_are_read_in_the_order_asked_for(self, lab: Lab) -> None:
        jobs = [kept() for _ in range(1200)]
        lab.enqueue(*jobs)
        process = lab.process()
        leases: list[Lease] = []
        while len(leases) < len(jobs):
            leases += process.take(idle=len(jobs) - len(leases))
        place = {job.stored_id: number for number, job in enumerate(jobs)}
        for at in range(0, len(leases), 600):
            told = [
                outcome(
                    OutcomeKind.SUCCEEDED,
                    lease,
                    keep_ms=KEEP_MS,
                    result=b"%d" % place[lease.stored_id],
                )
                for lease in leases[at : at + 600]
            ]
            assert set(process.report(*told)) == {Verdict.APPLIED}
        asked = [job.stored_id for job in reversed(jobs)]
        ends = lab.client.job_ends(QUEUE, asked)
        assert ends == [returned(b"%d" % number) for number in reversed(range(len(jobs)))]
        assert lab.client.job_ends(QUEUE, []) == []

    @holds("I19", "I23")
    def test_large_results_are_read_all_the_same(self, lab: Lab) -> None:
        value = b'"' + b"x" * (MAX_FETCH_BYTES // 3) + b'"'
        jobs = [kept() for _ in range(8)]
        lab.enqueue(*jobs)
        process = lab.process()
        told = [
            outcome(OutcomeKind.SUCCEEDED, lease, keep_ms=KEEP_MS, result=value)
            for lease in process.take(idle=8)
        ]
        assert process.report(*told) == (Verdict.APPLIED,) * 8
        ends = lab.client.job_ends(QUEUE, [job.stored_id for job in jobs])
        assert ends == [returned(value)] * 8

    @holds("I21", "I23")
    def test_results_stay_in_their_queue_and_namespace(self, lab: Lab) -> None:
        job = kept()
        lab.enqueue(job)
        process = lab.process()
        end(process, process.take_one())
        assert lab.client.job_ends("invoices", [job.stored_id]) == [ABSENT]
        stranger = lab.broker(namespace="elsewhere")
        assert stranger.job_ends(QUEUE, [job.stored_id]) == [ABSENT]
        assert end_of(lab, job) == returned(b"1")
