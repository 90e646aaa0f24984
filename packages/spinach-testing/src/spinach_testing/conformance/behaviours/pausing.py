"""A paused queue hands out nothing; all else goes on, and it goes on itself without a poll."""

from __future__ import annotations

from datetime import timedelta

from spinach.brokers.calls import Verdict

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids
from ..invariants import holds
from ..lab import DEATH_NOTICE, Lab
from ..process import MILLISECOND
from .wakeup import brought, wait

HOUR = timedelta(hours=1)
REPORT = "letters.report"


class PausingBehaviour(BrokerBehaviour):
    """`Broker.set_paused`."""

    @holds("I24")
    def test_paused_queue_hands_out_nothing_to_any_process(self, lab: Lab) -> None:
        early, job = lab.process(), deposit()
        lab.enqueue(job)
        assert lab.client.set_paused(QUEUE, paused=True)
        late = lab.process()
        for process in (early, late):
            reply = process.fetch(idle=3, extra=3)
            assert (reply.leases, reply.more, reply.paused) == ((), False, True)
        assert lab.counts().ready == 1
        assert lab.client.set_paused(QUEUE, paused=False)
        reply = late.fetch()
        assert (ids(reply.leases), reply.paused) == ([job.stored_id], False)

    @holds("I24")
    def test_pausing_twice_changes_nothing(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        assert not lab.client.set_paused(QUEUE, paused=False)
        assert lab.client.set_paused(QUEUE, paused=True)
        assert not lab.broker().set_paused(QUEUE, paused=True)
        assert lab.client.set_paused(QUEUE, paused=False)
        assert len(lab.process().take()) == 1

    @holds("I24")
    def test_survey_tells_of_the_pause_to_all(self, lab: Lab) -> None:
        lab.client.set_paused(QUEUE, paused=True)
        assert lab.broker().survey(QUEUE).paused
        lab.broker().set_paused(QUEUE, paused=False)
        assert not lab.client.survey(QUEUE).paused

    @holds("I24")
    def test_queue_that_is_paused_before_its_first_job_is_listed(self, lab: Lab) -> None:
        lab.client.set_paused(QUEUE, paused=True)
        assert lab.client.queues() == [QUEUE]
        lab.enqueue(deposit())
        assert lab.process().take() == []

    @holds("I24")
    def test_pause_leaves_other_queues_alone(self, lab: Lab) -> None:
        process = lab.process("mail", QUEUE)
        mail, letter = deposit(queue="mail"), deposit()
        lab.enqueue(mail, letter)
        lab.client.set_paused(QUEUE, paused=True)
        mails, letters = process.fetch_from(["mail", QUEUE], idle=5)
        assert (ids(mails.leases), letters.leases) == ([mail.stored_id], ())
        assert (mails.paused, letters.paused) == (False, True)

    @holds("I24", "I5")
    def test_leased_jobs_of_a_paused_queue_end_as_ever(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(*(deposit() for _ in range(4)))
        done, failed, again, back = process.take(idle=4)
        lab.client.set_paused(QUEUE, paused=True)
        process.succeed(done)
        process.fail(failed)
        process.retry(again, delay=HOUR)
        process.release(back)
        counts = lab.counts()
        assert (counts.leased, counts.failed, counts.retrying, counts.ready) == (0, 1, 1, 1)

    @holds("I24", "I11")
    def test_dead_members_of_a_paused_queue_are_recovered(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        lab.enqueue(deposit())
        doomed.take_one()
        lab.client.set_paused(QUEUE, paused=True)
        lab.bury(doomed, survivor)
        assert lab.counts().retrying == 1

    @holds("I24")
    def test_due_jobs_of_a_paused_queue_become_ready(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        lab.enqueue(deposit(due_ms=lab.in_ms(HOUR)))
        lab.client.set_paused(QUEUE, paused=True)
        assert process.fetch().next_due_in_ms is not None
        lab.advance(HOUR)
        [due] = process.tick(periodic=[REPORT]).due
        assert lab.counts().ready == 1
        reply = process.broker.fire(QUEUE, REPORT, due.due_ms, deposit(REPORT))
        assert reply.verdict is Verdict.APPLIED
        assert lab.counts().ready == 2
        assert process.take(idle=5) == []

    @holds("I24")
    def test_paused_queue_hands_out_nothing_of_its_parks(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(deposit("parked"))
        process.park(process.take_one())
        lab.client.set_paused(QUEUE, paused=True)
        reply = process.fetch(parks=["parked"])
        assert (reply.leases, reply.parks, reply.more) == ((), (), False)
        lab.client.set_paused(QUEUE, paused=False)
        assert len(process.take(parks=["parked"])) == 1

    @holds("I14", "I24")
    def test_new_job_of_a_paused_queue_wakes_nobody(self, lab: Lab) -> None:
        process = lab.process()
        lab.client.set_paused(QUEUE, paused=True)
        process.fetch()
        call = wait(lab, process)
        lab.enqueue(deposit())
        assert not call.ends_within(lab.settle_seconds)
        lab.client.set_paused(QUEUE, paused=False)
        assert len(brought(call)) == 1

    @holds("I14", "I24")
    def test_every_process_that_waits_gets_a_job_once_the_queue_goes_on(self, lab: Lab) -> None:
        lab.client.set_paused(QUEUE, paused=True)
        calls = [wait(lab, lab.process()) for _ in range(3)]
        jobs = [deposit() for _ in calls]
        lab.enqueue(*jobs)
        assert not any(call.ends_within(lab.settle_seconds / 3) for call in calls)
        lab.client.set_paused(QUEUE, paused=False)
        assert sorted(each for call in calls for each in brought(call)) == sorted(ids(jobs))

    @holds("I24")
    def test_pause_outlives_every_process(self, lab: Lab) -> None:
        process = lab.process()
        lab.client.set_paused(QUEUE, paused=True)
        assert process.leave().verdict is Verdict.APPLIED
        lab.advance(DEATH_NOTICE + 24 * HOUR)
        lab.enqueue(deposit())
        assert lab.process().fetch().paused

    @holds("I24")
    def test_jobs_of_a_paused_queue_stay_unfinished(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        lab.client.set_paused(QUEUE, paused=True)
        assert lab.counts().unfinished == 1

    @holds("I15", "I24")
    def test_paused_periodic_task_is_neither_due_nor_fired(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        lab.advance(HOUR)
        [due] = process.tick(periodic=[REPORT]).due
        assert lab.client.set_periodic_paused(QUEUE, REPORT, paused=True)
        reply = process.broker.fire(QUEUE, REPORT, due.due_ms, deposit(REPORT))
        assert reply.verdict is Verdict.REFUSED
        # Its members look again, so that they learn when it goes on.
        assert reply.next_due_in_ms is not None
        assert reply.next_due_in_ms <= HOUR // MILLISECOND
        process.beat()
        for _ in range(3):
            lab.live(HOUR, process)
            tick = process.tick(periodic=[REPORT])
            assert tick.due == ()
            assert tick.next_periodic_in_ms is not None
            assert 0 < tick.next_periodic_in_ms <= HOUR // MILLISECOND
        counts = lab.counts()
        assert (counts.members, counts.ready, counts.next_due_in_ms) == (1, 0, None)

    @holds("I15", "I24")
    def test_paused_periodic_task_goes_on_along_its_grid(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        [before] = lab.client.periodic_tasks(QUEUE)
        lab.client.set_periodic_paused(QUEUE, REPORT, paused=True)
        lab.live(3.5 * HOUR, process)
        assert lab.client.set_periodic_paused(QUEUE, REPORT, paused=False)
        [after] = lab.client.periodic_tasks(QUEUE)
        assert after.due_ms - before.due_ms == 3 * HOUR // MILLISECOND
        assert process.tick(periodic=[REPORT]).due == ()
        lab.advance(HOUR / 2)
        [due] = process.tick(periodic=[REPORT]).due
        assert due.due_ms == after.due_ms

    @holds("I15", "I24")
    def test_members_that_declare_a_paused_task_leave_it_paused(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        lab.client.set_periodic_paused(QUEUE, REPORT, paused=True)
        other = lab.process(periodic={REPORT: HOUR / 4})
        reply = process.declare(periodic={REPORT: HOUR / 2})
        assert reply.verdict is Verdict.APPLIED
        # It looks again all the same, and learns when the task goes on.
        assert reply.next_due_in_ms is not None
        assert reply.next_due_in_ms <= HOUR // MILLISECOND
        lab.live(2 * HOUR, process, other)
        for each in (process, other):
            assert each.tick(periodic=[REPORT]).due == ()
        [state] = lab.client.periodic_tasks(QUEUE)
        assert state.paused
        assert state.interval_ms == HOUR // 2 // MILLISECOND

    @holds("I15", "I24")
    def test_pausing_a_periodic_task_says_whether_it_changed_anything(self, lab: Lab) -> None:
        lab.process(periodic={REPORT: HOUR})
        client = lab.client
        assert client.set_periodic_paused(QUEUE, "letters.other", paused=True) is None
        assert client.set_periodic_paused(QUEUE, REPORT, paused=False) is False
        assert client.set_periodic_paused(QUEUE, REPORT, paused=True) is True
        assert client.set_periodic_paused(QUEUE, REPORT, paused=True) is False
        [state] = client.periodic_tasks(QUEUE)
        assert (state.task, state.paused) == (REPORT, True)

    @holds("I15", "I24")
    def test_pause_of_one_periodic_task_leaves_the_others_due(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR, "letters.count": HOUR})
        lab.client.set_periodic_paused(QUEUE, REPORT, paused=True)
        lab.advance(HOUR)
        due = process.tick(periodic=[REPORT, "letters.count"]).due
        assert [each.task for each in due] == ["letters.count"]
