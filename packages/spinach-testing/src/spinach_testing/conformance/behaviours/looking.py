"""What operators see of a queue: its members and their leases, its first job, and its flow."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import structs

from spinach.brokers.calls import FailedFilter, FailedPortion
from spinach.const import COARSE_SAMPLES, FINE_SAMPLES, MOST_TOLD
from spinach.outcome import OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, TASK, deposit, ids
from ..invariants import holds
from ..lab import BEAT, DEATH_NOTICE, TOLERANCE_MS, Lab
from ..process import MILLISECOND, outcome

if TYPE_CHECKING:
    from spinach.brokers.calls import MemberState

    from ..process import Process

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
REPORT = "letters.report"


def state_of(lab: Lab, process: Process) -> MemberState:
    """What the queue tells of a member."""
    [state] = [
        each for each in lab.client.members(QUEUE).members if each.member == process.member()
    ]
    return state


class LookingBehaviour(BrokerBehaviour):
    """`Broker.members`, `Broker.survey` and `Broker.periodic_tasks`."""

    @holds("I24")
    def test_members_tell_what_they_said_and_when_they_lived(self, lab: Lab) -> None:
        first, second = lab.process(), lab.process()
        lab.advance(BEAT)
        first.beat()
        now_ms = lab.now_ms()
        for process, age in ((first, timedelta(0)), (second, BEAT)):
            state = state_of(lab, process)
            assert state.info == process.info()
            assert state.alive
            assert abs(state.seen_ms - (now_ms - age // MILLISECOND)) <= TOLERANCE_MS // 4
        assert len(lab.client.members(QUEUE).members) == 2
        first.leave()
        assert [each.member for each in lab.client.members(QUEUE).members] == [second.member()]

    @holds("I11", "I24")
    def test_dead_member_is_told_until_it_is_recovered(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        lab.enqueue(deposit())
        doomed.take_one()
        named = lab.live(DEATH_NOTICE, survivor)
        assert named
        state = state_of(lab, doomed)
        assert (state.alive, state.lease_count) == (False, 1)
        lab.recover(doomed, survivor)
        assert [each.member for each in lab.client.members(QUEUE).members] == [survivor.member()]

    @holds("I24")
    def test_leases_are_told_with_task_attempt_and_kind(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(deposit())
        process.retry(process.take_one())
        lab.enqueue(deposit("letters.other"))
        taken = process.take(idle=1, extra=5)
        assert len(taken) == 2
        state = state_of(lab, process)
        assert state.lease_count == 2
        assert ids(state.leases) == ids(taken)  # type: ignore[arg-type] # they have ids, too
        assert [(each.task, each.retries, each.direct) for each in state.leases] == [
            (TASK, 1, True),
            ("letters.other", 0, False),
        ]
        process.succeed(*taken)
        assert state_of(lab, process).leases == ()

    @holds("I19", "I24")
    def test_bounded_number_of_leases_is_told_those_of_threads_first(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(*(deposit() for _ in range(MOST_TOLD + 20)))
        direct = process.take(idle=0, extra=MOST_TOLD)
        direct = process.take(idle=5)
        state = state_of(lab, process)
        assert state.lease_count == MOST_TOLD + 5
        assert len(state.leases) == MOST_TOLD
        assert ids(state.leases[:5]) == ids(direct)  # type: ignore[arg-type] # they have ids, too

    @holds("I13", "I24")
    def test_lease_of_a_record_that_cannot_be_read_is_of_no_task(self, lab: Lab) -> None:
        newer = structs.replace(deposit(), record=f"9|3|-|{QUEUE}|{TASK}\n[[],{{}},0]".encode())
        lab.enqueue(newer)
        process = lab.process()
        process.take_one()
        [lease] = state_of(lab, process).leases
        assert (lease.stored_id, lease.task) == (newer.stored_id, None)

    @holds("I24")
    def test_leases_tell_when_they_were_given(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(deposit(), deposit())
        given: dict[str, tuple[int, int]] = {}
        for extra in (0, 1):
            before = lab.now_ms()
            [taken] = process.take(idle=1 - extra, extra=extra)
            given[taken.stored_id] = before, lab.now_ms()
            lab.live(MINUTE, process)
        # Neither beats nor a reconciliation give a lease anew.
        process.reconcile()
        leases = state_of(lab, process).leases
        assert len(leases) == 2
        for lease in leases:
            before, after = given[lease.stored_id]
            assert lease.leased_ms is not None
            assert before <= lease.leased_ms <= after

    @holds("I24")
    def test_first_ready_job_is_the_first_in_line(self, lab: Lab) -> None:
        assert lab.client.survey(QUEUE).first_ready is None
        first, second = deposit(payload=b"[[1],{},7]"), deposit()
        lab.enqueue(first, second)
        assert lab.client.survey(QUEUE).first_ready == first.record
        process = lab.process()
        process.take_one()
        assert lab.client.survey(QUEUE).first_ready == second.record
        process.take_one()
        assert lab.client.survey(QUEUE).first_ready is None

    @holds("I1", "I24")
    def test_flow_counts_each_job_once_as_it_comes_and_once_as_it_ends(self, lab: Lab) -> None:
        process = lab.process()
        before = lab.client.survey(QUEUE)

        def flow() -> tuple[int, int]:
            now = lab.client.survey(QUEUE)
            return now.came - before.came, now.ended - before.ended

        lab.enqueue(deposit(), deposit(), deposit(due_ms=lab.in_ms(HOUR)))
        assert flow() == (3, 0)
        done, again = process.take(idle=2)
        assert flow() == (3, 0)
        process.succeed(done)
        process.retry(again)
        assert flow() == (3, 1)
        process.fail(process.take_one())
        assert flow() == (3, 2)
        lab.client.retry_failed(QUEUE, [again.stored_id])
        # It comes once more, and is not done any more.
        assert flow() == (4, 2)
        process.release(process.take_one())
        process.park(process.take_one())
        assert flow() == (4, 2)

    @holds("I1", "I24")
    def test_purged_and_discarded_jobs_do_not_count_as_ended(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(deposit(), deposit(), deposit(due_ms=lab.in_ms(HOUR)))
        process.fail(process.take_one())
        before = lab.client.survey(QUEUE).ended
        lab.client.purge(QUEUE, "queued", 10)
        lab.client.purge(QUEUE, "waiting", 10)
        lab.client.purge(QUEUE, "failed", 10)
        assert lab.client.survey(QUEUE).ended == before

    @holds("I1", "I22", "I24")
    def test_what_expired_or_was_cancelled_counts_as_ended(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(*(jobs := [deposit() for _ in range(4)]))
        before = lab.client.survey(QUEUE)
        expired, ended, back = process.take(idle=3)
        process.report(outcome(OutcomeKind.EXPIRED, expired), outcome(OutcomeKind.CANCELLED, ended))
        lab.client.cancel_jobs(QUEUE, [back.stored_id, jobs[3].stored_id])
        process.release(back)
        now = lab.client.survey(QUEUE)
        assert (now.came - before.came, now.ended - before.ended) == (0, 4)

    @holds("I1", "I24")
    def test_failed_jobs_that_run_again_in_bulk_come_once_more(self, lab: Lab) -> None:
        process = lab.process()
        lab.enqueue(deposit(), deposit())
        process.fail(*process.take(idle=2))
        before = lab.client.survey(QUEUE)
        until = lab.client.failed_jobs(QUEUE)[0].cursor
        portion = FailedPortion(matching=FailedFilter(), until=until)
        assert lab.client.retry_matching(QUEUE, portion).count == 2
        now = lab.client.survey(QUEUE)
        assert (now.came - before.came, now.ended - before.ended) == (2, 0)

    @holds("I24", "I19")
    def test_samples_of_the_last_minute_and_hour_are_kept(self, lab: Lab) -> None:
        process = lab.process()
        for _ in range(14):
            lab.enqueue(deposit())
            lab.live(HOUR / 6, process)
        survey = lab.client.survey(QUEUE)
        assert len(survey.samples) <= FINE_SAMPLES + COARSE_SAMPLES
        ages = [survey.now_ms - each.at_ms for each in survey.samples]
        for span in (MINUTE, HOUR):
            old_enough = [age for age in ages if age >= span // MILLISECOND]
            assert min(old_enough) <= span // MILLISECOND * 5 // 4 + TOLERANCE_MS // 2
        [hour] = {
            each.came
            for each in survey.samples
            if survey.now_ms - each.at_ms == min(a for a in ages if a >= HOUR // MILLISECOND)
        }
        assert survey.came - hour in (6, 7)

    @holds("I15", "I24")
    def test_periodic_tasks_tell_period_and_next_instant(self, lab: Lab) -> None:
        assert lab.client.periodic_tasks(QUEUE) == []
        process = lab.process(periodic={REPORT: HOUR})
        [state] = lab.client.periodic_tasks(QUEUE)
        assert (state.task, state.paused) == (REPORT, False)
        assert state.interval_ms == HOUR // MILLISECOND
        assert abs(state.due_ms - lab.in_ms(HOUR)) <= TOLERANCE_MS
        lab.live(HOUR, process)
        [due] = process.tick(periodic=[REPORT]).due
        assert due.due_ms == state.due_ms
        process.broker.fire(QUEUE, REPORT, due.due_ms, deposit(REPORT))
        [moved] = lab.client.periodic_tasks(QUEUE)
        assert moved.due_ms == state.due_ms + HOUR // MILLISECOND

    @holds("I21", "I24")
    def test_what_is_asked_of_a_queue_that_is_not_there_is_nothing(self, lab: Lab) -> None:
        client = lab.client
        survey = client.survey("nothing")
        assert (survey.paused, survey.first_ready, survey.came, survey.samples) == (
            False,
            None,
            0,
            (),
        )
        assert client.members("nothing").members == ()
        assert client.limits("nothing") == []
        assert client.periodic_tasks("nothing") == []
        assert client.queues() == []
