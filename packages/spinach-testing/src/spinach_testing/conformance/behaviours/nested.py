"""Nested calls: a signal handler, a finalizer or a log handler may schedule at any time,
also in the middle of another call on its thread.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from spinach.brokers.calls import Cursor, FailedFilter, FailedPortion, Verdict
from spinach.exc import SpinachError

from ..behaviour import BrokerBehaviour
from ..deposits import QUEUE, deposit, ids
from ..invariants import holds
from ..lab import Lab
from ..nesting import Nested, steps_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from spinach.brokers.calls import Deposit

#: Longer than any test, whether its clock is turned or flows by itself.
LONG_SECONDS = 1_000_000.0

#: Of the failed jobs those that failed before there were any.
NOTHING = FailedPortion(matching=FailedFilter(), until=Cursor(0, 0, "0"))


def at_each_step(lab: Lab, outer: Callable[[], object], inner: Callable[[], object]) -> int:
    """Make a call again and again, each time with another one nested at another step.

    Returns:
        How often.
    """
    nested = 0
    for step in steps_of(outer):
        call = Nested(outer, inner, step)
        lab.background(call).result()
        # A call may make fewer steps than the one whose steps were counted.
        nested += call.reached
    assert nested, "nothing was nested"
    return nested


class Producer:
    """Stores jobs, and keeps what was answered."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.jobs: list[Deposit] = []
        self.answers: list[bool] = []

    def enqueue(self, *due_ms: int | None) -> None:
        """Store a job for each instant, in one call."""
        jobs = [deposit(due_ms=each) for each in due_ms or (None,)]
        self.jobs += jobs
        self.answers += self._lab.enqueue(*jobs)


class NestedBehaviour(BrokerBehaviour):
    """`Broker.enqueue` in the middle of another call, on its thread."""

    @holds("I1", "I2", "I9")
    def test_enqueue_nested_in_another_is_stored_once(self, lab: Lab) -> None:
        outer, inner = Producer(lab), Producer(lab)
        at_each_step(lab, lambda: outer.enqueue(None, None), inner.enqueue)
        assert all(outer.answers + inner.answers)
        taken = ids(lab.process().take(idle=len(outer.jobs) + len(inner.jobs)))
        assert sorted(taken) == sorted(ids(outer.jobs) + ids(inner.jobs))
        assert lab.counts().enqueued == len(taken)
        # Those of one producer keep their order, whatever came in between.
        mine = set(ids(outer.jobs))
        assert [each for each in taken if each in mine] == ids(outer.jobs)
        assert [each for each in taken if each not in mine] == ids(inner.jobs)

    @holds("I1", "I8")
    def test_nested_enqueue_tells_what_waits(self, lab: Lab) -> None:
        later_ms = lab.now_ms() + 3_600_000
        outer, inner = Producer(lab), Producer(lab)
        number = at_each_step(lab, outer.enqueue, lambda: inner.enqueue(later_ms, None))
        assert inner.answers == [False, True] * number
        assert lab.counts().future == number

    @holds("I1")
    def test_enqueue_nested_in_a_count_is_counted_afterwards(self, lab: Lab) -> None:
        inner = Producer(lab)
        number = at_each_step(lab, lab.counts, inner.enqueue)
        assert lab.counts().ready == number

    @holds("I1", "I2")
    def test_enqueue_nested_in_a_fetch_is_handed_out_once(self, lab: Lab) -> None:
        process, inner = lab.process(), Producer(lab)
        taken: list[str] = []
        at_each_step(lab, lambda: taken.extend(ids(process.take())), inner.enqueue)
        taken += ids(process.take(idle=len(inner.jobs)))
        assert taken == ids(inner.jobs)

    @holds("I14")
    def test_enqueue_nested_in_a_fetch_ends_its_wait(self, lab: Lab) -> None:
        process, inner = lab.process(), Producer(lab)
        while True:
            step = len(inner.jobs) + 1
            nested = Nested(lambda: process.fetch(block_seconds=LONG_SECONDS), inner.enqueue, step)
            call = lab.background(nested)
            if not call.ends_within(lab.settle_seconds) and nested.steps < step:
                # It waits, and makes fewer steps before that.
                break
            leases = call.result().leases or process.take()
            assert ids(leases) == [inner.jobs[-1].stored_id]
            process.succeed(*leases)
        process.broker.interrupt()
        assert call.result().verdict is Verdict.APPLIED
        assert step > 1, "nothing was nested"

    @holds("I1")
    def test_other_nested_calls_work_or_raise_at_once(self, lab: Lab) -> None:
        outer = Producer(lab)
        calls: list[Callable[[], object]] = [
            lambda: lab.client.counts([QUEUE]),
            lambda: lab.client.failed_jobs(QUEUE),
            lambda: lab.client.find_failed([QUEUE], ["1none"]),
            lambda: lab.client.retry_matching(QUEUE, NOTHING),
            lambda: lab.client.discard_matching(QUEUE, NOTHING),
            lambda: lab.client.retry_failed(QUEUE, ["1none"]),
            lambda: lab.client.discard_failed(QUEUE, ["1none"]),
        ]

        def look() -> None:
            for call in calls:
                with contextlib.suppress(SpinachError):
                    call()

        at_each_step(lab, outer.enqueue, look)
        assert ids(lab.process().take(idle=len(outer.jobs))) == ids(outer.jobs)
