"""The limit that an operator set goes before those that members declare, for all of them."""

from __future__ import annotations

from spinach.brokers.calls import LimitState, Verdict
from spinach.const import MOST_TOLD

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids
from ..invariants import holds
from ..lab import Lab
from .wakeup import brought, wait

LIMITED = "letters.print"


def limit_of(lab: Lab) -> LimitState | None:
    """What the queue tells of the limited task."""
    return next((each for each in lab.client.limits(QUEUE) if each.task == LIMITED), None)


class OverridesBehaviour(BrokerBehaviour):
    """`Broker.set_limit` and `Broker.limits`."""

    @holds("I10", "I24")
    def test_limit_of_an_operator_goes_before_a_higher_one(self, lab: Lab) -> None:
        process = lab.process(limits={LIMITED: 4})
        lab.client.set_limit(QUEUE, LIMITED, 1)
        lab.enqueue(*(deposit(LIMITED) for _ in range(4)))
        assert len(process.take(idle=5)) == 1

    @holds("I10", "I24")
    def test_limit_of_an_operator_goes_before_a_lower_one(self, lab: Lab) -> None:
        process = lab.process(limits={LIMITED: 1})
        lab.client.set_limit(QUEUE, LIMITED, 3)
        lab.enqueue(*(deposit(LIMITED) for _ in range(4)))
        assert len(process.take(idle=5)) == 3

    @holds("I10", "I24")
    def test_limit_of_an_operator_outlives_joins_declarations_and_leaves(self, lab: Lab) -> None:
        lab.client.set_limit(QUEUE, LIMITED, 2)
        first, second = lab.process(limits={LIMITED: 5}), lab.process(limits={LIMITED: 1})
        assert first.declare(limits={LIMITED: 9}).verdict is Verdict.APPLIED
        assert second.leave().verdict is Verdict.APPLIED
        lab.enqueue(*(deposit(LIMITED) for _ in range(4)))
        assert len(first.take(idle=5)) == 2

    @holds("I10", "I24")
    def test_task_without_limit_gets_one_and_counts_what_runs(self, lab: Lab) -> None:
        first, second = lab.process(), lab.process()
        lab.enqueue(*(deposit(LIMITED) for _ in range(4)))
        [running] = first.take(idle=1)
        lab.client.set_limit(QUEUE, LIMITED, 2)
        assert len(second.take(idle=5)) == 1
        first.succeed(running)
        assert len(first.take(idle=5)) == 1

    @holds("I10", "I24")
    def test_lower_limit_waits_for_jobs_to_end(self, lab: Lab) -> None:
        process = lab.process(limits={LIMITED: 3})
        lab.enqueue(*(deposit(LIMITED) for _ in range(5)))
        leases = process.take(idle=3)
        lab.client.set_limit(QUEUE, LIMITED, 1)
        process.succeed(*leases[:2])
        assert process.take(idle=5) == []
        process.succeed(leases[2])
        assert len(process.take(idle=5)) == 1

    @holds("I10", "I14", "I24")
    def test_raised_limit_wakes_a_process_for_what_is_held(self, lab: Lab) -> None:
        process, waiting = lab.process(limits={LIMITED: 1}), lab.process()
        jobs = [deposit(LIMITED) for _ in range(2)]
        lab.enqueue(*jobs)
        assert ids(process.take(idle=5)) == ids(jobs[:1])
        assert waiting.take() == []
        call = wait(lab, waiting)
        lab.client.set_limit(QUEUE, LIMITED, 2)
        assert brought(call) == ids(jobs[1:])

    @holds("I10", "I24")
    def test_limit_that_is_taken_back_leaves_it_to_the_members(self, lab: Lab) -> None:
        process = lab.process(limits={LIMITED: 2})
        lab.client.set_limit(QUEUE, LIMITED, 1)
        lab.enqueue(*(deposit(LIMITED) for _ in range(4)))
        assert len(process.take(idle=5)) == 1
        lab.client.set_limit(QUEUE, LIMITED, None)
        assert len(process.take(idle=5)) == 1
        assert lab.counts().held + lab.counts().ready == 2

    @holds("I10", "I24")
    def test_limit_that_is_taken_back_ends_where_no_member_declares_one(self, lab: Lab) -> None:
        process = lab.process()
        lab.client.set_limit(QUEUE, LIMITED, 1)
        lab.enqueue(*(deposit(LIMITED) for _ in range(4)))
        leases = process.take(idle=5)
        lab.client.set_limit(QUEUE, LIMITED, None)
        leases += process.take(idle=5)
        assert len(leases) == 4
        process.succeed(*leases)
        assert limit_of(lab) is None

    @holds("I10", "I24")
    def test_taking_back_what_was_not_set_changes_nothing(self, lab: Lab) -> None:
        lab.client.set_limit(QUEUE, LIMITED, None)
        assert lab.client.limits(QUEUE) == []
        lab.enqueue(*(deposit(LIMITED) for _ in range(3)))
        assert len(lab.process().take(idle=5)) == 3

    @holds("I10", "I24")
    def test_limits_tell_who_has_a_slot_and_how_many_wait(self, lab: Lab) -> None:
        generous, strict = lab.process(limits={LIMITED: 5}), lab.process(limits={LIMITED: 2})
        jobs = [deposit(LIMITED) for _ in range(5)]
        lab.enqueue(*jobs)
        generous.take(idle=5)
        state = limit_of(lab)
        assert state is not None
        assert (state.override, state.declared, state.members) == (None, 2, 2)
        assert (state.limit, state.taken, state.held) == (2, 2, 3)
        assert sorted(state.holders) == sorted(ids(jobs[:2]))
        lab.client.set_limit(QUEUE, LIMITED, 1)
        assert strict.leave().verdict is Verdict.APPLIED
        state = limit_of(lab)
        assert state is not None
        assert (state.override, state.declared, state.limit, state.taken) == (1, 5, 1, 2)

    @holds("I19", "I24")
    def test_bounded_number_of_those_who_have_a_slot_is_told(self, lab: Lab) -> None:
        process = lab.process(limits={LIMITED: MOST_TOLD + 20})
        jobs = [deposit(LIMITED) for _ in range(MOST_TOLD + 20)]
        lab.enqueue(*jobs)
        while lab.counts().ready:
            assert process.take(idle=len(jobs))
        state = limit_of(lab)
        assert state is not None
        assert state.taken == len(jobs)
        assert 0 < len(set(state.holders)) == len(state.holders) <= MOST_TOLD
        assert set(state.holders) <= set(ids(jobs))

    @holds("I21", "I24")
    def test_limit_of_an_operator_is_of_one_queue(self, lab: Lab) -> None:
        lab.client.set_limit("mail", LIMITED, 1)
        lab.enqueue(*(deposit(LIMITED) for _ in range(3)))
        assert len(lab.process().take(idle=5)) == 3
