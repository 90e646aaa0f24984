"""Failed store: what failed for good waits for a person, with the reason."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import structs

from spinach.brokers.calls import Cursor
from spinach.const import (
    MAX_ERROR_BYTES,
    MAX_FAILED,
    MAX_FAILED_AGE,
    MAX_FAILED_BYTES,
    REPORT_CHUNK,
)
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
    def test_failed_job_that_is_named_twice_counts_once(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(2)]
        lab.enqueue(*jobs)
        process = lab.process()
        process.fail(*process.take(idle=2))
        a, b = ids(jobs)
        assert lab.client.retry_failed(QUEUE, [a, a]) == 1
        assert lab.client.discard_failed(QUEUE, [b, b]) == 1
        assert ids(process.take(idle=5)) == [a]

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
        number = MAX_FAILED + 2 * REPORT_CHUNK
        for _ in range(0, number, REPORT_CHUNK):
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
        assert (counts.enqueued, counts.unfinished) == (number, 0)

    @holds("I19")
    def test_failed_jobs_are_kept_in_limited_bytes(self, lab: Lab) -> None:
        # Large ones, since many would take long; all of one record, which is kept as it is.
        large = once()
        record = large.record + b"x" * (16 * 1024 * 1024)
        number = MAX_FAILED_BYTES // len(record) + 3
        process = lab.process()
        jobs: list[Deposit] = []
        for _ in range(number):
            jobs.append(structs.replace(once(), record=record))
            lab.enqueue(jobs[-1])
            process.fail(process.take_one())
        found = lab.client.failed_jobs(QUEUE, limit=number)
        assert ids(found) == ids(reversed(jobs))[: MAX_FAILED_BYTES // len(record)]
        assert lab.counts().failed == len(found)
        # What is not needed any more is no burden to the tests that follow on this server.
        assert lab.client.discard_failed(QUEUE, ids(found)) == len(found)

    # -- pages -------------------------------------------------------------

    @holds("I1")
    def test_page_follows_the_one_before_it_whatever_came_and_went(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(7)]
        lab.enqueue(*jobs)
        process = lab.process()
        leases = process.take(idle=7)
        process.fail(*leases[:3])
        lab.advance(timedelta(minutes=1))
        process.fail(*leases[3:6])
        newest = ids(jobs[5::-1])
        page = lab.client.failed_jobs(QUEUE, limit=2)
        assert ids(page) == newest[:2]
        assert lab.client.discard_failed(QUEUE, newest[1:2]) == 1
        assert lab.client.retry_failed(QUEUE, newest[:1]) == 1
        lab.advance(timedelta(minutes=1))
        process.fail(leases[6])
        page = lab.client.failed_jobs(QUEUE, limit=2, after=page[-1].cursor)
        assert ids(page) == newest[2:4]
        assert lab.client.discard_failed(QUEUE, newest[2:5]) == 3
        page = lab.client.failed_jobs(QUEUE, limit=2, after=page[-1].cursor)
        assert ids(page) == newest[5:]
        assert lab.client.failed_jobs(QUEUE, after=page[-1].cursor) == []

    @holds("I1")
    def test_offset_counts_from_the_place_of_a_cursor(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(5)]
        lab.enqueue(*jobs)
        process = lab.process()
        process.fail(*process.take(idle=5))
        newest = ids(jobs[::-1])
        [first] = lab.client.failed_jobs(QUEUE, limit=1)
        page = lab.client.failed_jobs(QUEUE, offset=1, limit=2, after=first.cursor)
        assert ids(page) == newest[2:4]
        assert lab.client.failed_jobs(QUEUE, offset=4, after=first.cursor) == []

    @holds("I1")
    def test_cursors_fall_in_a_list_and_compare_over_queues(self, lab: Lab) -> None:
        here, there = [deposit() for _ in range(4)], [deposit(queue="invoices") for _ in range(4)]
        lab.enqueue(*here, *there)
        process = lab.process(QUEUE, "invoices")
        leases, others = process.take(idle=4), process.take(idle=4, queue="invoices")
        for some in (leases[:2], others[:2], leases[2:], others[2:]):
            process.fail(*some)
            lab.advance(timedelta(seconds=1))
        found = [lab.client.failed_jobs(queue) for queue in (QUEUE, "invoices")]
        for each in found:
            cursors = [job.cursor for job in each]
            assert cursors == sorted(cursors, reverse=True)
            assert len(set(cursors)) == 4
        merged = sorted((job for each in found for job in each), key=lambda job: job.cursor)
        assert ids(merged) == ids([*here[:2], *there[:2], *here[2:], *there[2:]])
        # A place of another queue is one of this queue, too.
        page = lab.client.failed_jobs(QUEUE, after=found[1][-1].cursor)
        assert ids(page) == ids(here[1::-1])

    @holds("I1")
    def test_place_where_no_job_ever_stood_will_do(self, lab: Lab) -> None:
        old, new = deposit(), deposit()
        lab.enqueue(old, new)
        process = lab.process()
        first, second = process.take(idle=2)
        process.fail(first)
        lab.advance(timedelta(minutes=1))
        between = Cursor(lab.now_ms(), 0, "1")
        lab.advance(timedelta(minutes=1))
        process.fail(second)
        assert ids(lab.client.failed_jobs(QUEUE, after=between)) == [old.stored_id]
        assert lab.client.failed_jobs(QUEUE, after=Cursor(0, 0, "0")) == []
        assert len(lab.client.failed_jobs(QUEUE, after=Cursor(2**52, 0, "1"))) == 2

    # -- the queues of the namespace ---------------------------------------

    @holds("I1", "I21")
    def test_queues_are_those_that_took_a_job_or_a_member(self, lab: Lab) -> None:
        assert lab.client.queues() == []
        lab.client.failed_jobs("asked")
        lab.client.retry_failed("asked", ["1nothing"])
        lab.client.counts(["asked"])
        assert lab.client.queues() == []
        lab.enqueue(deposit(), deposit(queue="invoices"))
        lab.process("idle").leave("idle")
        elsewhere = lab.broker(namespace="elsewhere")
        elsewhere.enqueue([deposit(queue="theirs")])
        assert sorted(lab.client.queues()) == sorted([QUEUE, "invoices", "idle"])
        assert elsewhere.queues() == ["theirs"]

    @holds("I1")
    def test_queue_whose_jobs_are_gone_is_a_queue_still(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        process = lab.process()
        process.succeed(process.take_one())
        process.leave()
        assert lab.client.queues() == [QUEUE]
