"""Failed store: what failed for good waits for a person, with the reason."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from spinach.const import MAX_ERROR_BYTES, MAX_FAILED, MAX_FAILED_AGE, REPORT_CHUNK
from spinach.outcome import Failure

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids, once
from ..invariants import holds
from ..lab import TOLERANCE_MS, Lab

if TYPE_CHECKING:
    from spinach.brokers.calls import Deposit
    from spinach.outcome import Lease


class FailedStoreBehaviour(BrokerBehaviour):
    """`failed_jobs`, `retry_failed` and `discard_failed`."""

    @holds("I1")
    def test_failed_store_tells_the_reason(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        process = lab.process()
        process.retry(process.take_one())
        lab.promote()
        reason = Failure(error="app.MailError", message="héllo\n\x00", traceback="line 1\nline 2\n")
        process.fail(process.take_one(), failure=reason)
        [failed] = lab.client.failed_jobs(QUEUE)
        assert (failed.stored_id, failed.record) == (job.stored_id, job.record)
        assert failed.failure == reason
        assert (failed.retries, failed.losses) == (1, 0)
        assert abs(failed.failed_at_ms - lab.now_ms()) < TOLERANCE_MS

    @holds("I1")
    def test_empty_failed_store_lists_nothing(self, lab: Lab) -> None:
        assert lab.client.failed_jobs(QUEUE) == []
        assert lab.client.retry_failed(QUEUE, [deposit().stored_id]) == 0
        assert lab.client.discard_failed(QUEUE, [deposit().stored_id]) == 0

    @holds("I1")
    def test_newest_failure_comes_first(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(5)]
        lab.enqueue(*jobs)
        process = lab.process()
        for lease in process.take(idle=5):
            process.fail(lease)
            lab.advance(timedelta(minutes=1))
        newest = ids(reversed(jobs))
        assert ids(lab.client.failed_jobs(QUEUE)) == newest
        assert ids(lab.client.failed_jobs(QUEUE, limit=2)) == newest[:2]
        assert ids(lab.client.failed_jobs(QUEUE, offset=1, limit=2)) == newest[1:3]
        assert ids(lab.client.failed_jobs(QUEUE, offset=4, limit=9)) == newest[4:]
        assert lab.client.failed_jobs(QUEUE, offset=5) == []
        assert lab.client.failed_jobs(QUEUE, limit=0) == []

    @holds("I3", "I7")
    def test_retried_job_has_all_its_attempts_before_it(self, lab: Lab) -> None:
        often, rarely = deposit(max_retries=2), once()
        lab.enqueue(often)
        process = lab.process()
        process.retry(process.take_one())
        lab.promote()
        lab.enqueue(rarely)
        process.fail(*process.take(idle=2))
        assert lab.client.retry_failed(QUEUE, ids([often, rarely])) == 2
        assert lab.client.failed_jobs(QUEUE) == []
        leases = process.take(idle=5)
        assert {lease.stored_id: lease.record for lease in leases} == {
            often.stored_id: often.record,
            rarely.stored_id: rarely.record,
        }
        assert [(lease.retries, lease.losses) for lease in leases] == [(0, 0), (0, 0)]

    @holds("I12")
    def test_retried_job_starts_without_losses(self, lab: Lab) -> None:
        lab.enqueue(once())
        doomed, survivor = lab.process(), lab.process()
        doomed.take_one()
        [lost] = lab.bury(doomed, survivor)
        assert lab.client.retry_failed(QUEUE, [lost.stored_id]) == 1
        lease = survivor.take_one()
        assert (lease.retries, lease.losses) == (0, 0)

    @holds("I1")
    def test_retry_and_discard_count_what_was_there(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(3)]
        lab.enqueue(*jobs)
        process = lab.process()
        process.fail(*process.take(idle=3))
        a, b, c = ids(jobs)
        unknown = deposit().stored_id
        assert lab.client.discard_failed(QUEUE, [a, unknown]) == 1
        assert lab.client.retry_failed(QUEUE, [a, b, unknown]) == 1
        assert lab.client.retry_failed(QUEUE, [b]) == 0
        assert lab.client.retry_failed(QUEUE, []) == 0
        assert ids(lab.client.failed_jobs(QUEUE)) == [c]
        assert (lab.counts().ready, lab.counts().failed) == (1, 1)

    @holds("I1")
    def test_discarded_job_is_gone(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        process = lab.process()
        process.fail(process.take_one())
        assert lab.client.discard_failed(QUEUE, [job.stored_id]) == 1
        assert lab.client.discard_failed(QUEUE, [job.stored_id]) == 0
        assert lab.counts().failed == 0
        assert process.take(idle=5) == []

    @holds("I1")
    def test_jobs_that_did_not_fail_are_left_alone(self, lab: Lab) -> None:
        leased, ready, future = deposit(), deposit(), deposit(due_ms=lab.in_ms(timedelta(days=1)))
        lab.enqueue(leased, ready, future)
        process = lab.process()
        lease = process.take_one()
        everything = ids([leased, ready, future])
        assert lab.client.retry_failed(QUEUE, everything) == 0
        assert lab.client.discard_failed(QUEUE, everything) == 0
        counts = lab.counts()
        assert (counts.leased, counts.ready, counts.future) == (1, 1, 1)
        process.succeed(lease)

    @holds("I1", "I21")
    def test_queues_have_failed_stores_of_their_own(self, lab: Lab) -> None:
        job = deposit(queue="invoices")
        lab.enqueue(job)
        process = lab.process("invoices")
        process.fail(process.take_one(queue="invoices"))
        assert lab.client.failed_jobs(QUEUE) == []
        assert lab.client.retry_failed(QUEUE, [job.stored_id]) == 0
        assert lab.client.discard_failed(QUEUE, [job.stored_id]) == 0
        assert ids(lab.client.failed_jobs("invoices")) == [job.stored_id]

    @holds("I19")
    def test_long_texts_of_an_error_are_cut(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        # Three bytes a character, so that a cut by bytes may fall into one.
        text = "漢" * MAX_ERROR_BYTES
        process.fail(process.take_one(), failure=Failure(error="E", message=text, traceback=text))
        [failed] = lab.client.failed_jobs(QUEUE)
        assert failed.failure.error == "E"
        assert 0 < len(failed.failure.message.encode()) <= MAX_ERROR_BYTES
        assert len(failed.failure.traceback.encode()) <= MAX_ERROR_BYTES

    @holds("I19")
    def test_failed_jobs_are_kept_for_a_limited_time(self, lab: Lab) -> None:
        old, new = deposit(), deposit()
        lab.enqueue(old)
        process = lab.process()
        process.fail(process.take_one())
        lab.advance(MAX_FAILED_AGE / 2)
        assert ids(lab.client.failed_jobs(QUEUE)) == [old.stored_id]
        lab.advance(MAX_FAILED_AGE)
        lab.enqueue(new)
        later = lab.process()
        later.fail(later.take_one())
        assert ids(lab.client.failed_jobs(QUEUE)) == [new.stored_id]
        assert lab.counts().failed == 1

    @holds("I19")
    def test_failed_jobs_are_kept_in_a_limited_number(self, lab: Lab) -> None:
        process = lab.process()
        chunk: list[Deposit] = []
        for _ in range(0, 2 * MAX_FAILED, REPORT_CHUNK):
            chunk = [deposit() for _ in range(REPORT_CHUNK)]
            lab.enqueue(*chunk)
            leases: list[Lease] = []
            while len(leases) < REPORT_CHUNK:
                taken = process.take(idle=REPORT_CHUNK - len(leases))
                assert taken, f"of {REPORT_CHUNK} ready jobs {len(leases)} were handed out"
                leases += taken
            process.fail(*leases)
        # The list before the counts, which may trim the store as well.
        assert lab.client.failed_jobs(QUEUE, offset=MAX_FAILED, limit=1) == []
        assert ids(lab.client.failed_jobs(QUEUE, limit=REPORT_CHUNK)) == ids(reversed(chunk))
        counts = lab.counts()
        assert counts.failed <= MAX_FAILED
        assert (counts.enqueued, counts.unfinished) == (2 * MAX_FAILED, 0)
