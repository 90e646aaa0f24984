"""Declaring anew: a member replaces its limits and periodic tasks, and keeps all else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinach.brokers.calls import Verdict

from ..behaviour import BrokerBehaviour
from ..deposits import deposit, ids
from ..invariants import holds
from ..lab import BEAT, DEATH_NOTICE, Lab
from .limits import LIMITED, hold_many
from .periodic import HOUR, HOUR_MS, PURGE, REPORT, near

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from ..process import Process


def declare(
    process: Process,
    *,
    limits: Mapping[str, int] | None = None,
    periodic: Mapping[str, timedelta] | None = None,
) -> float | None:
    """Declare anew, which must be applied; ms until a task is due."""
    reply = process.declare(limits=limits, periodic=periodic)
    assert reply.verdict is Verdict.APPLIED, f"join was not applied: {reply}"
    return reply.next_due_in_ms


class DeclaringBehaviour(BrokerBehaviour):
    """A `join` of a member with a number above its last one."""

    # -- limits ------------------------------------------------------------

    @holds("I10")
    def test_limit_that_is_raised_lets_held_jobs_go_at_once(self, lab: Lab) -> None:
        jobs = [deposit(LIMITED) for _ in range(5)]
        lab.enqueue(*jobs)
        process = lab.process(limits={LIMITED: 1})
        assert len(process.take(idle=5)) == 1
        declare(process, limits={LIMITED: 3})
        assert ids(process.take(idle=5)) == ids(jobs[1:3])

    @holds("I10")
    def test_limit_that_is_lowered_takes_effect_as_jobs_finish(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED) for _ in range(5)))
        process = lab.process(limits={LIMITED: 3})
        a, b, c = process.take(idle=5)
        declare(process, limits={LIMITED: 1})
        for lease in (a, b):
            process.succeed(lease)
            assert process.take(idle=5) == []
        process.succeed(c)
        assert len(process.take(idle=5)) == 1

    @holds("I4", "I10")
    def test_limit_that_is_withdrawn_lets_all_held_jobs_go(self, lab: Lab) -> None:
        jobs = [deposit(LIMITED) for _ in range(5)]
        lab.enqueue(*jobs)
        process = lab.process(limits={LIMITED: 1, "letters.fold": 1})
        [first] = process.take(idle=5)
        declare(process)
        assert ids([first, *process.take(idle=5)]) == ids(jobs)
        assert lab.counts().held == 0

    @holds("I4", "I10")
    def test_long_row_of_held_jobs_goes_on_when_their_limit_is_withdrawn(self, lab: Lab) -> None:
        generous = lab.process(limits={LIMITED: 5})
        jobs = hold_many(lab)
        declare(generous)
        done = ids(jobs[:1])
        leases = generous.take(idle=30)
        assert len(leases) == 30
        while leases:
            generous.succeed(*leases)
            done += ids(leases)
            leases = generous.take(idle=30)
        assert done == ids(jobs)

    @holds("I10")
    def test_new_limit_counts_the_jobs_that_run_already(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED) for _ in range(5)))
        process, other = lab.process(), lab.process()
        [own] = process.take()
        [others] = other.take()
        declare(process, limits={LIMITED: 2})
        assert process.take(idle=5) == other.take(idle=5) == []
        process.succeed(own)
        other.succeed(others)
        assert len(process.take(idle=5)) == 2

    @holds("I10")
    def test_limits_that_others_declare_stay(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED) for _ in range(5)))
        process, other = (lab.process(limits={LIMITED: 2}) for _ in range(2))
        declare(process, limits={LIMITED: 4})
        assert len(process.take(idle=5)) == 2
        declare(process)
        assert process.take(idle=5) == other.take(idle=5) == []

    # -- periodic tasks ----------------------------------------------------

    @holds("I15")
    def test_periodic_task_that_is_new_is_due_one_period_later(self, lab: Lab) -> None:
        process = lab.process()
        assert near(declare(process, periodic={REPORT: HOUR}), HOUR_MS)
        lab.live(HOUR, process)
        assert [due.task for due in process.tick(periodic=[REPORT]).due] == [REPORT]

    @holds("I15")
    def test_period_that_is_shorter_brings_the_next_tick_forward(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: 5 * HOUR})
        assert near(declare(process, periodic={REPORT: HOUR}), HOUR_MS)

    @holds("I15")
    def test_period_that_is_longer_does_not_put_the_next_tick_off(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        lab.live(HOUR / 2, process)
        assert near(declare(process, periodic={REPORT: 5 * HOUR}), HOUR_MS // 2)

    @holds("I15")
    def test_periodic_task_that_stays_keeps_its_instant(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        lab.live(HOUR / 2, process)
        assert near(declare(process, periodic={REPORT: HOUR, PURGE: HOUR}), HOUR_MS // 2)

    @holds("I15")
    def test_periodic_task_that_nobody_declares_any_more_is_not_due(self, lab: Lab) -> None:
        process = lab.process(periodic={REPORT: HOUR})
        assert lab.counts().next_due_in_ms is not None
        assert declare(process) is None
        assert lab.counts().next_due_in_ms is None

    # -- the membership ----------------------------------------------------

    @holds("I5", "I10")
    def test_leases_stay_and_their_outcomes_count(self, lab: Lab) -> None:
        jobs = [deposit(), deposit()]
        lab.enqueue(*jobs)
        process = lab.process()
        [first] = process.take()
        declare(process, limits={LIMITED: 1})
        assert lab.counts().leased == 1
        process.succeed(first)
        assert ids(process.take()) == ids(jobs[1:])

    @holds("I11")
    def test_it_proves_life(self, lab: Lab) -> None:
        process, other = lab.process(), lab.process()
        for _ in range(6):
            lab.live(BEAT, other)
            declare(process)
        assert lab.counts().members == 2

    @holds("I10", "I15")
    def test_it_can_be_said_again_when_the_answer_was_lost(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED) for _ in range(5)))
        process = lab.process(periodic={PURGE: HOUR})
        [running] = process.take()
        for _ in range(3):
            assert near(declare(process, limits={LIMITED: 2}, periodic={REPORT: HOUR}), HOUR_MS)
        assert len(process.take(idle=5)) == 1
        process.succeed(running)
        assert len(process.take(idle=5)) == 1

    @holds("I10", "I15")
    def test_copy_that_comes_late_changes_nothing(self, lab: Lab) -> None:
        lab.enqueue(*(deposit(LIMITED) for _ in range(5)))
        process = lab.process()
        late = process.turn().number
        declare(process, limits={LIMITED: 1})
        for number in (late, late + 1):
            reply = process.declare(periodic={REPORT: HOUR}, number=number)
            assert reply.verdict is Verdict.STALE
        assert len(process.take(idle=5)) == 1
        assert lab.counts().next_due_in_ms is None

    @holds("I5", "I10")
    def test_it_takes_its_turn_among_the_other_calls(self, lab: Lab) -> None:
        process = lab.process()
        before = process.turn().number
        declare(process, limits={LIMITED: 1})
        assert process.fetch().verdict is Verdict.APPLIED
        assert process.declare(number=before + 2).verdict is Verdict.STALE

    @holds("I5", "I11")
    def test_stranger_is_fenced(self, lab: Lab) -> None:
        assert lab.stranger().declare(limits={LIMITED: 1}).verdict is Verdict.FENCED
        lab.enqueue(*(deposit(LIMITED) for _ in range(3)))
        assert len(lab.process().take(idle=5)) == 3

    @holds("I5", "I11")
    def test_member_that_was_taken_for_dead_is_fenced(self, lab: Lab) -> None:
        doomed, survivor = lab.process(), lab.process()
        assert doomed.member() in lab.live(DEATH_NOTICE, survivor)
        lab.recover(doomed, survivor)
        assert doomed.declare(limits={LIMITED: 1}).verdict is Verdict.FENCED
        assert lab.counts().members == 1
