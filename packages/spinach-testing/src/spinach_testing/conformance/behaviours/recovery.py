"""Recovery: the jobs of a dead process are taken back, each with its due."""

from __future__ import annotations

from spinach.brokers.calls import Verdict
from spinach.const import DEFAULT_LEASE, HOUSEKEEPING_CHUNK, MAX_LOSSES
from spinach.outcome import OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids, once
from ..invariants import holds
from ..lab import DEATH_NOTICE, Lab
from ..process import outcome


class RecoveryBehaviour(BrokerBehaviour):
    """`Broker.recover`, and which members are told of a death."""

    @holds("I11")
    def test_death_is_named_within_a_lease_and_ten_seconds(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        assert lab.live(DEFAULT_LEASE * 0.9, survivor) == []
        assert lab.live(DEATH_NOTICE - DEFAULT_LEASE * 0.9, survivor) == [doomed.member()]

    @holds("I11")
    def test_fetch_names_a_death_too(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        assert lab.live(DEFAULT_LEASE * 0.9, survivor) == []
        lab.advance(DEATH_NOTICE - DEFAULT_LEASE * 0.9)
        assert survivor.fetch().dead == doomed.member()

    @holds("I11")
    def test_death_is_named_to_one_caller_at_a_time(self, lab: Lab) -> None:
        doomed, *survivors = [lab.process() for _ in range(4)]
        assert lab.live(DEATH_NOTICE, *survivors) == [doomed.member()]
        told = [survivor.fetch().dead for survivor in survivors]
        assert told == [None, None, None]

    @holds("I11")
    def test_death_is_named_again_when_its_recovery_breaks_off(self, lab: Lab) -> None:
        doomed, *survivors = [lab.process() for _ in range(3)]
        assert doomed.member() in lab.live(DEATH_NOTICE, *survivors)
        assert doomed.member() in lab.live(DEATH_NOTICE, *survivors)

    @holds("I11")
    def test_several_deaths_are_all_named(self, lab: Lab) -> None:
        *doomed, one, two = [lab.process() for _ in range(5)]
        named = lab.live(2 * DEFAULT_LEASE, one, two)
        assert set(named) == {process.member() for process in doomed}

    @holds("I11", "I21")
    def test_death_is_named_in_its_own_queue_only(self, lab: Lab) -> None:
        doomed, survivor = lab.process("invoices"), lab.process(QUEUE)
        assert lab.live(2 * DEFAULT_LEASE, survivor) == []
        assert survivor.broker.recover(QUEUE, doomed.member("invoices")).verdict is Verdict.REFUSED

    @holds("I3")
    def test_at_most_once_job_of_the_dead_fails(self, lab: Lab) -> None:
        job = once()
        lab.enqueue(job)
        doomed, survivor = lab.process(), lab.process()
        doomed.take_one()
        lost = lab.bury(doomed, survivor)
        assert [(each.stored_id, each.record, each.losses) for each in lost] == [
            (job.stored_id, job.record, 1)
        ]
        lab.live_until_due(survivor)
        assert survivor.take(idle=5) == []
        [failed] = lab.client.failed_jobs(QUEUE)
        assert failed.stored_id == job.stored_id
        assert "WorkerLost" in failed.failure.error
        assert lab.counts().unfinished == 0

    @holds("I3")
    def test_jobs_that_fail_together_keep_their_order(self, lab: Lab) -> None:
        jobs = [once() for _ in range(5)]
        lab.enqueue(*jobs)
        doomed, survivor = lab.process(), lab.process()
        doomed.take(idle=5)
        assert ids(lab.bury(doomed, survivor)) == ids(jobs)
        assert ids(lab.client.failed_jobs(QUEUE)) == ids(jobs)[::-1]

    @holds("I4", "I11")
    def test_job_without_retries_left_fails(self, lab: Lab) -> None:
        job = deposit(max_retries=1)
        lab.enqueue(job)
        doomed, survivor = lab.process(), lab.process()
        doomed.retry(doomed.take_one())
        lab.promote()
        assert doomed.take_one().retries == 1
        [lost] = lab.bury(doomed, survivor)
        assert lost.stored_id == job.stored_id
        assert lab.counts().failed == 1
        assert lab.counts().unfinished == 0

    @holds("I12")
    def test_third_loss_makes_a_job_poison(self, lab: Lab) -> None:
        job = deposit(max_retries=100)
        lab.enqueue(job)
        survivor = lab.process()
        for losses in range(MAX_LOSSES):
            doomed = lab.process()
            lease = doomed.take_one()
            assert (lease.losses, lease.retries) == (losses, losses)
            lost = lab.bury(doomed, survivor)
            assert len(lost) == (losses == MAX_LOSSES - 1)
            lab.live_until_due(survivor)
        assert survivor.take(idle=5) == []
        [failed] = lab.client.failed_jobs(QUEUE)
        assert (failed.stored_id, failed.losses) == (job.stored_id, MAX_LOSSES)

    @holds("I12")
    def test_losses_outlive_retries_and_releases(self, lab: Lab) -> None:
        lab.enqueue(deposit(max_retries=100))
        doomed, survivor = lab.process(), lab.process()
        doomed.take_one()
        lab.bury(doomed, survivor)
        lab.live_until_due(survivor)
        survivor.release(survivor.take_one())
        survivor.retry(survivor.take_one())
        lab.promote()
        lease = survivor.take_one()
        assert (lease.retries, lease.losses) == (2, 1)

    @holds("I5")
    def test_zombie_changes_nothing(self, lab: Lab) -> None:
        lab.enqueue(deposit(), once())
        zombie, survivor = lab.process(), lab.process()
        leases = zombie.take(idle=2)
        lab.bury(zombie, survivor)
        before = lab.counts()
        for kind in OutcomeKind:
            verdicts = zombie.report(*(outcome(kind, lease) for lease in leases))
            assert verdicts == (Verdict.REFUSED, Verdict.REFUSED), kind
        after = lab.counts()
        assert (after.unfinished, after.failed) == (before.unfinished, before.failed)

    @holds("I5")
    def test_zombie_changes_nothing_while_another_runs_its_job(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        zombie, survivor = lab.process(), lab.process()
        old = zombie.take_one()
        lab.bury(zombie, survivor)
        lab.live_until_due(survivor)
        new = survivor.take_one()
        for kind in OutcomeKind:
            assert zombie.report(outcome(kind, old)) == (Verdict.REFUSED,), kind
        survivor.succeed(new)

    @holds("I5")
    def test_recovered_member_is_fenced(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit())
        zombie, survivor = lab.process(), lab.process()
        lease = zombie.take_one()
        lab.bury(zombie, survivor)
        assert zombie.fetch(idle=5).verdict is Verdict.FENCED
        assert zombie.beat().verdict is Verdict.FENCED
        assert zombie.reconcile([lease]).verdict is Verdict.FENCED
        assert zombie.leave().verdict is Verdict.FENCED
        assert lab.counts().leased == 0

    @holds("I11")
    def test_recovery_of_the_living_is_refused(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        worker, other = lab.process(), lab.process()
        lease = worker.take_one()
        reply = other.broker.recover(QUEUE, worker.member())
        assert (reply.verdict, reply.lost, reply.more) == (Verdict.REFUSED, (), False)
        worker.succeed(lease)

    @holds("I11")
    def test_recovery_of_a_stranger_is_refused(self, lab: Lab) -> None:
        survivor, stranger = lab.process(), lab.stranger()
        reply = survivor.broker.recover(QUEUE, stranger.member())
        assert reply.verdict is Verdict.REFUSED

    @holds("I11")
    def test_second_recovery_finds_nothing(self, lab: Lab) -> None:
        lab.enqueue(once())
        doomed, *survivors = [lab.process() for _ in range(3)]
        doomed.take_one()
        assert len(lab.bury(doomed, survivors[0])) == 1
        for survivor in survivors:
            reply = survivor.broker.recover(QUEUE, doomed.member())
            assert (reply.verdict, reply.lost) == (Verdict.REFUSED, ())
        assert lab.counts().failed == 1

    @holds("I11")
    def test_dead_member_without_leases_is_forgotten(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        assert lab.bury(doomed, survivor) == []
        assert lab.counts().members == 1
        assert lab.live(2 * DEFAULT_LEASE, survivor) == []

    @holds("I11")
    def test_nobody_is_declared_dead_right_after_an_outage(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        sleeper, survivor = lab.process(), lab.process()
        lease = sleeper.take_one()
        lab.advance(10 * DEFAULT_LEASE)
        reply = survivor.beat()
        assert (reply.verdict, reply.dead) == (Verdict.APPLIED, None)
        assert survivor.broker.recover(QUEUE, sleeper.member()).verdict is Verdict.REFUSED
        assert lab.live(DEFAULT_LEASE * 0.9, survivor) == []
        assert sleeper.beat().verdict is Verdict.APPLIED
        assert lab.live(DEFAULT_LEASE * 0.9, survivor) == []
        sleeper.succeed(lease)

    @holds("I11")
    def test_recovery_right_after_an_outage_is_refused(self, lab: Lab) -> None:
        # Also when it is the first call that the store gets.
        lab.enqueue(deposit())
        sleeper, survivor = lab.process(), lab.process()
        lease = sleeper.take_one()
        lab.advance(10 * DEFAULT_LEASE)
        assert survivor.broker.recover(QUEUE, sleeper.member()).verdict is Verdict.REFUSED
        sleeper.succeed(lease)

    @holds("I11")
    def test_who_stays_silent_after_an_outage_is_dead(self, lab: Lab) -> None:
        lab.enqueue(once())
        doomed, survivor = lab.process(), lab.process()
        doomed.take_one()
        lab.advance(10 * DEFAULT_LEASE)
        survivor.beat()
        assert len(lab.bury(doomed, survivor)) == 1

    @holds("I11")
    def test_first_process_that_returns_recovers_all_others(self, lab: Lab) -> None:
        lab.enqueue(deposit(), deposit())
        doomed = [lab.process() for _ in range(2)]
        for process in doomed:
            process.take_one()
        lab.advance(100 * DEFAULT_LEASE)
        newcomer = lab.process()
        named = lab.live(DEATH_NOTICE + DEFAULT_LEASE, newcomer)
        assert set(named) == {process.member() for process in doomed}
        for process in doomed:
            lab.recover(process, newcomer)
        lab.live_until_due(newcomer)
        assert len(newcomer.take(idle=5)) == 2

    @holds("I1", "I11")
    def test_recovery_leaves_the_jobs_of_the_living_alone(self, lab: Lab) -> None:
        lab.enqueue(*(once() for _ in range(3)))
        doomed, *survivors = [lab.process() for _ in range(3)]
        [lost], *kept = [process.take(idle=1) for process in (doomed, *survivors)]
        named = lab.live(DEATH_NOTICE, *survivors)
        assert named == [doomed.member()]
        assert ids(lab.recover(doomed, survivors[0])) == [lost.stored_id]
        for survivor, leases in zip(survivors, kept, strict=True):
            survivor.succeed(*leases)

    @holds("I11")
    def test_recovery_tells_who_died(self, lab: Lab) -> None:
        lab.enqueue(deposit())
        first, second, survivor = lab.process(), lab.process(), lab.process()
        first.take_one()
        named = lab.live(2 * DEFAULT_LEASE, survivor)
        assert set(named) == {first.member(), second.member()}
        for dead in (first, second):
            [reply] = lab.recoveries(dead, survivor)
            assert dict(reply.info) == dead.info()

    @holds("I7", "I11")
    def test_recovery_tells_where_the_jobs_went(self, lab: Lab) -> None:
        lab.enqueue(*(once() for _ in range(2)), *(deposit() for _ in range(7)))
        doomed, survivor = lab.process(), lab.process()
        # Two that run at most once and three others for idle threads, four for the buffer.
        assert len(doomed.take(idle=5, extra=4)) == 9
        lab.live(DEATH_NOTICE, survivor)
        [reply] = lab.recoveries(doomed, survivor)
        assert (reply.ready, reply.retrying, len(reply.lost)) == (4, 3, 2)
        counts = lab.counts()
        # A delay may be over at once.
        assert counts.ready >= 4
        assert (counts.ready + counts.retrying, counts.failed) == (7, 2)

    @holds("I11", "I19")
    def test_what_several_calls_of_a_recovery_tell_adds_up(self, lab: Lab) -> None:
        buffered = HOUSEKEEPING_CHUNK + HOUSEKEEPING_CHUNK // 2
        lab.enqueue(*(once() for _ in range(30)), *(deposit() for _ in range(20 + buffered)))
        doomed, survivor = lab.process(), lab.process()
        leases = doomed.take(idle=50, extra=buffered)
        assert len(leases) == 50 + buffered
        lab.live(DEATH_NOTICE, survivor)
        replies = lab.recoveries(doomed, survivor)
        assert len(replies) > 1
        for reply in replies:
            told = reply.ready + reply.retrying + len(reply.lost)
            assert 0 < told <= HOUSEKEEPING_CHUNK
            assert dict(reply.info) == doomed.info()
        assert sum(reply.ready for reply in replies) == buffered
        assert sum(reply.retrying for reply in replies) == 20
        assert sum(len(reply.lost) for reply in replies) == 30

    @holds("I11")
    def test_recovery_of_a_member_without_leases_tells_of_none(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        lab.live(DEATH_NOTICE, survivor)
        [reply] = lab.recoveries(doomed, survivor)
        assert (reply.ready, reply.retrying, reply.lost) == (0, 0, ())
        assert dict(reply.info) == doomed.info()
