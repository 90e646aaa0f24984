"""Jobs: each can be found and listed, wherever it is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from spinach.brokers.calls import (
    BeatProgress,
    CancelVerdict,
    FoundJob,
    Place,
    Turn,
    Verdict,
)
from spinach.outcome import Failure, Lease, OutcomeKind
from spinach.progress import Progress
from spinach.record.ids import stored_id

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, TASK, deposit, ids, once
from ..invariants import holds
from ..lab import Lab
from ..process import FAILURE, Process, outcome

if TYPE_CHECKING:
    from spinach.brokers.calls import Deposit

SLOW = "letters.sort"
NEW = "letters.scan"
HOUR = timedelta(hours=1)
NOBODY = stored_id("00000000-0000-4000-8000-000000000000", 1)

CANCELLED = CancelVerdict.CANCELLED
REQUESTED = CancelVerdict.REQUESTED
FINISHED = CancelVerdict.FINISHED
UNKNOWN = CancelVerdict.UNKNOWN


def find(lab: Lab, job: Deposit | Lease, queue: str = QUEUE) -> FoundJob:
    """The job, which must be there."""
    found = lab.client.find_jobs([queue], [job.stored_id])
    assert len(found) == 1, f"{job.stored_id} was found {len(found)} times"
    return found[0]


def gone(lab: Lab, job: Deposit | Lease, queue: str = QUEUE) -> bool:
    """Whether the store has no such job."""
    return lab.client.find_jobs([queue], [job.stored_id]) == []


def cancel(lab: Lab, *jobs: Deposit | Lease, queue: str = QUEUE) -> list[CancelVerdict]:
    """What the cancel of the jobs came to."""
    replies = lab.client.cancel_jobs(queue, [job.stored_id for job in jobs])
    return [reply.verdict for reply in replies]


def listed(lab: Lab, *places: Place, task: str | None = None, limit: int = 3) -> list[str]:
    """The stored ids of all pages."""
    found: list[str] = []
    cursor = None
    for _ in range(200):
        page = lab.client.list_jobs(QUEUE, places=places, task=task, cursor=cursor, limit=limit)
        assert len(page.jobs) <= limit, f"{len(page.jobs)} jobs on a page of {limit}"
        found += [job.stored_id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            return found
    raise AssertionError("the pages have no end")


def tell(process: Process, lease: Lease, done: int, *, token: str | None = None) -> None:
    """Beat, and say how far a job has come."""
    told = BeatProgress(
        QUEUE,
        process.member(),
        lease.stored_id,
        token or lease.token,
        Progress(done=done, total=10, note="half a word, ü"),
    )
    [reply] = process.broker.beat([Turn(QUEUE, process.member(), 0)], [told])
    assert reply.verdict is Verdict.APPLIED


class FindingBehaviour(BrokerBehaviour):
    """`find_jobs` and `list_jobs`: the job is where they say."""

    @holds("I1", "I18")
    def test_ready_job_is_found_with_its_place_in_the_line(self, lab: Lab) -> None:
        jobs = [deposit(payload=b"\xff\x00"), once(), deposit()]
        lab.enqueue(*jobs)
        found = [find(lab, job) for job in jobs]
        assert [each.record for each in found] == [job.record for job in jobs]
        assert {(each.queue, each.place, each.ahead_exact) for each in found} == {
            (QUEUE, Place.READY, True)
        }
        assert [each.ahead for each in found] == [0, 1, 2]
        lab.process().take_one()
        assert [find(lab, job).ahead for job in jobs[1:]] == [0, 1]

    @holds("I22")
    def test_cancelled_jobs_stand_before_nobody(self, lab: Lab) -> None:
        process = lab.process(limits={SLOW: 1})
        ready, held = [deposit() for _ in range(4)], [deposit(SLOW) for _ in range(5)]
        lab.enqueue(*held)
        assert len(process.take(idle=5)) == 1
        lab.enqueue(*ready)
        assert cancel(lab, *ready[1:3], held[2]) == [CANCELLED] * 3
        assert [find(lab, job).ahead for job in (ready[0], ready[3])] == [0, 1]
        assert [find(lab, job).ahead for job in (held[1], held[3], held[4])] == [0, 1, 2]

    @holds("I1")
    def test_job_is_found_in_each_place_it_goes_through(self, lab: Lab) -> None:
        job = deposit(due_ms=lab.in_ms(HOUR))
        lab.enqueue(job)
        found = find(lab, job)
        assert (found.place, found.due_ms) == (Place.FUTURE, job.due_ms)
        lab.advance(HOUR + timedelta(seconds=1))
        lab.promote()
        assert find(lab, job).place is Place.READY
        process = lab.process()
        lease = process.take_one()
        found = find(lab, job)
        assert (found.place, found.member) == (Place.LEASED, process.member())
        process.retry(lease, delay=HOUR)
        found = find(lab, job)
        assert (found.place, found.retries) == (Place.FUTURE, 1)
        lab.live_until_due(process)
        process.park(process.take_one())
        found = find(lab, job)
        assert (found.place, found.lane, found.ahead) == (Place.PARKED, TASK, 0)
        process.fail(process.take_one(parks=[TASK]))
        found = find(lab, job)
        assert (found.place, found.failure) == (Place.FAILED, FAILURE)
        assert lab.client.retry_failed(QUEUE, [job.stored_id]) == 1
        process.succeed(process.take_one())
        assert gone(lab, job)

    @holds("I10")
    def test_held_job_tells_whose_slots_are_taken(self, lab: Lab) -> None:
        process = lab.process(limits={SLOW: 1})
        jobs = [deposit(SLOW) for _ in range(3)]
        lab.enqueue(*jobs)
        process.take(idle=3)
        held = [find(lab, job) for job in jobs[1:]]
        assert [(each.place, each.lane, each.ahead) for each in held] == [
            (Place.HELD, SLOW, 0),
            (Place.HELD, SLOW, 1),
        ]

    @holds("I5")
    def test_leased_job_tells_who_has_it_and_since_when(self, lab: Lab) -> None:
        direct, buffered = deposit(), deposit()
        lab.enqueue(direct, buffered)
        process = lab.process()
        before = lab.now_ms()
        process.take(idle=1, extra=1)
        found, other = find(lab, direct), find(lab, buffered)
        assert (found.member, found.info) == (process.member(), process.info())
        assert found.leased_ms is not None
        assert before <= found.leased_ms <= lab.now_ms()
        assert (found.direct, other.direct) == (True, False)
        lab.live(HOUR / 60, process)
        assert find(lab, direct).leased_ms == found.leased_ms

    @holds("I21")
    def test_job_is_found_only_where_it_is(self, lab: Lab) -> None:
        here, there = deposit(), deposit(queue="memos")
        lab.enqueue(here, there)
        queues = ["memos", "nothing", QUEUE]
        wanted = [here.stored_id, NOBODY, there.stored_id]
        assert ids(lab.client.find_jobs(queues, wanted)) == [there.stored_id, here.stored_id]
        assert gone(lab, here, "memos")
        assert lab.broker(namespace="elsewhere").find_jobs(queues, wanted) == []

    @holds("I5")
    def test_progress_is_kept_with_the_lease(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        process = lab.process()
        lease = process.take_one()
        assert find(lab, job).progress is None
        tell(process, lease, 3)
        tell(process, lease, 4)
        told = Progress(done=4, total=10, note="half a word, ü")
        assert find(lab, job).progress == told
        tell(process, lease, 9, token="another")
        assert find(lab, job).progress == told
        process.retry(lease)
        again = process.take_one()
        assert find(lab, job).progress is None
        tell(process, lease, 9)
        assert find(lab, job).progress is None
        process.succeed(again)

    @holds("I7")
    def test_job_that_waits_for_a_retry_tells_why(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        process = lab.process()
        why = Failure(error="builtins.OSError", message="no line, \udc80 ü")
        for message in ("first", why.message):
            lease = process.take_one()
            again = outcome(OutcomeKind.RETRY, lease)
            failure = Failure(error=why.error, message=message)
            told = msgspec.structs.replace(again, failure=failure)
            assert process.report(told) == (Verdict.APPLIED,)
        found = find(lab, job)
        assert (found.failure, found.retries) == (why, 2)
        lease = process.take_one()
        assert (lease.retries, lease.losses) == (2, 0)
        assert find(lab, job).failure == why
        process.release(lease)
        process.fail(process.take_one())
        assert find(lab, job).failure == FAILURE
        assert lab.client.retry_failed(QUEUE, [job.stored_id]) == 1
        assert find(lab, job).failure is None

    @holds("I11")
    def test_progress_goes_when_the_worker_is_lost(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        dead, survivor = lab.process(), lab.process()
        tell(dead, dead.take_one(), 3)
        lab.bury(dead, survivor)
        lab.live_until_due(survivor)
        survivor.take_one()
        assert find(lab, job).progress is None

    @holds("I1")
    def test_pages_tell_each_job_once(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(20)]
        lab.enqueue(*jobs)
        for limit in (1, 3, 7, 20, 100):
            found = listed(lab, limit=limit)
            assert sorted(found) == sorted(ids(jobs)), f"with pages of {limit}"

    @holds("I1")
    def test_pages_of_many_jobs_tell_each_once(self, lab: Lab) -> None:
        jobs = [deposit(payload=b"x" * 100) for _ in range(1500)]
        rare = [deposit(NEW) for _ in range(3)]
        lab.enqueue(*jobs[:700], *rare, *jobs[700:])
        found = listed(lab, limit=97)
        assert len(found) == 1503
        assert set(found) == set(ids([*jobs, *rare]))
        assert sorted(listed(lab, task=NEW, limit=2)) == sorted(ids(rare))

    @holds("I1")
    def test_pages_tell_what_stays_whatever_moves_meanwhile(self, lab: Lab) -> None:
        stay = [deposit() for _ in range(12)]
        go = [deposit() for _ in range(12)]
        lab.enqueue(*(job for pair in zip(go, stay, strict=True) for job in pair))
        process = lab.process()
        seen: list[str] = []
        cursor = None
        for number in range(12):
            page = lab.client.list_jobs(QUEUE, cursor=cursor, limit=2)
            seen += ids(page.jobs)
            cursor = page.cursor
            if cursor is None:
                break
            assert cancel(lab, go[number]) == [CANCELLED]
            lab.enqueue(deposit())
            # It moves from place to place, and is still to be told once.
            process.take_one()
        while cursor is not None:
            page = lab.client.list_jobs(QUEUE, cursor=cursor, limit=2)
            seen += ids(page.jobs)
            cursor = page.cursor
        assert len(seen) == len(set(seen))
        assert set(ids(stay)) <= set(seen)

    @holds("I1")
    def test_pages_of_a_queue_that_grows_tell_each_job_once(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(9)]
        lab.enqueue(*jobs)
        page = lab.client.list_jobs(QUEUE, limit=3)
        seen = ids(page.jobs)
        for count in (300, 1500):
            assert page.cursor is not None
            lab.enqueue(*(deposit() for _ in range(count)))
            page = lab.client.list_jobs(QUEUE, cursor=page.cursor, limit=3)
            seen += ids(page.jobs)
        while page.cursor is not None:
            page = lab.client.list_jobs(QUEUE, cursor=page.cursor, limit=500)
            seen += ids(page.jobs)
        assert len(seen) == len(set(seen))
        assert set(ids(jobs)) <= set(seen)

    @holds("I1")
    def test_pages_of_a_place_tell_what_is_there(self, lab: Lab) -> None:
        process = lab.process(limits={SLOW: 1})
        later = [deposit(due_ms=lab.in_ms(HOUR * n)) for n in (3, 1, 2, 4)]
        slow = [deposit(SLOW) for _ in range(3)]
        parked, failed = deposit(NEW), [deposit(), deposit()]
        lab.enqueue(*later, *slow, parked, *failed)
        leases = {lease.stored_id: lease for lease in process.take(idle=4)}
        process.park(leases[parked.stored_id])
        process.fail(*(leases[job.stored_id] for job in failed))
        ready = deposit()
        lab.enqueue(ready)
        order = [later[1], later[2], later[0], later[3]]
        for limit in (1, 2, 50):
            assert listed(lab, Place.FUTURE, limit=limit) == ids(order)
            assert listed(lab, Place.FAILED, limit=limit) == ids(failed)
            assert listed(lab, Place.LEASED, limit=limit) == [slow[0].stored_id]
            assert sorted(listed(lab, Place.HELD, limit=limit)) == sorted(ids(slow[1:]))
            assert listed(lab, Place.PARKED, limit=limit) == [parked.stored_id]
            assert listed(lab, Place.READY, limit=limit) == [ready.stored_id]
            waiting = [*slow[1:], parked, ready]
            queued = listed(lab, Place.READY, Place.HELD, Place.PARKED, limit=limit)
            assert sorted(queued) == sorted(ids(waiting))
            everything = [*later, *slow, parked, *failed, ready]
            assert sorted(listed(lab, limit=limit)) == sorted(ids(everything))
            assert sorted(listed(lab, task=SLOW, limit=limit)) == sorted(ids(slow))

    @holds("I1")
    def test_leased_jobs_are_listed_as_they_were_leased(self, lab: Lab) -> None:
        jobs = [deposit() for _ in range(6)]
        lab.enqueue(*jobs)
        one, other = lab.process(), lab.process()
        for process in (one, other, one, other, one, other):
            process.take_one()
        for limit in (1, 2, 50):
            assert listed(lab, Place.LEASED, limit=limit) == ids(jobs)

    @holds("I1")
    def test_queue_without_jobs_has_an_empty_page(self, lab: Lab) -> None:
        page = lab.client.list_jobs("nothing")
        assert (page.jobs, page.cursor) == ((), None)
