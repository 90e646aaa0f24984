"""A process that waits for jobs: what it sends."""

from __future__ import annotations

import itertools

import pytest

from spinach.brokers.calls import Enrolment

from .rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_wait_is_as_long_as_ever_although_a_beat_is_due(rig: Rig) -> None:
    rig.due()
    for seconds in (5.5, 4.4, 0.1):
        rig.advance(seconds)
        assert rig.fetching.wait_seconds(5.0) == 5.0
    assert rig.keep_alive.next_call_in() == 0.0


def test_wait_does_not_delay_a_declaration_that_is_to_be_made_again() -> None:
    rig = Rig()
    rig.due()
    rig._plan["join"] = ["before"]
    rig.tasks.add(repr, "limited", max_concurrency=1)
    rig.memberships.tasks_changed()
    assert rig.due() == ["join"]
    rig.advance(0.02)
    assert rig.fetching.can_fetch
    assert rig.fetching.wait_seconds(5.0) == 0.1
    assert rig.due() == []
    rig.advance(0.1)
    assert rig.due() == ["join"]


def test_with_a_short_lease_no_beat_follows_another_at_once() -> None:
    rig = Rig(lease_ms=10_000)
    rig.due()
    beats = [at for at, call in rig.idle(60) if call == "beat"]
    assert len(beats) >= 17
    assert min(later - at for at, later in itertools.pairwise(beats)) >= 3.3


def test_death_that_a_beat_tells_of_is_seen_to_while_a_fetch_waits(rig: Rig) -> None:
    rig.due()
    rig.broker.join("spinach", "doomed", Enrolment(lease_ms=3_000))
    [membership] = rig.memberships.all
    calls: list[str] = []
    for _ in range(6):  # It may take a lease until somebody is declared dead.
        rig.advance(10.0)
        calls += rig.due(fetching=False)
        if "recover" in calls:
            break
    assert calls[-2:] == ["beat", "recover"]
    assert not membership.dead


@pytest.mark.parametrize("late", [0.0, 0.001, 0.05, 0.3])
@pytest.mark.parametrize("phase", [0.0, 0.5, 1.2, 2.0, 4.0, 7.0, 9.99])
def test_an_idle_process_sends_ten_commands_in_twenty_seconds_at_most(
    rig: Rig, late: float, phase: float
) -> None:
    rig.due()
    rig.advance(phase)
    rig.wait(5)
    rig.due()
    rig.advance(phase)  # A job ran, and then it has nothing to do.
    sent = rig.idle(200, late)
    costs = {"fetch": 2, "beat": 1}  # One that waits goes out with its BZPOPMIN.
    for start, _ in sent:
        window = [call for at, call in sent if 0 <= at - start < 20 - 1e-6]
        assert sum(costs[call] for call in window) <= 10, (start, window)
