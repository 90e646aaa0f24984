"""Parks: a job of a task that no worker here knows waits, unharmed, for one that does."""

from __future__ import annotations

import msgspec

from spinach.brokers.calls import Verdict
from spinach.outcome import OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids, once
from ..invariants import holds
from ..lab import Lab
from ..process import outcome

NEW = "letters.scan"


class ParksBehaviour(BrokerBehaviour):
    """The outcome PARK, and the parks of a fetch."""

    @holds("I13")
    def test_parked_job_is_put_aside(self, lab: Lab) -> None:
        lab.enqueue(deposit(NEW), deposit())
        old = lab.process()
        old.park(old.take_one())
        counts = lab.counts()
        assert (counts.parked, counts.ready, counts.leased, counts.failed) == (1, 1, 0, 0)
        assert len(old.take(idle=5, extra=5)) == 1

    @holds("I13")
    def test_fetch_names_the_parks_that_hold_jobs(self, lab: Lab) -> None:
        lab.enqueue(deposit(NEW), deposit("letters.fax"))
        old, new = lab.process(), lab.process()
        assert new.fetch(idle=0).parks == ()
        old.park(*old.take(idle=2))
        assert sorted(new.fetch().parks) == ["letters.fax", NEW]
        new.succeed(*new.take(idle=2, parks=[NEW, "letters.fax"]))
        assert new.fetch().parks == ()

    @holds("I7", "I13", "I18")
    def test_process_that_knows_the_task_gets_the_job_unharmed(self, lab: Lab) -> None:
        job = deposit(NEW, payload=b"\xff\x00 anything")
        lab.enqueue(job)
        old, new = lab.process(), lab.process()
        old.park(old.take_one())
        lease = new.take_one(parks=[NEW])
        assert (lease.stored_id, lease.record) == (job.stored_id, job.record)
        assert (lease.retries, lease.losses) == (0, 0)
        new.succeed(lease)
        assert lab.counts().parked == 0

    @holds("I7", "I13")
    def test_park_keeps_the_attempts_that_were_spent(self, lab: Lab) -> None:
        lab.enqueue(deposit(NEW))
        old, new = lab.process(), lab.process()
        new.retry(new.take_one())
        lab.promote()
        old.park(old.take_one())
        assert new.take_one(parks=[NEW]).retries == 1

    @holds("I13")
    def test_parks_come_before_ready_jobs(self, lab: Lab) -> None:
        parked, ready = deposit(NEW), deposit()
        lab.enqueue(parked)
        old, new = lab.process(), lab.process()
        old.park(old.take_one())
        lab.enqueue(ready)
        assert new.take_one(parks=[NEW]).stored_id == parked.stored_id
        assert new.take_one(parks=[NEW]).stored_id == ready.stored_id

    @holds("I13")
    def test_fetch_opens_only_the_parks_that_its_turn_names(self, lab: Lab) -> None:
        scan, fax = deposit(NEW), deposit("letters.fax")
        lab.enqueue(scan, fax)
        old, new = lab.process(), lab.process()
        old.park(*old.take(idle=2))
        assert ids(new.take(idle=5, extra=5, parks=[NEW, "letters.unheard"])) == [scan.stored_id]
        assert lab.counts().parked == 1

    @holds("I13", "I14")
    def test_jobs_left_in_a_named_park_are_more(self, lab: Lab) -> None:
        lab.enqueue(deposit(NEW), deposit(NEW))
        old, new = lab.process(), lab.process()
        old.park(*old.take(idle=2))
        assert not new.fetch(idle=1).more
        assert new.fetch(idle=1, parks=[NEW]).more
        assert not new.fetch(idle=1, parks=[NEW]).more

    @holds("I3", "I9", "I13")
    def test_at_most_once_job_leaves_its_park_for_an_idle_thread_only(self, lab: Lab) -> None:
        lab.enqueue(once(NEW))
        old, new = lab.process(), lab.process()
        old.park(old.take_one())
        assert new.take(idle=0, extra=5, parks=[NEW]) == []
        assert new.take_one(parks=[NEW]).direct

    @holds("I13")
    def test_new_jobs_of_a_parked_task_are_ready(self, lab: Lab) -> None:
        lab.enqueue(deposit(NEW))
        old = lab.process()
        old.park(old.take_one())
        lab.enqueue(deposit(NEW))
        assert lab.counts().ready == 1

    @holds("I1", "I13")
    def test_each_parked_job_is_taken_by_one_process(self, lab: Lab) -> None:
        jobs = [deposit(NEW) for _ in range(9)]
        lab.enqueue(*jobs)
        old, *new = [lab.process() for _ in range(4)]
        old.park(*old.take(idle=9))
        taken = [ids(process.take(idle=3, parks=[NEW])) for process in new]
        assert [len(each) for each in taken] == [3, 3, 3]
        assert sorted(sum(taken, [])) == sorted(ids(jobs))

    @holds("I13")
    def test_job_from_a_park_may_be_parked_again(self, lab: Lab) -> None:
        lab.enqueue(deposit(NEW))
        process = lab.process()
        process.park(process.take_one())
        process.park(process.take_one(parks=[NEW]))
        assert lab.counts().parked == 1
        process.release(process.take_one(parks=[NEW]))
        assert (lab.counts().parked, lab.counts().ready) == (0, 1)

    @holds("I13", "I18")
    def test_record_of_a_newer_version_is_parked(self, lab: Lab) -> None:
        job = msgspec.structs.replace(deposit(), record=b"2|a header of another form\n\x01\x02")
        lab.enqueue(job)
        old, new = lab.process(), lab.process()
        told = outcome(OutcomeKind.PARK, old.take_one(), task="")
        assert old.report(told) == (Verdict.APPLIED,)
        assert lab.counts().parked == 1
        # Whatever the broker calls that park: a fetch that names it gets the job.
        names = new.fetch().parks
        assert len(names) == 1
        [lease] = new.take(idle=1, parks=names)
        assert lease.record == job.record

    @holds("I13", "I21")
    def test_parks_belong_to_a_queue(self, lab: Lab) -> None:
        lab.enqueue(deposit(NEW, queue="invoices"))
        old, new = lab.process("invoices"), lab.process(QUEUE)
        old.park(old.take_one(queue="invoices"))
        reply = new.fetch(idle=5, parks=[NEW])
        assert (reply.leases, reply.parks) == ((), ())
