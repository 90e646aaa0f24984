"""What a process asks of its broker, and when: the calls of arbiter and subscriber."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs

from spinach import Tasks
from spinach.brokers.calls import Enrolment, FetchTurn, ReconcileReply, Turn, Verdict
from spinach.exc import BrokerUnavailable
from spinach.outcome import OutcomeKind
from spinach.worker.buffer import LeasedJob

from .rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_it_joins_each_queue_once() -> None:
    rig = Rig("a", "b")
    assert rig.memberships.queues == ("a", "b")
    assert rig.due() == ["join", "join"]
    assert rig.due() == []
    assert [counts.members for counts in rig.broker.counts(["a", "b"])] == [1, 1]


def test_a_beat_is_due_each_third_of_the_lease(rig: Rig) -> None:
    rig.due()
    assert rig.next_call_in() == 10.0
    rig.advance(9.9)
    assert rig.due() == []
    rig.advance(0.1)
    assert rig.next_call_in() == 0.0
    assert rig.due() == ["beat"]
    assert rig.next_call_in() == 10.0


def test_beats_go_out_while_a_fetch_is_under_way(rig: Rig) -> None:
    rig.due()
    fetch, meanwhile = rig.broker.fetch, []

    def slow(*args: Any, **options: Any) -> Any:
        for _ in range(3):
            rig.advance(10)
            meanwhile.append(rig.due(fetching=False))
        return fetch(*args, **options)

    rig.broker.fetch = slow
    rig.engine.schedule("print")
    assert rig.fetch() == 1
    assert meanwhile == [["beat"]] * 3
    # They took no number: else the fetch were stale.
    assert rig.fetching.settled
    assert rig.memberships.all[0].safe_until == rig.clock.monotonic() + 25


@pytest.mark.parametrize("found_by", ["beat", "fetch"])
def test_an_outage_that_outlasts_the_lease_is_told_to_be_over(
    found_by: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "spinach.worker")
    rig = Rig(beat=["before"], fetch=["before"])
    rig.due()
    (member,) = rig.memberships.all
    rig.advance(10)
    rig.due(fetching=False)
    rig.fetch()
    # Another process lives on, and recovers its jobs.
    rig.broker.join("spinach", "other", Enrolment(lease_ms=30_000))
    for _ in range(4):
        rig.advance(10)
        rig.broker.beat([Turn("spinach", "other", 0)])
    assert rig.broker.recover("spinach", member.member).verdict is Verdict.APPLIED
    if found_by == "beat":
        rig.due(fetching=False)
    else:
        rig.fetching.catch_up(closing=False)
        rig.due(fetching=False)
    assert member.fenced
    texts = [record.getMessage().partition(" ")[0] for record in caplog.records]
    assert texts == ["Broker", "Lease", "Broker"]
    assert caplog.records[-1].getMessage() == "Broker of queue spinach is available again"


def test_membership_that_a_beat_finds_fenced_gets_nothing_from_a_fetch_under_way(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.due()
    (fenced,) = rig.memberships.all
    fetch = rig.broker.fetch

    def slow(*args: Any, **options: Any) -> Any:
        replies = fetch(*args, **options)
        # Its leases are taken back while the answer is on its way.
        take_back(rig, fenced.member, fetch)
        rig.due(fetching=False)
        return replies

    rig.broker.fetch = slow
    rig.engine.schedule("print")
    assert rig.fetch() == 0
    assert rig.in_flight.empty
    assert fenced.fenced
    rig.broker.fetch = fetch
    rig.due()
    (member,) = rig.memberships.all
    assert member is not fenced
    assert member.joined
    assert caplog.text.count("Lease on queue spinach expired") == 1


def take_back(rig: Rig, dead: str, fetch: Any) -> None:
    """Another process finds a member dead and takes its jobs back."""
    rig.broker.join("spinach", "other", Enrolment(lease_ms=30_000))
    for number in range(1, 8):
        rig.advance(9)
        fetch([FetchTurn("spinach", "other", number)], idle=0, extra=0, max_bytes=1)
    assert rig.broker.recover("spinach", dead).verdict.name == "APPLIED"


def test_busy_process_asks_for_nothing_now_and_then_to_be_told_its_leases(rig: Rig) -> None:
    rig.due()
    rig.engine.schedule("print")
    rig.advance(29)
    assert rig.fetching.count_in == 1.0
    rig.fetch()  # It brings a job, and so does not count.
    assert rig.fetching.count_in == 1.0
    rig.advance(1)
    assert rig.fetching.count_in == 0.0
    rig.fetch(0)
    assert rig.fetching.count_in == 30.0


def test_one_beat_proves_life_in_all_queues() -> None:
    rig = Rig("a", "b", "c")
    rig.due()
    rig.advance(10)
    assert rig.due() == ["beat"]


def test_a_fetch_hands_over_what_came(rig: Rig) -> None:
    rig.due()
    job = rig.engine.schedule("print", 1)
    assert rig.fetch() == 1
    work = rig.in_flight.exchange(1)
    assert isinstance(work, LeasedJob)
    assert work.lease.stored_id == f"0{job.id}"
    assert work.task.name == "print"


def test_without_a_membership_nothing_is_fetched(rig: Rig) -> None:
    assert not rig.fetching.can_fetch
    assert rig.fetch() == 0
    assert rig.calls == []


def test_the_backlog_is_known_from_the_last_fetch(rig: Rig) -> None:
    rig.due()
    assert rig.fetching.backlog  # nobody knows yet
    for _ in range(3):
        rig.engine.schedule("print")
    rig.fetch(2)
    assert rig.fetching.backlog
    rig.fetch(2)
    assert not rig.fetching.backlog


def test_after_a_lost_answer_the_next_call_reconciles_and_nothing_is_fetched() -> None:
    # I6
    rig = Rig(fetch=["after"])
    rig.due()
    rig.engine.schedule("print")
    assert rig.fetch() == 0
    assert not rig.fetching.settled
    assert not rig.fetching.can_fetch
    rig.advance(1)
    assert not rig.fetching.can_fetch
    assert rig.due() == ["reconcile"]
    assert rig.fetching.settled
    assert isinstance(rig.in_flight.exchange(1), LeasedJob)


def test_a_call_without_an_answer_is_spaced_out_and_another_queue_goes_on() -> None:
    rig = Rig("a", "b", join=["before"] * 4)
    assert rig.due() == ["join", "join"]
    waits = []
    for _ in range(2):
        wait = rig.next_call_in()
        assert wait is not None
        waits.append(wait)
        rig.clock.advance(timedelta(seconds=wait))
        assert rig.due() == ["join", "join"]
    assert waits == pytest.approx([0.02, 0.04])
    rig.advance(0.08)
    rig.due()
    assert rig.fetching.can_fetch


def test_lost_beat_is_made_again_and_nothing_is_reconciled() -> None:
    rig = Rig(beat=["before"])
    rig.due()
    rig.advance(10)
    # The backoff of the failed call is not over, so nothing else is sent.
    assert rig.due() == ["beat"]
    rig.advance(0.02)
    assert rig.due() == ["beat"]
    assert rig.fetching.settled
    assert rig.next_call_in() == pytest.approx(10.0)


def test_what_a_reconciliation_withholds_is_asked_for_until_it_comes() -> None:  # I6
    rig = Rig(fetch=["after"])
    rig.due()
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
    calls = rig.due()
    # It beats meanwhile, also while it does not ask, since the store answers.
    rig.memberships.all[0].fetching.not_before = rig.clock.monotonic() + 60
    for _ in range(4):
        rig.advance(10)
        assert rig.due() == ["beat"]
    while not rig.in_flight.held(rig.memberships.all[0].member):
        rig.advance(20)
        calls += rig.due()
    assert calls.count("reconcile") == 4
    assert rig.fetching.settled
    assert rig.broker.counts(["spinach"])[0].leased_by_dead == 0


@pytest.mark.parametrize("max_retries", [0, 1], ids=["at most once", "at least once"])
def test_leases_that_only_the_store_knows_of_are_settled_after_a_fetch(
    max_retries: int,
) -> None:  # I3, I6
    tasks = Tasks()
    tasks.add(print, "forgotten", max_retries=max_retries)
    rig = Rig(tasks=tasks)
    rig.due()
    rig.engine.schedule("forgotten")
    rig.fetch()
    # As when its outcome was answered by a server whose replica did not have it yet.
    [membership] = rig.memberships.all
    rig.in_flight.drop(membership.member)
    rig.fetch()
    assert not rig.fetching.settled
    assert rig.due() == ["reconcile"]
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
    assert rig.fetching.settled


def test_a_fenced_membership_is_replaced_and_its_buffer_dropped(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.due()
    rig.engine.schedule("print")
    rig.fetch()
    (dead,) = rig.memberships.all
    take_back(rig, dead.member, rig.broker.fetch)
    rig.advance(1)
    assert rig.due() == ["beat"]
    assert rig.keep_alive.next_call_in() == 0.0
    assert rig.due()[:1] == ["join"]
    assert rig.memberships.all[0].member != dead.member
    assert "Lease on queue spinach expired, rejoining" in caplog.text
    assert rig.in_flight.empty


def test_a_job_of_an_unknown_task_is_parked(rig: Rig) -> None:
    rig.due()
    rig.engine.task(name="unknown")(print)
    rig.engine.schedule("unknown")
    assert rig.fetch() == 0  # that can run
    (outcome,) = rig.in_flight.collect((), 10)
    assert (outcome.kind.name, outcome.task) == ("PARK", "unknown")


def test_due_jobs_are_made_ready_when_their_time_comes(rig: Rig) -> None:
    rig.due()
    rig.engine.schedule_at("print", rig.clock.now() + timedelta(seconds=5))
    rig.fetch()
    assert rig.next_call_in() == 5.0
    rig.advance(5)
    assert rig.due() == ["tick"]
    assert rig.fetch() == 1


def test_in_the_end_it_only_keeps_what_is_left_alive(rig: Rig) -> None:
    rig.due()
    rig.engine.schedule_at("print", rig.clock.now() + timedelta(seconds=5))
    rig.fetch()
    rig.keep_alive.close()
    rig.advance(10)
    assert rig.due() == ["beat"]
    rig.keep_alive.leave()
    assert rig.broker.counts(["spinach"])[0].members == 0


def test_it_leaves_only_what_it_has_joined() -> None:
    rig = Rig("a", "b", join=["before"])
    rig.due()
    rig.calls.clear()
    rig.keep_alive.leave()
    assert rig.calls == ["leave"]
