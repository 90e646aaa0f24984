"""Concurrency limits: slots are counted over all processes, and no job overtakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinach.brokers.calls import Verdict
from spinach.outcome import OutcomeKind

from ..behaviour import BrokerBehaviour
from ..deposits import deposit, ids, once, task_of
from ..invariants import holds
from ..lab import Lab
from ..process import outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import Deposit
    from spinach.outcome import Lease

LIMITED = "letters.print"


def limited(leases: Sequence[Lease]) -> int:
    """How many leases are of the limited task."""
    return sum(task_of(lease) == LIMITED for lease in leases)


class LimitsBehaviour(BrokerBehaviour):
    """Limits as members declare them."""

    @holds("I10")
    def test_limit_holds_over_three_processes(self, lab: Lab) -> None:
        jobs = [deposit(LIMITED) for _ in range(6)]
        lab.enqueue(*jobs)
        processes = [lab.process(limits={LIMITED: 2}) for _ in range(3)]
        assert sum(len(process.take(idle=5, extra=5)) for process in processes) == 2
        counts = lab.counts()
        assert (counts.leased, counts.ready + counts.held) == (2, 4)

    @holds("I10")
    def test_limit_holds_while_jobs_come_and_go(self, lab: Lab) -> None:
        jobs = [once(LIMITED) if n % 2 else deposit(LIMITED) for n in range(12)]
        lab.enqueue(*jobs)
        processes = [lab.process(limits={LIMITED: 2}) for _ in range(3)]
        done: list[str] = []
        for turn in range(30):
            taker = processes[turn % 3]
            leases = taker.take(idle=5, extra=5)
            assert lab.counts().leased <= 2
            taker.succeed(*leases)
            done += ids(leases)
        assert done == ids(jobs)

    @holds("I9", "I10")
    def test_jobs_without_limit_pass_those_that_wait_for_a_slot(self, lab: Lab) -> None:
        first, second, free = deposit(LIMITED), deposit(LIMITED), deposit()
        lab.enqueue(first, second, free)
        process = lab.process(limits={LIMITED: 1})
        reply = process.fetch(idle=5)
        assert ids(reply.leases) == ids([first, free])
        assert not reply.more
        counts = lab.counts()
        assert (counts.ready, counts.held, counts.leased) == (0, 1, 2)

    @holds("I10")
    def test_free_slot_moves_one_held_job_to_the_front(self, lab: Lab) -> None:
        one, two, three = (deposit(LIMITED) for _ in range(3))
        later = deposit()
        lab.enqueue(one, two, three)
        process = lab.process(limits={LIMITED: 1})
        [lease] = process.take(idle=5)
        lab.enqueue(later)
        process.succeed(lease)
        assert ids(process.take(idle=5)) == ids([two, later])
        assert lab.counts().held == 1

    @holds("I10")
    def test_every_end_of_a_lease_frees_its_slot(self, lab: Lab) -> None:
        process = lab.process(limits={LIMITED: 1})
        for kind in OutcomeKind:
            lab.enqueue(deposit(LIMITED), deposit(LIMITED))
            [lease] = process.take(idle=5)
            assert process.report(outcome(kind, lease)) == (Verdict.APPLIED,)
            [following] = process.take(idle=5)
            process.succeed(following)
            # What RELEASE and RETRY gave back goes too, before the next kind.
            lab.promote()
            while leases := process.take(idle=5):
                process.succeed(*leases)
            assert lab.counts().unfinished == 0, kind

    @holds("I10", "I11")
    def test_recovery_frees_the_slots_of_the_dead(self, lab: Lab) -> None:
        lab.enqueue(*(once(LIMITED) for _ in range(4)))
        doomed, survivor = (lab.process(limits={LIMITED: 2}) for _ in range(2))
        assert len(doomed.take(idle=5)) == 2
        assert survivor.take(idle=5) == []
        assert len(lab.bury(doomed, survivor)) == 2
        assert len(survivor.take(idle=5)) == 2

    @holds("I10")
    def test_lowest_limit_of_the_live_members_is_in_force(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED) for _ in range(5)))
        generous, strict = lab.process(limits={LIMITED: 4}), lab.process(limits={LIMITED: 1})
        assert len(generous.take(idle=5)) == 1
        assert strict.take(idle=5) == []

    @holds("I10")
    def test_limit_binds_members_that_do_not_declare_it(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED) for _ in range(5)))
        lab.process(limits={LIMITED: 1})
        assert len(lab.process().take(idle=5)) == 1

    @holds("I10")
    def test_limit_ends_with_the_member_that_declared_it(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED) for _ in range(5)))
        generous, strict = lab.process(limits={LIMITED: 3}), lab.process(limits={LIMITED: 1})
        assert len(generous.take(idle=5)) == 1
        assert strict.leave().verdict is Verdict.APPLIED
        assert len(generous.take(idle=5)) == 2
        assert generous.take(idle=5) == []

    @holds("I10", "I11")
    def test_limit_of_a_dead_member_ends_with_its_recovery(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED) for _ in range(5)))
        survivor, doomed = lab.process(limits={LIMITED: 3}), lab.process(limits={LIMITED: 1})
        assert len(survivor.take(idle=5)) == 1
        lab.bury(doomed, survivor)
        assert len(survivor.take(idle=5)) == 2

    @holds("I10")
    def test_lowered_limit_takes_effect_as_jobs_finish(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED) for _ in range(5)))
        running = lab.process(limits={LIMITED: 3})
        a, b, c = running.take(idle=5)
        strict = lab.process(limits={LIMITED: 1})
        for lease in (a, b):
            running.succeed(lease)
            assert running.take(idle=5) == []
            assert strict.take(idle=5) == []
        running.succeed(c)
        assert len(strict.take(idle=5)) == 1
        assert running.take(idle=5) == []

    @holds("I10")
    def test_tasks_have_slots_of_their_own(self, lab: Lab) -> None:
        other = "letters.fold"
        lab.enqueue(*(deposit(task) for task in (LIMITED, LIMITED, other, other, other)))
        process = lab.process(limits={LIMITED: 1, other: 2})
        leases = process.take(idle=9)
        assert sorted(task_of(lease) for lease in leases) == [other, other, LIMITED]

    @holds("I10", "I13")
    def test_jobs_out_of_a_park_need_a_slot_too(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED) for _ in range(3)))
        ignorant = lab.process()
        ignorant.park(*ignorant.take(idle=3))
        process = lab.process(limits={LIMITED: 1})
        [lease] = process.take(idle=5, parks=[LIMITED])
        assert process.take(idle=5, parks=[LIMITED]) == []
        process.succeed(lease)
        assert len(process.take(idle=5, parks=[LIMITED])) == 1

    @holds("I9", "I10")
    def test_long_row_of_limited_jobs_is_passed_in_a_few_calls(self, lab: Lab) -> None:
        free = deposit()
        lab.enqueue(*(deposit(LIMITED) for _ in range(1200)), free)
        process = lab.process(limits={LIMITED: 1})
        taken: list[str] = []
        for _ in range(20):
            reply = process.fetch(idle=2)
            taken += ids(reply.leases)
            if free.stored_id in taken:
                break
            assert reply.more, "the fetch stopped before the end and did not say so"
        assert len(taken) == 2
        assert limited(process.take(idle=5)) == 0

    @holds("I4", "I10")
    def test_long_row_of_held_jobs_goes_on_when_their_limit_ends(self, lab: Lab) -> None:
        jobs = hold_many(lab)
        process = lab.process()
        done = ids(jobs[:1])
        while leases := process.take(idle=30):
            process.succeed(*leases)
            done += ids(leases)
        assert done == ids(jobs)
        assert lab.counts().held == 0

    @holds("I10")
    def test_limit_that_is_raised_by_far_fills_all_its_slots(self, lab: Lab) -> None:
        generous = lab.process(limits={LIMITED: 700})
        hold_many(lab)
        leased = 0
        while leases := generous.take(idle=200):
            leased += len(leases)
        assert leased == 700

    @holds("I9", "I10")
    def test_many_slots_that_are_freed_at_once_go_on_in_order(self, lab: Lab) -> None:
        jobs = [deposit(LIMITED) for _ in range(300)]
        lab.enqueue(*jobs)
        process = lab.process(limits={LIMITED: 150})
        leases = process.take(idle=300)
        assert ids(leases) == ids(jobs[:150])
        process.succeed(*leases)
        assert ids(process.take(idle=300)) == ids(jobs[150:])


def hold_many(lab: Lab) -> list[Deposit]:
    """Jobs of which all but the first, which is done, were put aside, because there is one slot.

    The member that granted one slot is gone.
    """
    jobs = [deposit(LIMITED) for _ in range(1300)]
    lab.enqueue(*jobs)
    strict = lab.process(limits={LIMITED: 1})
    [first] = strict.take(idle=5)
    while strict.fetch(idle=5).more:
        pass
    assert lab.counts().held == len(jobs) - 1
    strict.succeed(first)
    strict.leave()
    return jobs
