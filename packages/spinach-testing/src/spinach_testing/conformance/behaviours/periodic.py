"""Periodic: one job a tick, on the grid, however many members fire it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from spinach.brokers.calls import Verdict

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit
from ..invariants import holds
from ..lab import TOLERANCE_MS, Lab
from ..process import MILLISECOND, Process

if TYPE_CHECKING:
    from spinach.brokers.calls import FireReply, PeriodicDue

HOUR = timedelta(hours=1)
HOUR_MS = HOUR // MILLISECOND
REPORT = "letters.report"
PURGE = "letters.purge"


def fire(process: Process, due: PeriodicDue) -> FireReply:
    """Enqueue the job of one tick."""
    return process.broker.fire(QUEUE, due.task, due.due_ms, deposit(due.task))


def near(value: float | None, expected_ms: int) -> bool:
    """Whether a duration is what it was, less the real time that has passed."""
    return value is not None and expected_ms - TOLERANCE_MS < value <= expected_ms


class PeriodicBehaviour(BrokerBehaviour):
    """Periodic tasks in `join`, `tick` and `fire`."""

    @holds("I15")
    def test_first_tick_is_one_period_after_the_first_join(self, lab: Lab) -> None:
        process = lab.stranger()
        assert near(process.join(periodic={REPORT: HOUR}).next_due_in_ms, HOUR_MS)
        assert process.tick(periodic=[REPORT]).due == ()
        lab.advance(HOUR / 2)
        reply = process.tick(periodic=[REPORT])
        assert reply.due == ()
        assert near(reply.next_due_in_ms, HOUR_MS // 2)
        lab.advance(HOUR / 2)
        assert [due.task for due in process.tick(periodic=[REPORT]).due] == [REPORT]

    @holds("I15")
    def test_join_without_periodic_tasks_has_nothing_due(self, lab: Lab) -> None:
        assert lab.stranger().join().next_due_in_ms is None

    @holds("I15")
    def test_join_tells_the_earliest_of_several_tasks(self, lab: Lab) -> None:
        reply = lab.stranger().join(periodic={PURGE: 5 * HOUR, REPORT: HOUR})
        assert near(reply.next_due_in_ms, HOUR_MS)

    @holds("I15")
    def test_fired_tick_becomes_one_job(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        lab.advance(HOUR)
        [due] = process.tick(periodic=[REPORT]).due
        job = deposit(REPORT)
        reply = process.broker.fire(QUEUE, REPORT, due.due_ms, job)
        assert reply.verdict is Verdict.APPLIED
        assert near(reply.next_due_in_ms, HOUR_MS)
        lease = process.take_one()
        assert (lease.stored_id, lease.record) == (job.stored_id, job.record)
        assert process.take(idle=5) == []

    @holds("I15")
    def test_tick_is_fired_once_however_many_try(self, lab: Lab) -> None:
        processes = [lab.process(periodic={REPORT: HOUR}) for _ in range(3)]
        lab.advance(HOUR)
        seen = [process.tick(periodic=[REPORT]).due for process in processes]
        assert len({due for [due] in seen}) == 1
        verdicts = [
            fire(process, due).verdict for process, [due] in zip(processes, seen, strict=True)
        ]
        assert verdicts == [Verdict.APPLIED, Verdict.REFUSED, Verdict.REFUSED]
        assert lab.counts().ready == 1

    @holds("I15")
    def test_fired_task_is_due_again_one_period_later(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        instants = []
        for _ in range(3):
            lab.advance(HOUR)
            [due] = process.tick(periodic=[REPORT]).due
            instants.append(due.due_ms)
            fire(process, due)
            assert process.tick(periodic=[REPORT]).due == ()
        assert instants[1] - instants[0] == instants[2] - instants[1] == HOUR_MS
        assert lab.counts().ready == 3

    @holds("I15")
    def test_downtime_costs_one_job_and_keeps_the_grid(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        lab.advance(10.5 * HOUR)
        [due] = process.tick(periodic=[REPORT]).due
        reply = fire(process, due)
        assert reply.verdict is Verdict.APPLIED
        assert near(reply.next_due_in_ms, HOUR_MS // 2)
        after = process.tick(periodic=[REPORT])
        assert after.due == ()
        assert near(after.next_due_in_ms, HOUR_MS // 2)
        lab.advance(HOUR / 2)
        [next_due] = process.tick(periodic=[REPORT]).due
        assert next_due.due_ms - due.due_ms == 10 * HOUR_MS
        assert lab.counts().ready == 1

    @holds("I15")
    def test_tick_that_is_not_fired_stays_due(self, lab: Lab) -> None:
        looker, firer = (lab.process(periodic={REPORT: HOUR}) for _ in range(2))
        lab.advance(HOUR)
        first = looker.tick(periodic=[REPORT]).due
        assert firer.tick(periodic=[REPORT]).due == first
        assert lab.counts().ready == 0

    @holds("I15")
    def test_fire_for_another_instant_is_refused(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        lab.advance(HOUR)
        [due] = process.tick(periodic=[REPORT]).due
        for wrong in (due.due_ms - HOUR_MS, due.due_ms + 1, due.due_ms + HOUR_MS):
            reply = process.broker.fire(QUEUE, REPORT, wrong, deposit(REPORT))
            assert reply.verdict is Verdict.REFUSED
        assert lab.counts().ready == 0
        assert fire(process, due).verdict is Verdict.APPLIED

    @holds("I15")
    def test_fire_of_a_task_that_nobody_declared_is_refused(self, lab: Lab) -> None:
        process = lab.process()
        reply = process.broker.fire(QUEUE, REPORT, lab.now_ms(), deposit(REPORT))
        assert reply.verdict is Verdict.REFUSED
        assert reply.next_due_in_ms is None
        assert lab.counts().ready == 0

    @holds("I15")
    def test_process_is_told_only_of_tasks_that_it_declares(self, lab: Lab) -> None:
        old, new = lab.process(periodic={PURGE: HOUR}), lab.process(periodic={REPORT: HOUR})
        lab.advance(HOUR)
        assert [due.task for due in old.tick(periodic=[PURGE]).due] == [PURGE]
        assert [due.task for due in new.tick(periodic=[REPORT]).due] == [REPORT]
        assert lab.client.tick(QUEUE, ()).due == ()

    @holds("I15")
    def test_due_task_of_others_is_left_out_of_what_comes_next(self, lab: Lab) -> None:
        lab.process(periodic={PURGE: HOUR})
        other = lab.process(periodic={REPORT: 3 * HOUR})
        lab.advance(2 * HOUR)
        reply = other.tick(periodic=[REPORT])
        assert near(reply.next_due_in_ms, HOUR_MS)
        assert near(reply.next_periodic_in_ms, HOUR_MS)

    @holds("I15")
    def test_process_is_told_when_its_own_tasks_are_due_and_no_others(self, lab: Lab) -> None:
        lab.process(periodic={PURGE: HOUR})
        own, none = lab.process(periodic={REPORT: 3 * HOUR}), lab.process()
        lab.enqueue(deposit(due_ms=lab.in_ms(2 * HOUR)))
        reply = own.tick(periodic=[REPORT])
        assert near(reply.next_periodic_in_ms, 3 * HOUR_MS)
        # What comes first is a job that waits, which is no task.
        assert near(reply.next_due_in_ms, 2 * HOUR_MS)
        reply = none.tick()
        assert reply.next_periodic_in_ms is None
        assert near(reply.next_due_in_ms, 2 * HOUR_MS)
        # One that is due already is told as due. What comes next is its tick after that.
        lab.advance(HOUR)
        assert none.tick().next_periodic_in_ms is None
        assert near(own.tick(periodic=[REPORT]).next_periodic_in_ms, 2 * HOUR_MS)

    @holds("I15")
    def test_later_join_keeps_the_stored_instant(self, lab: Lab) -> None:
        lab.process(periodic={REPORT: HOUR})
        lab.advance(HOUR * 0.75)
        restarted = lab.stranger()
        assert near(restarted.join(periodic={REPORT: HOUR}).next_due_in_ms, HOUR_MS // 4)

    @holds("I15")
    def test_stored_instant_outlives_the_members_that_declared_it(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        lab.advance(HOUR * 0.75)
        assert process.leave().verdict is Verdict.APPLIED
        restarted = lab.stranger()
        assert near(restarted.join(periodic={REPORT: HOUR}).next_due_in_ms, HOUR_MS // 4)

    @holds("I15")
    def test_task_that_no_live_member_declares_is_not_what_comes_next(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        assert process.leave().verdict is Verdict.APPLIED
        assert lab.counts().next_due_in_ms is None
        lab.advance(2 * HOUR)
        assert lab.process().tick().due == ()
        assert lab.counts().next_due_in_ms is None

    @holds("I15")
    def test_shorter_period_brings_the_next_tick_forward(self, lab: Lab) -> None:
        lab.process(periodic={REPORT: 10 * HOUR})
        newer = lab.stranger()
        assert near(newer.join(periodic={REPORT: HOUR}).next_due_in_ms, HOUR_MS)
        lab.advance(HOUR)
        [due] = newer.tick(periodic=[REPORT]).due
        assert near(fire(newer, due).next_due_in_ms, HOUR_MS)

    @holds("I15")
    def test_longer_period_does_not_put_the_next_tick_off(self, lab: Lab) -> None:
        # So that two releases in turn cannot keep a task from ever firing.
        lab.process(periodic={REPORT: HOUR})
        newer = lab.stranger()
        assert near(newer.join(periodic={REPORT: 10 * HOUR}).next_due_in_ms, HOUR_MS)

    @holds("I15", "I21")
    def test_queues_have_periodic_tasks_of_their_own(self, lab: Lab) -> None:
        lab.process(QUEUE, periodic={REPORT: HOUR})
        lab.process("invoices", periodic={REPORT: 10 * HOUR})
        lab.advance(HOUR)
        assert len(lab.client.tick(QUEUE, [REPORT]).due) == 1
        assert lab.client.tick("invoices", [REPORT]).due == ()

    @holds("I14", "I15")
    def test_counts_tell_when_a_live_member_has_a_tick_next(self, lab: Lab) -> None:
        lab.process(periodic={REPORT: HOUR})
        assert near(lab.counts().next_due_in_ms, HOUR_MS)
        lab.enqueue(deposit(due_ms=lab.in_ms(HOUR / 2)))
        assert near(lab.counts().next_due_in_ms, HOUR_MS // 2)
