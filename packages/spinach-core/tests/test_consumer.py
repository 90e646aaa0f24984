"""The consumer: what a process asks of its broker, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs

from spinach import Tasks
from spinach.brokers.calls import Enrolment, FetchTurn, ReconcileReply
from spinach.exc import BrokerUnavailable
from spinach.outcome import OutcomeKind
from spinach.worker.leased_job import LeasedJob

from .rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_it_joins_each_queue_once() -> None:
    rig = Rig("a", "b")
    assert rig.consumer.queues == ("a", "b")
    assert rig.upkeep() == ["join", "join"]
    assert rig.upkeep() == []
    assert [counts.members for counts in rig.broker.counts(["a", "b"])] == [1, 1]


def test_a_beat_is_due_each_third_of_the_lease(rig: Rig) -> None:
    rig.upkeep()
    assert rig.consumer.next_event_in() == 10.0
    rig.advance(9.9)
    assert rig.upkeep() == []
    rig.advance(0.1)
    assert rig.consumer.next_event_in() == 0.0
    assert rig.upkeep() == ["beat"]
    assert rig.consumer.next_event_in() == 10.0


def test_while_another_thread_has_the_turn_nothing_is_sequenced(rig: Rig) -> None:
    rig.upkeep()
    rig.advance(10)
    assert rig.upkeep(may_sequence=False) == []
    assert rig.consumer.next_event_in(may_sequence=False) is None
    assert rig.upkeep() == ["beat"]


def test_one_beat_proves_life_in_all_queues() -> None:
    rig = Rig("a", "b", "c")
    rig.upkeep()
    rig.advance(10)
    assert rig.upkeep() == ["beat"]


def test_a_fetch_hands_over_what_came(rig: Rig) -> None:
    rig.upkeep()
    job = rig.engine.schedule("print", 1)
    assert rig.fetch() == 1
    work = rig.in_flight.exchange(1)
    assert isinstance(work, LeasedJob)
    assert work.lease.stored_id == f"0{job.id}"
    assert work.task.name == "print"


def test_without_a_membership_nothing_is_fetched(rig: Rig) -> None:
    assert not rig.consumer.can_fetch
    assert rig.fetch() == 0
    assert rig.calls == []


def test_the_backlog_is_known_from_the_last_fetch(rig: Rig) -> None:
    rig.upkeep()
    assert rig.consumer.backlog  # nobody knows yet
    for _ in range(3):
        rig.engine.schedule("print")
    rig.fetch(2)
    assert rig.consumer.backlog
    rig.fetch(2)
    assert not rig.consumer.backlog


def test_after_a_lost_answer_the_next_call_reconciles_and_nothing_is_fetched() -> None:
    # I6
    rig = Rig(fetch=["after"])
    rig.upkeep()
    rig.engine.schedule("print")
    assert rig.fetch() == 0
    assert not rig.consumer.settled
    assert not rig.consumer.can_fetch
    rig.advance(1)
    assert not rig.consumer.can_fetch
    assert rig.upkeep() == ["reconcile"]
    assert rig.consumer.settled
    assert isinstance(rig.in_flight.exchange(1), LeasedJob)


def test_a_call_without_an_answer_is_spaced_out_and_another_queue_goes_on() -> None:
    rig = Rig("a", "b", join=["before"] * 4)
    assert rig.upkeep() == ["join", "join"]
    waits = []
    for _ in range(2):
        wait = rig.consumer.next_event_in()
        assert wait is not None
        waits.append(wait)
        rig.clock.advance(timedelta(seconds=wait))
        assert rig.upkeep() == ["join", "join"]
    assert waits == pytest.approx([0.02, 0.04])
    rig.advance(0.08)
    rig.upkeep()
    assert rig.consumer.can_fetch


def test_lost_beat_is_made_again_and_nothing_is_reconciled() -> None:
    rig = Rig(beat=["before"])
    rig.upkeep()
    rig.advance(10)
    # The backoff of the failed call is not over, so nothing else is sent.
    assert rig.upkeep() == ["beat"]
    rig.advance(0.02)
    assert rig.upkeep() == ["beat"]
    assert rig.consumer.settled
    assert rig.consumer.next_event_in() == pytest.approx(10.0)


def test_what_a_reconciliation_withholds_is_asked_for_until_it_comes() -> None:  # I6
    rig = Rig(fetch=["after"])
    rig.upkeep()
    reconcile, withheld = rig.broker.reconcile, [BrokerUnavailable("no replica has it")] * 3

    def withhold(*args: Any) -> ReconcileReply:
        reply = reconcile(*args)
        if not withheld:
            return reply
        return structs.replace(reply, missing=(), more=True, error=withheld.pop())

    rig.broker.reconcile = withhold
    rig.engine.schedule("print")
    assert rig.fetch() == 0
    rig.advance(0.02)
    calls = rig.upkeep()
    # It beats meanwhile, also while it does not ask, since the store answers.
    rig.consumer._memberships[0].not_before = rig.clock.monotonic() + 60
    rig.consumer._quiet_until = 0.0
    for _ in range(4):
        rig.advance(10)
        assert rig.upkeep() == ["beat"]
    while not rig.in_flight.held(rig.consumer._memberships[0].member):
        rig.advance(20)
        calls += rig.upkeep()
    assert calls.count("reconcile") == 4
    assert rig.consumer.settled
    assert rig.broker.counts(["spinach"])[0].leased_by_dead == 0


@pytest.mark.parametrize("max_retries", [0, 1], ids=["at most once", "at least once"])
def test_leases_that_only_the_store_knows_of_are_settled_after_a_fetch(
    max_retries: int,
) -> None:  # I3, I6
    tasks = Tasks()
    tasks.add(print, "forgotten", max_retries=max_retries)
    rig = Rig(tasks=tasks)
    rig.upkeep()
    rig.engine.schedule("forgotten")
    rig.fetch()
    # As when its outcome was answered by a server whose replica did not have it yet.
    [membership] = rig.consumer._memberships
    rig.in_flight.drop(membership.member)
    rig.fetch()
    assert not rig.consumer.settled
    assert rig.upkeep() == ["reconcile"]
    work = rig.in_flight.exchange(1)
    if max_retries:
        assert isinstance(work, LeasedJob)
    else:
        assert callable(work)
        work()
        [outcome] = rig.in_flight.collect((), 10)
        assert outcome.kind is OutcomeKind.FAILED
        assert outcome.failure is not None
        assert "forgot" in outcome.failure.message
        assert [job.task_name for job in rig.lost] == ["forgotten"]
    rig.fetch()
    assert rig.consumer.settled


def test_a_fenced_membership_is_replaced_and_its_buffer_dropped(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.upkeep()
    rig.engine.schedule("print")
    rig.fetch()
    # Another process finds it dead and takes its jobs back.
    other = rig.broker
    other.join("spinach", "other", Enrolment(lease_ms=30_000))
    for number in range(1, 8):
        rig.advance(9)
        other.fetch([FetchTurn("spinach", "other", number)], idle=0, extra=0, max_bytes=1)
    (dead,) = rig.consumer._memberships
    assert other.recover("spinach", dead.member).verdict.name == "APPLIED"
    rig.advance(1)
    assert rig.upkeep()[:2] == ["beat", "join"]
    assert rig.consumer._memberships[0].member != dead.member
    assert "Lease on queue spinach expired, rejoining" in caplog.text
    assert rig.in_flight.empty


def test_a_job_of_an_unknown_task_is_parked(rig: Rig) -> None:
    rig.upkeep()
    rig.engine.task(name="unknown")(print)
    rig.engine.schedule("unknown")
    assert rig.fetch() == 0  # that can run
    (outcome,) = rig.in_flight.collect((), 10)
    assert (outcome.kind.name, outcome.task) == ("PARK", "unknown")


def test_due_jobs_are_made_ready_when_their_time_comes(rig: Rig) -> None:
    rig.upkeep()
    rig.engine.schedule_at("print", rig.clock.now() + timedelta(seconds=5))
    rig.fetch()
    assert rig.consumer.next_event_in() == 5.0
    rig.advance(5)
    assert rig.upkeep() == ["tick"]
    assert rig.fetch() == 1


def test_in_the_end_it_only_keeps_what_is_left_alive(rig: Rig) -> None:
    rig.upkeep()
    rig.engine.schedule_at("print", rig.clock.now() + timedelta(seconds=5))
    rig.fetch()
    rig.consumer.close()
    rig.advance(10)
    assert rig.upkeep() == ["beat"]
    rig.consumer.leave()
    assert rig.broker.counts(["spinach"])[0].members == 0


def test_it_leaves_only_what_it_has_joined() -> None:
    rig = Rig("a", "b", join=["before"])
    rig.upkeep()
    rig.calls.clear()
    rig.consumer.leave()
    assert rig.calls == ["leave"]
