"""The failed store stays small."""

from __future__ import annotations

from datetime import timedelta

from spinach import FailedRetention
from spinach.const import MAX_FAILED_AGE
from spinach.outcome import Failure, Outcome, OutcomeKind
from spinach_testing.conformance import Lab, deposit, ids

QUEUE = "letters"


def test_failure_without_a_reason_is_kept_all_the_same(lab: Lab) -> None:
    lab.enqueue(deposit())
    process = lab.process()
    process.report(Outcome(OutcomeKind.FAILED, process.take_one(), "letters.send"))
    [entry] = lab.client.failed_jobs(QUEUE)
    assert entry.failure == Failure(error="", message="")


def test_oldest_are_dropped_when_there_are_too_many(lab: Lab) -> None:  # I19
    jobs = [deposit() for _ in range(5)]
    lab.enqueue(*jobs)
    process = lab.process(retention=FailedRetention(number=3))
    process.fail(*process.take(5))
    assert ids(lab.client.failed_jobs(QUEUE)) == ids(jobs[:1:-1])
    assert lab.counts().failed == 3
    # What was dropped is forgotten for good, so that it could come again.
    assert lab.enqueue(jobs[0], jobs[4]) == [True, True]
    assert lab.counts().ready == 1


def test_oldest_are_dropped_when_they_have_too_many_bytes(lab: Lab) -> None:  # I19
    small = [deposit(payload=b"x" * 100) for _ in range(5)]
    lab.enqueue(*small)
    reason = len('["app.Error", "why", ""]')
    size = len(small[0].record) + reason
    process = lab.process(retention=FailedRetention(size=3 * size))
    leases = process.take(5)
    process.fail(*leases, failure=Failure(error="app.Error", message="why"))
    assert ids(lab.client.failed_jobs(QUEUE)) == ids(small[:1:-1])
    # One byte more costs a job more.
    larger = deposit(payload=b"x" * 101)
    lab.enqueue(larger)
    process.fail(process.take_one(), failure=Failure(error="app.Error", message="why"))
    assert ids(lab.client.failed_jobs(QUEUE)) == [larger.stored_id, small[4].stored_id]
    assert lab.counts().failed == 2


def test_bytes_never_cost_the_newest(lab: Lab) -> None:  # I19
    jobs = [deposit(), deposit(payload=b"x" * 5000), deposit()]
    lab.enqueue(*jobs)
    process = lab.process(retention=FailedRetention(size=1000))
    for lease, left in zip(process.take(3), [jobs[:1], jobs[1:2], jobs[2:]], strict=True):
        process.fail(lease)
        assert ids(lab.client.failed_jobs(QUEUE)) == ids(left)


def test_jobs_that_leave_take_their_bytes_along(lab: Lab) -> None:  # I19
    for _ in range(9):
        job = deposit(payload=b"x" * 500)
        lab.enqueue(job)
        process = lab.process(retention=FailedRetention(size=1000))
        process.fail(process.take_one())
        assert ids(lab.client.failed_jobs(QUEUE)) == [job.stored_id]
        assert lab.client.discard_failed(QUEUE, [job.stored_id]) == 1


def test_old_ones_are_dropped(lab: Lab) -> None:
    old, new = deposit(), deposit()
    lab.enqueue(old, new)
    process = lab.process()
    first, second = process.take(2)
    process.fail(first)
    lab.advance(timedelta(milliseconds=1))
    process.fail(second)
    lab.advance(MAX_FAILED_AGE - timedelta(milliseconds=1))
    assert lab.counts().failed == 2
    lab.advance(timedelta(milliseconds=1))
    assert ids(lab.client.failed_jobs(QUEUE)) == [new.stored_id]
    assert lab.client.retry_failed(QUEUE, [old.stored_id]) == 0
    lab.advance(timedelta(milliseconds=1))
    assert lab.client.discard_failed(QUEUE, [new.stored_id]) == 0


def test_pages_go_from_the_newest_to_the_oldest(lab: Lab) -> None:
    jobs = [deposit() for _ in range(7)]
    lab.enqueue(*jobs)
    process = lab.process()
    process.fail(*process.take(7))
    newest_first = ids(jobs[::-1])
    assert ids(lab.client.failed_jobs(QUEUE, limit=3)) == newest_first[:3]
    assert ids(lab.client.failed_jobs(QUEUE, offset=3, limit=3)) == newest_first[3:6]
    assert ids(lab.client.failed_jobs(QUEUE, offset=6)) == newest_first[6:]
    assert lab.client.failed_jobs(QUEUE, offset=7) == []
