"""The subscriber: one waiting fetch in the arbiter's place, then the turn goes back."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from spinach.worker import subscriber
from spinach.worker.subscriber import Subscriber
from spinach.worker.wake_up import WakeUp
from spinach_testing.clock import VirtualClock

from .support import PATIENCE


class Fetches:
    """What a subscriber needs of a consumer."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.had_turn: list[bool] = []
        self.subscriber: Subscriber | None = None
        self.error: Exception | None = None
        self.jobs = 0

    def fetch(self, **order: Any) -> int:
        assert self.subscriber is not None
        self.orders.append(order)
        self.had_turn.append(self.subscriber.has_turn)
        if self.error is not None:
            raise self.error
        return self.jobs


class Rig:
    def __init__(self) -> None:
        clock = VirtualClock()
        self.consumer: Any = Fetches()
        self.wake_up, self.arbiter_wake_up = WakeUp(clock), WakeUp(clock)
        self.ending = threading.Event()
        self.subscriber = Subscriber(self.consumer, self.wake_up, self.arbiter_wake_up, self.ending)
        self.consumer.subscriber = self.subscriber

    def end(self, thread: threading.Thread) -> None:
        self.ending.set()
        self.wake_up.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.concurrency
def test_turns_are_taken_and_given_back() -> None:
    rig = Rig()
    thread = threading.Thread(target=rig.subscriber.run)
    thread.start()
    for number in range(200):
        assert not rig.subscriber.has_turn
        rig.subscriber.take_turn(idle=number, extra=2, block_seconds=5.0)
        while rig.subscriber.has_turn:
            rig.arbiter_wake_up.wait(1)  # for ever, if the turn does not come back
    rig.end(thread)
    assert [order["idle"] for order in rig.consumer.orders] == list(range(200))
    assert rig.consumer.orders[0] == {"idle": 0, "extra": 2, "block_seconds": 5.0}
    assert all(rig.consumer.had_turn)


def test_the_turn_goes_back_even_if_the_fetch_raises() -> None:
    rig = Rig()
    rig.consumer.error = ZeroDivisionError("a bug")
    rig.subscriber.take_turn(idle=1, extra=0, block_seconds=5.0)
    with pytest.raises(ZeroDivisionError):
        rig.subscriber.run()
    assert not rig.subscriber.has_turn
    assert rig.arbiter_wake_up.wait(0)


def test_without_a_turn_nothing_is_fetched() -> None:
    rig = Rig()
    thread = threading.Thread(target=rig.subscriber.run)
    thread.start()
    rig.end(thread)
    assert rig.consumer.orders == []


@pytest.mark.parametrize("jobs, yields", [(0, 0), (3, 1)])
def test_worker_that_was_woken_goes_first(
    jobs: int, yields: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig()
    rig.consumer.jobs = jobs
    slept: list[bool] = []
    # Before the turn goes back, which wakes the arbiter.
    pausing = SimpleNamespace(sleep=lambda _: slept.append(rig.subscriber.has_turn))
    monkeypatch.setattr(subscriber, "time", pausing)
    rig.subscriber.take_turn(idle=3, extra=0, block_seconds=5.0)
    thread = threading.Thread(target=rig.subscriber.run)
    thread.start()
    assert rig.arbiter_wake_up.wait(PATIENCE)
    rig.end(thread)
    assert slept == [True] * yields
