"""What the memory broker does where the contract leaves a choice, or where it is easy to
get wrong; the rest is the conformance suite's."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from spinach.brokers.calls import Deposit, Enrolment, Verdict
from spinach.const import HOUSEKEEPING_CHUNK, NAMING_MS, SET_ASIDE_CHUNK, TIMEKEEPER_MS
from spinach.outcome import OutcomeKind
from spinach_memory import MemoryBroker
from spinach_testing.conformance import Lab, Process, deposit, ids
from spinach_testing.conformance.lab import BEAT, DEATH_NOTICE
from spinach_testing.conformance.process import outcome

if TYPE_CHECKING:
    from spinach_memory import MemoryStore

QUEUE = "letters"
MS = timedelta(milliseconds=1)
LEASE = timedelta(seconds=30)


class Loaded:
    """A random source that always gives the same share of the range."""

    def __init__(self, share: float) -> None:
        self.share = share

    def uniform(self, a: float, b: float, /) -> float:
        return a + (b - a) * self.share


@pytest.fixture
def loaded(lab: Lab, store: MemoryStore, clock: Any) -> Any:
    """Makes a member whose recoveries delay jobs by a share of the longest delay."""

    def process(share: float) -> Process:
        broker = MemoryBroker(store, clock=clock, random_source=Loaded(share))
        broker.bind(lab.client.namespace, object())
        process = Process(broker)
        process.join()
        return process

    return process


class TestEnqueue:
    def test_stores_a_job_once_however_often_it_comes(self, lab: Lab) -> None:  # I2
        now, later = deposit(), deposit(due_ms=lab.in_ms(LEASE))
        assert lab.enqueue(now, later) == [True, False]
        assert lab.enqueue(now, later, now) == [True, False, True]
        counts = lab.counts()
        assert (counts.ready, counts.future, counts.enqueued) == (1, 1, 2)
        process = lab.process()
        process.fail(process.take_one())
        assert lab.enqueue(now) == [True]
        assert lab.counts().ready == 0

    def test_instants_between_milliseconds_are_never_early(self, lab: Lab) -> None:  # I8
        lab.advance(timedelta(microseconds=400))
        due_ms = lab.now_ms() + 1
        assert lab.enqueue(deposit(due_ms=due_ms)) == [False]
        lab.advance(timedelta(microseconds=599))
        lab.promote()
        assert lab.counts().ready == 0
        lab.advance(timedelta(microseconds=1))
        lab.promote()
        assert lab.counts().ready == 1

    def test_delay_of_a_retry_is_never_cut_short(self, lab: Lab) -> None:  # I8
        lab.enqueue(deposit())
        process = lab.process()
        lab.advance(timedelta(microseconds=400))
        process.retry(process.take_one(), delay=5 * MS)
        lab.advance(5 * MS - timedelta(microseconds=1))
        lab.promote()
        assert lab.counts().ready == 0
        lab.advance(MS)
        lab.promote()
        assert lab.counts().ready == 1


class TestMembership:
    def test_joining_again_changes_nothing_but_the_lease(self, lab: Lab) -> None:
        process = lab.process(limits={"slow": 1}, periodic={"report": LEASE})
        member = process.member()
        process.beat()
        lab.advance(BEAT)
        again = Enrolment(lease_ms=60_000, limits={"slow": 9}, periodic={})
        assert process.broker.join(QUEUE, member, again).verdict is Verdict.APPLIED
        lab.enqueue(deposit("slow"), deposit("slow"))
        assert len(process.take(idle=2)) == 1
        assert lab.counts().next_due_in_ms == (LEASE - BEAT) // MS
        other = lab.process()
        # 30 s after the second join: alive, by the new lease.
        lab.live(LEASE, other)
        assert lab.counts().members == 2

    def test_name_under_recovery_cannot_join(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        lab.enqueue(*(deposit() for _ in range(HOUSEKEEPING_CHUNK + 1)))
        doomed.take(HOUSEKEEPING_CHUNK + 1)
        assert doomed.member() in lab.live(DEATH_NOTICE, survivor)
        assert survivor.broker.recover(QUEUE, doomed.member()).more
        reply = doomed.broker.join(QUEUE, doomed.member(), Enrolment(lease_ms=30_000))
        assert reply.verdict is Verdict.FENCED
        assert doomed.beat().verdict is Verdict.FENCED

    def test_outcome_counts_until_its_very_lease_is_recovered(self, lab: Lab) -> None:  # I5
        doomed, survivor = lab.process(), lab.process()
        lab.enqueue(*(deposit() for _ in range(HOUSEKEEPING_CHUNK + 1)))
        leases = doomed.take(HOUSEKEEPING_CHUNK + 1)
        lab.live(DEATH_NOTICE, survivor)
        assert survivor.broker.recover(QUEUE, doomed.member()).more
        verdicts = doomed.report(*(outcome(OutcomeKind.SUCCEEDED, each) for each in leases))
        assert verdicts.count(Verdict.APPLIED) == 1

    def test_late_beat_renews_as_long_as_nobody_recovers(self, lab: Lab) -> None:
        late, other = lab.process(), lab.process()
        lab.live(DEATH_NOTICE, other)
        assert lab.counts().members == 1
        assert late.beat().verdict is Verdict.APPLIED
        assert lab.counts().members == 2
        assert other.broker.recover(QUEUE, late.member()).verdict is Verdict.REFUSED


class TestDeath:
    def test_is_told_to_one_process_and_to_another_when_that_does_nothing(
        self, lab: Lab
    ) -> None:  # I11
        doomed, one, other = (lab.process() for _ in range(3))
        lab.live(LEASE, one, other)
        lab.advance(MS)
        assert one.beat().dead == doomed.member()
        assert one.beat().dead is None
        assert other.fetch().dead is None
        lab.advance(NAMING_MS * MS)
        assert other.fetch().dead == doomed.member()

    def test_of_one_process_is_not_hidden_by_that_of_another(self, lab: Lab) -> None:
        doomed = [lab.process() for _ in range(3)]
        survivor = lab.process()
        named = lab.live(LEASE + 3 * BEAT, survivor)
        assert named == [process.member() for process in doomed]

    def test_is_not_declared_after_a_long_silence(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        lab.advance(LEASE / 2 + MS)
        survivor.beat()
        lab.live(LEASE - BEAT, survivor)
        assert survivor.broker.recover(QUEUE, doomed.member()).verdict is Verdict.REFUSED
        assert lab.live(BEAT, survivor) == [doomed.member()]

    def test_is_not_declared_after_the_clock_went_back(
        self, store: MemoryStore, lab: Lab, clock: Any
    ) -> None:
        class Wayward:
            """The shared clock, set to another time of day."""

            shift = timedelta(0)

            def now(self) -> Any:
                return clock.now() + self.shift

            def monotonic(self) -> float:
                return float(clock.monotonic())

            def wait(self, condition: Any, timeout: float | None) -> bool:
                return bool(clock.wait(condition, timeout))

        wayward = Wayward()

        def process() -> Process:
            broker = MemoryBroker(store, clock=wayward)
            broker.bind("wayward", object())
            process = Process(broker)
            process.join()
            return process

        doomed, keeper, survivor = process(), process(), process()
        survivor.broker.enqueue([deposit(due_ms=lab.in_ms(3 * LEASE))])
        lab.live(LEASE, keeper, survivor)
        lab.advance(MS)
        told = keeper.fetch()
        assert (told.next_due_in_ms, told.dead) == (59_999, doomed.member())
        wayward.shift = timedelta(days=-1)
        survivor.beat()
        # Neither the office nor the claim on the dead one lasts until tomorrow.
        assert survivor.fetch().next_due_in_ms == 59_999 + 86_400_000
        assert survivor.broker.recover(QUEUE, doomed.member()).verdict is Verdict.REFUSED
        assert lab.live(LEASE, keeper, survivor) == []
        assert lab.live(BEAT, keeper, survivor) == [doomed.member()]

    def test_leaves_the_office_of_timekeeper_to_others(self, lab: Lab) -> None:
        keeper, other = lab.process(), lab.process()
        lab.enqueue(deposit(due_ms=lab.in_ms(10 * LEASE)))
        assert keeper.fetch().next_due_in_ms is not None
        assert other.fetch().next_due_in_ms is None
        lab.advance((TIMEKEEPER_MS - 1) * MS)
        assert other.fetch().next_due_in_ms is None
        lab.advance(MS)
        assert other.fetch().next_due_in_ms is not None


class TestRecovery:
    @pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
    def test_delay_grows_with_the_losses(self, lab: Lab, loaded: Any, share: float) -> None:
        lab.enqueue(deposit(max_retries=9))
        for losses, longest_ms in ((1, 3000), (2, 6000)):
            doomed, survivor = lab.process(), loaded(share)
            lease = doomed.take_one()
            assert lease.losses == losses - 1
            assert lab.bury(doomed, survivor) == []
            wait_ms = int(longest_ms * share)
            assert lab.counts().retrying == (1 if wait_ms else 0)
            assert lab.counts().next_due_in_ms == (wait_ms or None)
            lab.live_until_due(survivor)
            assert survivor.leave().verdict is Verdict.APPLIED

    @pytest.mark.parametrize("share", [0.0, 0.5])
    def test_jobs_of_one_delay_run_again_in_their_order(
        self, lab: Lab, loaded: Any, share: float
    ) -> None:  # I9
        jobs = [deposit(max_retries=9) for _ in range(5)]
        lab.enqueue(*jobs)
        doomed, survivor = lab.process(), loaded(share)
        doomed.take(idle=5)
        assert lab.bury(doomed, survivor) == []
        lab.live_until_due(survivor)
        assert ids(survivor.take(idle=5)) == ids(jobs)

    def test_third_loss_is_poison(self, lab: Lab, loaded: Any) -> None:  # I12
        job = deposit(max_retries=9)
        lab.enqueue(job)
        survivor = loaded(0.0)
        for _ in range(2):
            doomed = lab.process()
            doomed.take_one()
            assert lab.bury(doomed, survivor) == []
        doomed = lab.process()
        doomed.take_one()
        [lost] = lab.bury(doomed, survivor)
        assert (lost.stored_id, lost.retries, lost.losses) == (job.stored_id, 2, 3)
        [failed] = lab.client.failed_jobs(QUEUE)
        assert failed.failure.error == "spinach.exc.WorkerLost"
        assert "poison: 3 worker processes" in failed.failure.message

    @pytest.mark.parametrize("max_retries,reason", [(0, "runs at most once"), (1, "last attempt")])
    def test_reason_says_why_the_job_does_not_run_again(
        self, lab: Lab, loaded: Any, max_retries: int, reason: str
    ) -> None:
        lab.enqueue(deposit(max_retries=max_retries))
        doomed, survivor = lab.process(), loaded(0.0)
        for _ in range(max_retries):
            doomed.retry(doomed.take_one())
        doomed.take_one()
        [lost] = lab.bury(doomed, survivor)
        assert (lost.retries, lost.losses) == (max_retries, 1)
        [failed] = lab.client.failed_jobs(QUEUE)
        assert reason in failed.failure.message

    def test_record_of_a_newer_release_is_not_given_up(self, lab: Lab, loaded: Any) -> None:  # I13
        newer = Deposit(QUEUE, deposit().stored_id, b"2|whatever|else\n{}")
        lab.enqueue(newer)
        doomed, survivor = lab.process(limits={"slow": 1}), loaded(0.0)
        doomed.take_one()
        assert lab.bury(doomed, survivor) == []
        assert survivor.take_one().record == newer.record

    def test_buffered_jobs_stand_in_order_although_it_took_several_calls(
        self, lab: Lab
    ) -> None:  # I9
        jobs = [deposit() for _ in range(2 * HOUSEKEEPING_CHUNK + 50)]
        lab.enqueue(*jobs)
        doomed, survivor = lab.process(), lab.process()
        doomed.take(idle=0, extra=len(jobs))
        behind = deposit()
        lab.enqueue(behind)
        assert lab.bury(doomed, survivor) == []
        assert survivor.take(idle=0, extra=5) == []
        assert ids(survivor.take(idle=len(jobs) + 1)) == ids([*jobs, behind])

    def test_retry_by_a_person_ends_direct_only(self, lab: Lab) -> None:
        job = deposit()
        lab.enqueue(job)
        doomed, survivor = lab.process(), lab.process()
        doomed.take(idle=0, extra=1)
        lab.bury(doomed, survivor)
        survivor.fail(survivor.take_one())
        assert lab.client.retry_failed(QUEUE, [job.stored_id]) == 1
        [lease] = survivor.take(idle=0, extra=1)
        assert (lease.retries, lease.losses) == (0, 0)


class TestLimits:
    def test_jobs_leased_before_the_limit_was_declared_count(self, lab: Lab) -> None:  # I10
        lab.enqueue(*(deposit("slow") for _ in range(4)), deposit("quick"))
        older = lab.process()
        leases = older.take(idle=2)
        newer = lab.process(limits={"slow": 2})
        assert [lease.record.split(b"|")[-1].split(b"\n")[0] for lease in newer.take(5)] == [
            b"quick"
        ]
        assert lab.counts().held == 2
        older.succeed(leases[0])
        assert len(newer.take(5)) == 1

    def test_held_jobs_come_free_when_the_last_who_limits_them_leaves(self, lab: Lab) -> None:
        jobs = [deposit("slow") for _ in range(4)]
        lab.enqueue(*jobs)
        limiting, other = lab.process(limits={"slow": 1}), lab.process()
        [lease] = limiting.take(idle=4)
        assert lab.counts().held == 3
        limiting.succeed(lease)
        limiting.leave()
        assert lab.counts().held == 0
        assert ids(other.take(idle=4)) == ids(jobs[1:])

    def test_dead_member_limits_nothing_once_it_is_recovered(self, lab: Lab) -> None:
        lab.enqueue(*(deposit("slow") for _ in range(4)))
        doomed, survivor = lab.process(limits={"slow": 1}), lab.process(limits={"slow": 3})
        assert len(survivor.take(idle=4)) == 1
        lab.bury(doomed, survivor)
        assert len(survivor.take(idle=4)) == 2
        assert lab.counts().held == 1

    def test_held_jobs_keep_their_order_when_several_slots_come_free(self, lab: Lab) -> None:  # I9
        jobs = [deposit("slow") for _ in range(6)]
        lab.enqueue(*jobs)
        process = lab.process(limits={"slow": 2})
        first, second = process.take(idle=6)
        process.succeed(first)
        process.succeed(second)
        assert ids(process.take(idle=6)) == ids(jobs[2:4])

    def test_released_job_comes_before_the_one_that_its_slot_let_in(self, lab: Lab) -> None:
        jobs = [deposit("slow") for _ in range(3)]
        lab.enqueue(*jobs)
        process = lab.process(limits={"slow": 1})
        [lease] = process.take(idle=3)
        process.release(lease)
        order = []
        for _ in jobs:
            [lease] = process.take(idle=3)
            order.append(lease.stored_id)
            process.succeed(lease)
        assert order == ids(jobs)

    def test_retried_job_queues_behind_those_that_wait_for_a_slot(self, lab: Lab) -> None:
        first, second, third = jobs = [deposit("slow") for _ in range(3)]
        lab.enqueue(*jobs)
        process = lab.process(limits={"slow": 1})
        process.retry(*process.take(idle=3))
        order = []
        for _ in jobs:
            [lease] = process.take(idle=3)
            order.append(lease.stored_id)
            process.succeed(lease)
        assert order == ids([second, third, first])

    def test_fetch_sets_a_bounded_number_of_jobs_aside(self, lab: Lab) -> None:  # I19
        lab.enqueue(*(deposit("slow") for _ in range(SET_ASIDE_CHUNK + 2)), deposit("quick"))
        process = lab.process(limits={"slow": 1})
        reply = process.fetch(idle=2)
        assert (len(reply.leases), reply.more) == (1, True)
        assert lab.counts().held == SET_ASIDE_CHUNK
        reply = process.fetch(idle=1)
        assert (len(reply.leases), reply.more) == (1, False)

    def test_held_job_comes_back_behind_all_that_came_back_before(self, lab: Lab) -> None:
        slow = [deposit("slow") for _ in range(HOUSEKEEPING_CHUNK + 50)]
        first, second = deposit("rare"), deposit("rare")
        lab.enqueue(*slow, first, second)
        limiting, other = lab.process(limits={"slow": 1}), lab.process(limits={"rare": 1})
        leases = other.take(idle=len(slow) + 2)
        assert ids(leases) == [slow[0].stored_id, first.stored_id]
        # All that were set aside stand at the head of the queue again.
        limiting.leave()
        other.succeed(leases[1])
        taken = ids(other.take(idle=len(slow)))
        assert taken == ids([*slow[1:], second])


class TestParks:
    def test_every_task_with_parked_jobs_is_named_in_the_course_of_time(
        self, lab: Lab
    ) -> None:  # I13, I19
        tasks = {f"task.{number}" for number in range(HOUSEKEEPING_CHUNK * 2 + 1)}
        lab.enqueue(*(deposit(task) for task in tasks))
        process = lab.process()
        process.park(*process.take(len(tasks)))
        named: set[str] = set()
        for _ in range(3):
            reply = process.fetch()
            assert len(reply.parks) == HOUSEKEEPING_CHUNK
            named.update(reply.parks)
        assert named == tasks

    def test_parked_job_of_a_limited_task_waits_for_a_slot(self, lab: Lab) -> None:  # I10
        lab.enqueue(deposit("slow"), deposit("slow"))
        ignorant = lab.process()
        ignorant.park(*ignorant.take(idle=2))
        process = lab.process(limits={"slow": 1})
        [lease] = process.take(idle=2, parks=["slow"])
        counts = lab.counts()
        assert (counts.parked, counts.held) == (0, 1)
        process.succeed(lease)
        assert len(process.take(idle=2)) == 1


class TestPeriodic:
    def test_fire_before_the_instant_is_refused(self, lab: Lab) -> None:  # I8
        process = lab.process(periodic={"report": LEASE})
        due_ms = lab.in_ms(LEASE)
        early = process.broker.fire(QUEUE, "report", due_ms, deposit("report"))
        assert early.verdict is Verdict.REFUSED
        assert early.next_due_in_ms == 30_000
        lab.advance(LEASE)
        fired = process.broker.fire(QUEUE, "report", due_ms, deposit("report"))
        assert fired.verdict is Verdict.APPLIED

    def test_entry_that_nobody_declares_goes_after_30_days(self, lab: Lab) -> None:  # I19
        process = lab.process(periodic={"report": LEASE})
        lab.advance(timedelta(days=40))
        process.leave()
        # It was declared until a moment ago, however long ago it joined.
        lab.advance(timedelta(days=30))
        other = lab.process()
        assert len(other.tick(periodic=["report"]).due) == 1
        lab.advance(MS)
        lab.process()
        assert other.tick(periodic=["report"]).due == ()

    def test_dead_member_declares_nothing_in_the_counts(self, lab: Lab) -> None:
        lab.process(periodic={"report": 10 * LEASE})
        other = lab.process()
        assert lab.counts().next_due_in_ms == 300_000
        lab.live(DEATH_NOTICE, other)
        assert lab.counts().next_due_in_ms is None


class TestListJobs:
    def test_looks_at_a_bounded_number_of_jobs(self, lab: Lab) -> None:
        lab.enqueue(*(deposit() for _ in range(2500)), deposit("rare"))
        cursor, looks = None, []
        while True:
            page = lab.client.list_jobs(QUEUE, task="rare", cursor=cursor)
            looks.append(len(page.jobs))
            if (cursor := page.cursor) is None:
                break
        assert looks == [0, 0, 1]
