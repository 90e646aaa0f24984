"""Some of the failed jobs: found by id, listed by a filter, taken out portion by portion."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import structs

from spinach.brokers.calls import Cursor, FailedFilter, FailedPortion, Verdict
from spinach.const import FAILED_CHUNK, MAX_FETCH_BYTES
from spinach.outcome import Failure, OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, TASK, deposit, ids, once
from ..invariants import holds
from ..lab import Lab
from ..process import outcome
from .wakeup import LONG_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from spinach.brokers.calls import Deposit, PortionReply
    from spinach.outcome import Lease

    from ..process import Process

BILL = "letters.bill"
NO_ADDRESS = Failure(error="app.MailError", message="no such address")
NAMESAKE = Failure(error="app.MailError2", message="app.MailError")
EVERY = FailedFilter()

#: Behind everything.
NEWEST = Cursor(2**52, 0, "1")


def fail_all(lab: Lab, process: Process, jobs: list[Deposit], failure: Failure) -> None:
    """Let jobs fail, in their order."""
    lab.enqueue(*jobs)
    leases: list[Lease] = []
    while len(leases) < len(jobs):
        taken = process.take(idle=len(jobs) - len(leases))
        assert taken, f"of {len(jobs)} ready jobs {len(leases)} were handed out"
        leases += taken
    process.fail(*leases, failure=failure)


def portions(
    take: Callable[[str, FailedPortion], PortionReply],
    matching: FailedFilter = EVERY,
    until: Cursor = NEWEST,
) -> list[int]:
    """Take all portions; the number of jobs in each."""
    counts = []
    portion = FailedPortion(matching=matching, until=until)
    while True:
        reply = take(QUEUE, portion)
        counts.append(reply.count)
        if reply.after is None:
            return counts
        assert portion.after is None or reply.after > portion.after, "a portion went back"
        portion = structs.replace(portion, after=reply.after)


class MatchingBehaviour(BrokerBehaviour):
    """`find_failed`, the filter of `failed_jobs`, `retry_matching` and `discard_matching`."""

    # -- by id -------------------------------------------------------------

    @holds("I1")
    def test_failed_job_is_found_by_its_id(self, lab: Lab) -> None:
        here, there, ready = deposit(), once(queue="invoices"), deposit()
        lab.enqueue(here, there)
        process = lab.process(QUEUE, "invoices")
        process.fail(process.take_one(), failure=NO_ADDRESS)
        process.fail(process.take_one(queue="invoices"))
        lab.enqueue(ready)
        queues = [QUEUE, "invoices", "nowhere"]
        [found] = lab.client.find_failed(queues, [here.stored_id, ready.stored_id])
        assert found == lab.client.failed_jobs(QUEUE)[0]
        assert (found.record, found.failure) == (here.record, NO_ADDRESS)
        assert ids(lab.client.find_failed(queues, [there.stored_id])) == [there.stored_id]
        assert lab.client.find_failed([QUEUE], [there.stored_id]) == []
        assert lab.client.find_failed([], [here.stored_id]) == []
        assert lab.client.find_failed(queues, []) == []
        assert ids(lab.client.find_failed(queues, [here.stored_id] * 2)) == [here.stored_id]
        lab.client.retry_failed(QUEUE, [here.stored_id])
        assert lab.client.find_failed(queues, [here.stored_id]) == []

    # -- lists -------------------------------------------------------------

    @holds("I1")
    def test_failed_jobs_are_listed_by_task_error_and_instant(self, lab: Lab) -> None:
        process = lab.process()
        first, bill = deposit(), deposit(BILL)
        fail_all(lab, process, [first, bill], NO_ADDRESS)
        lab.advance(timedelta(minutes=1))
        last, lost = deposit(), deposit()
        fail_all(lab, process, [last], NAMESAKE)
        fail_all(lab, process, [lost], NO_ADDRESS)
        since = lab.client.failed_jobs(QUEUE)[1].failed_at_ms

        def found(**matching: str | int) -> list[str]:
            return ids(lab.client.failed_jobs(QUEUE, matching=FailedFilter(**matching)))  # type: ignore[arg-type] # a filter's own

        assert found() == ids([lost, last, bill, first])
        assert found(task=TASK) == ids([lost, last, first])
        assert found(task=BILL) == ids([bill])
        assert found(error="app.MailError") == ids([lost, bill, first])
        assert found(error="app.MailError2") == ids([last])
        assert found(error="app.Mail") == found(task="letters") == []
        assert found(since_ms=since) == ids([lost, last])
        assert found(since_ms=since + 600_000) == []
        assert found(task=TASK, error="app.MailError") == ids([lost, first])
        assert found(task=TASK, error="app.MailError", since_ms=since) == ids([lost])
        assert found(task=BILL, since_ms=since) == []

    @holds("I1")
    def test_error_is_told_apart_whatever_is_in_its_name(self, lab: Lab) -> None:
        process = lab.process()
        names = ['a."b', 'a."b",', "a.ä\ud800", "a.%s", "a.[^x]"]
        jobs = [deposit() for _ in names]
        for name, job in zip(names, jobs, strict=True):
            fail_all(lab, process, [job], Failure(error=name, message=""))
        for name, job in zip(names, jobs, strict=True):
            matching = FailedFilter(error=name)
            assert ids(lab.client.failed_jobs(QUEUE, matching=matching)) == [job.stored_id]

    @holds("I1", "I19")
    def test_page_with_a_filter_is_full_while_more_match(self, lab: Lab) -> None:
        process = lab.process()
        old = [deposit(BILL) for _ in range(4)]
        fail_all(lab, process, old, NO_ADDRESS)
        fail_all(lab, process, [deposit() for _ in range(FAILED_CHUNK)], NO_ADDRESS)
        lab.advance(timedelta(minutes=1))
        [new] = [deposit(BILL)]
        fail_all(lab, process, [new], NO_ADDRESS)
        fail_all(lab, process, [deposit() for _ in range(FAILED_CHUNK)], NAMESAKE)
        newest = ids([new, *reversed(old)])
        bills = FailedFilter(task=BILL, error="app.MailError")
        page = lab.client.failed_jobs(QUEUE, limit=2, matching=bills)
        assert ids(page) == newest[:2]
        rest = lab.client.failed_jobs(QUEUE, limit=9, after=page[-1].cursor, matching=bills)
        assert ids(rest) == newest[2:]
        assert ids(lab.client.failed_jobs(QUEUE, offset=1, limit=3, matching=bills)) == newest[1:4]
        assert lab.client.failed_jobs(QUEUE, offset=5, matching=bills) == []
        assert lab.client.failed_jobs(QUEUE, limit=0, matching=bills) == []

    @holds("I1", "I18")
    def test_record_that_cannot_be_read_is_of_no_task(self, lab: Lab) -> None:
        newer = structs.replace(deposit(), record=f"9|3|-|{QUEUE}|{TASK}\n[[],{{}},0]".encode())
        lab.enqueue(newer)
        process = lab.process()
        failed = outcome(OutcomeKind.FAILED, process.take_one(), failure=NO_ADDRESS, task="")
        assert process.report(failed) == (Verdict.APPLIED,)
        assert lab.client.failed_jobs(QUEUE, matching=FailedFilter(task=TASK)) == []
        assert portions(lab.client.discard_matching, FailedFilter(task=TASK)) == [0]
        found = lab.client.failed_jobs(QUEUE, matching=FailedFilter(error="app.MailError"))
        assert ids(found) == [newer.stored_id]

    # -- portions ----------------------------------------------------------

    @holds("I1", "I7", "I9")
    def test_jobs_that_match_run_again_the_oldest_first(self, lab: Lab) -> None:
        process = lab.process()
        jobs = [deposit(max_retries=1), deposit(BILL), once(), deposit()]
        lab.enqueue(jobs[0])
        process.retry(process.take_one())
        lab.promote()
        process.fail(process.take_one(), failure=NO_ADDRESS)
        fail_all(lab, process, jobs[1:3], NO_ADDRESS)
        fail_all(lab, process, jobs[3:], NAMESAKE)
        matching = FailedFilter(task=TASK, error="app.MailError")
        assert portions(lab.client.retry_matching, matching) == [2]
        assert ids(lab.client.failed_jobs(QUEUE)) == ids([jobs[3], jobs[1]])
        leases = process.take(idle=9)
        assert ids(leases) == ids([jobs[0], jobs[2]])
        assert [(lease.retries, lease.losses) for lease in leases] == [(0, 0), (0, 0)]
        assert portions(lab.client.retry_matching, matching) == [0]

    @holds("I1")
    def test_jobs_that_match_are_forgotten(self, lab: Lab) -> None:
        process = lab.process()
        jobs = [deposit(), deposit(BILL), deposit()]
        fail_all(lab, process, jobs, NO_ADDRESS)
        assert portions(lab.client.discard_matching, FailedFilter(task=TASK)) == [2]
        assert ids(lab.client.failed_jobs(QUEUE)) == [jobs[1].stored_id]
        assert (lab.counts().failed, lab.counts().ready) == (1, 0)
        assert portions(lab.client.discard_matching) == [1]
        assert portions(lab.client.discard_matching) == [0]
        assert lab.client.retry_matching(
            "nowhere", FailedPortion(matching=EVERY, until=NEWEST)
        ) == lab.client.discard_matching("nowhere", FailedPortion(matching=EVERY, until=NEWEST))

    @holds("I1", "I19")
    def test_portions_are_bounded_and_take_each_job_once(self, lab: Lab) -> None:
        process = lab.process()
        jobs = [deposit(BILL if n % 3 else TASK) for n in range(2 * FAILED_CHUNK + 9)]
        fail_all(lab, process, jobs[:FAILED_CHUNK], NO_ADDRESS)
        fail_all(lab, process, jobs[FAILED_CHUNK:], NO_ADDRESS)
        bills = [job for n, job in enumerate(jobs) if n % 3]
        counts = portions(lab.client.retry_matching, FailedFilter(task=BILL))
        assert len(counts) == 3
        assert sum(counts) == lab.counts().ready == len(bills)
        taken: list[str] = []
        while len(taken) < len(bills):
            leases = process.take(idle=len(bills))
            assert leases, f"of {len(bills)} jobs {len(taken)} were handed out"
            taken += ids(leases)
        assert taken == ids(bills)
        fail_all(lab, process, [deposit() for _ in range(FAILED_CHUNK)], NO_ADDRESS)
        rest = portions(lab.client.discard_matching)
        assert max(rest) <= FAILED_CHUNK
        assert sum(rest) == len(jobs) - len(bills) + FAILED_CHUNK
        assert lab.counts().failed == 0

    @holds("I1", "I19")
    def test_portions_are_bounded_in_bytes(self, lab: Lab) -> None:
        process = lab.process()
        large = [deposit(payload=b"x" * (MAX_FETCH_BYTES * 2 // 3)) for _ in range(2)]
        huge = deposit(payload=b"x" * (MAX_FETCH_BYTES + 1))
        for job in (large[0], huge, large[1]):
            fail_all(lab, process, [job], NO_ADDRESS)
        fail_all(lab, process, [deposit(), deposit()], NO_ADDRESS)
        assert portions(lab.client.retry_matching) == [1, 1, 3]

    @holds("I1", "I4")
    def test_job_that_fails_again_is_not_taken_twice(self, lab: Lab) -> None:
        process = lab.process()
        jobs = [deposit() for _ in range(3)]
        fail_all(lab, process, jobs, NO_ADDRESS)
        until = lab.client.failed_jobs(QUEUE)[0].cursor
        portion = FailedPortion(matching=EVERY, until=until)
        assert lab.client.retry_matching(QUEUE, portion).count == 3
        lab.advance(timedelta(seconds=1))
        process.fail(*process.take(idle=2), failure=NO_ADDRESS)
        # A call that is made once more, as after an answer that was lost.
        assert lab.client.retry_matching(QUEUE, portion).count == 0
        assert lab.client.discard_matching(QUEUE, portion).count == 0
        assert (lab.counts().failed, lab.counts().ready) == (2, 1)

    @holds("I1")
    def test_portion_begins_behind_a_place_and_ends_at_one(self, lab: Lab) -> None:
        process = lab.process()
        jobs = [deposit() for _ in range(6)]
        fail_all(lab, process, jobs, NO_ADDRESS)
        oldest = lab.client.failed_jobs(QUEUE)[::-1]
        # Both places are there no longer.
        lab.client.discard_failed(QUEUE, ids([oldest[1], oldest[4]]))
        portion = FailedPortion(matching=EVERY, until=oldest[4].cursor, after=oldest[1].cursor)
        assert lab.client.retry_matching(QUEUE, portion).count == 2
        assert ids(process.take(idle=9)) == ids(jobs[2:4])

    @holds("I1")
    def test_portion_leaves_what_failed_before_the_instant(self, lab: Lab) -> None:
        process = lab.process()
        old, new = deposit(), deposit()
        fail_all(lab, process, [old], NO_ADDRESS)
        lab.advance(timedelta(minutes=1))
        since = FailedFilter(since_ms=lab.now_ms())
        fail_all(lab, process, [new], NO_ADDRESS)
        assert portions(lab.client.retry_matching, since) == [1]
        assert ids(lab.client.failed_jobs(QUEUE)) == [old.stored_id]

    @holds("I14")
    def test_portion_that_runs_again_wakes_a_process(self, lab: Lab) -> None:
        job = deposit()
        worker, waiting = lab.process(), lab.process()
        fail_all(lab, worker, [job], NO_ADDRESS)
        call = lab.background(lambda: waiting.fetch(idle=1, block_seconds=LONG_SECONDS))
        assert not call.ends_within(lab.settle_seconds)
        assert portions(lab.client.retry_matching) == [1]
        assert ids(call.result().leases) == [job.stored_id]

    @holds("I21")
    def test_ids_and_portions_stay_in_their_namespace(self, lab: Lab) -> None:
        process, elsewhere = lab.process(), lab.broker(namespace="elsewhere")
        job = deposit()
        fail_all(lab, process, [job], NO_ADDRESS)
        assert elsewhere.find_failed([QUEUE], [job.stored_id]) == []
        assert portions(elsewhere.retry_matching) == [0]
        assert portions(elsewhere.discard_matching) == [0]
        assert lab.counts().failed == 1
