"""A process that waits for jobs: what it sends."""

from __future__ import annotations

import itertools

import pytest

from spinach.brokers.calls import Enrolment

from .rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_beat_that_would_cut_a_wait_short_goes_before_it(rig: Rig) -> None:
    rig.upkeep()
    for seconds, calls in ((5.5, []), (0.5, ["beat"]), (5.9, []), (3.0, ["beat"]), (0.0, [])):
        rig.advance(seconds)
        rig.calls.clear()
        assert rig.consumer.prepare_wait() == 5.0
        assert rig.calls == calls


def test_a_wait_does_not_delay_what_follows_a_beat_that_was_lost() -> None:
    rig = Rig(beat=["before"])
    rig.upkeep()
    rig.advance(9)
    rig.calls.clear()
    assert rig.consumer.prepare_wait() == 0.1
    assert rig.calls == ["beat"]
    assert rig.upkeep() == []  # The pause after a call without an answer.
    rig.advance(5)
    assert rig.upkeep() == ["beat"]


def test_with_a_short_lease_no_beat_follows_another_at_once() -> None:
    rig = Rig(lease_ms=10_000)
    calls = [call for _, call in rig.idle(60)]
    assert "beat" in calls
    assert ("beat", "beat") not in set(itertools.pairwise(calls))


def test_death_that_a_beat_before_a_wait_tells_of_is_seen_to_during_the_wait(rig: Rig) -> None:
    rig.upkeep()
    rig.broker.join("spinach", "doomed", Enrolment(lease_ms=3_000))
    for _ in range(4):  # It may take a lease until somebody is declared dead.
        rig.advance(9.0)
        rig.upkeep()
        rig.consumer.prepare_wait()
        [membership] = rig.consumer._memberships
        if membership.dead:
            break
    assert membership.dead == "doomed"
    assert rig.upkeep(may_sequence=False) == ["recover"]


@pytest.mark.parametrize("late", [0.0, 0.001, 0.05, 0.3])
@pytest.mark.parametrize("phase", [0.0, 0.5, 1.2, 2.0, 4.0, 7.0, 9.99])
def test_an_idle_process_sends_ten_commands_in_twenty_seconds_at_most(
    rig: Rig, late: float, phase: float
) -> None:
    rig.upkeep()
    rig.advance(phase)
    rig.wait(5)
    rig.advance(phase)  # A job ran, and then it has nothing to do.
    sent = rig.idle(200, late)
    costs = {"fetch": 2, "beat": 1}  # One that waits goes out with its BZPOPMIN.
    for start, _ in sent:
        window = [call for at, call in sent if 0 <= at - start < 20 - 1e-6]
        assert sum(costs[call] for call in window) <= 10, (start, window)
