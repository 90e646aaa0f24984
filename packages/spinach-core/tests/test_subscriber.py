"""The subscriber: when it fetches, when it waits, and how it ends."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from spinach.worker import subscriber
from spinach.worker.prefetch import FetchSize
from spinach.worker.subscriber import Subscriber
from spinach.worker.wake_up import WakeUp
from spinach_testing.clock import VirtualClock

from .support import PATIENCE

NOTHING = FetchSize(0, 0, low=False)


class Rig:
    """A subscriber between calls and in-flight jobs of the test's own."""

    def __init__(self, *, stop_when_empty: bool = False) -> None:
        self.clock = VirtualClock()
        self.events: list[Any] = []
        #: What each look at the in-flight jobs says; then nothing is wanted.
        self.sizes: list[FetchSize] = []
        self.brings = 0
        self.error: Exception | None = None
        self.fetching: Any = SimpleNamespace(
            can_fetch=True, backlog=False, settled=True, count_in=30.0,
            fetch=self._fetch,
            catch_up=lambda closing: None,
            wait_seconds=lambda most: most,
            next_call_in=lambda closing: 60.0,
        )  # fmt: skip
        self.in_flight: Any = SimpleNamespace(
            fetch_size=lambda: self.sizes.pop(0) if self.sizes else NOTHING,
            stale_in=lambda: None,
            withdraw_stale=lambda: None,
            give_back=lambda: self.events.append("give back"),
        )
        self.looked = threading.Event()
        self.wake_up, self.ending = WakeUp(self.clock), threading.Event()
        self.subscriber = Subscriber(
            self.clock, self.fetching, self.in_flight, self.wake_up, self.ending,
            stop_when_empty=stop_when_empty,
            wake_arbiter=lambda: self.events.append("arbiter"),
        )  # fmt: skip

    def _fetch(self, **asked: Any) -> int:
        self.events.append(tuple(asked.values()))
        if self.error is not None:
            raise self.error
        return self.brings

    def step(self) -> bool:
        return self.subscriber.step()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_with_idle_threads_and_nothing_known_it_waits_for_a_wake_up(rig: Rig) -> None:
    rig.sizes = [FetchSize(3, 2, low=True)]
    assert rig.step()  # to look again at once: nobody else would
    assert rig.events == [(3, 2, 5.0)]


def test_with_jobs_known_it_does_not_wait(rig: Rig) -> None:
    rig.fetching.backlog, rig.brings = True, 3
    rig.sizes = [FetchSize(3, 2, low=True)]
    assert not rig.step()  # each thread has a job, and asks when it wants the next one
    assert rig.events == [(3, 2)]


def test_without_idle_threads_it_fetches_for_a_low_buffer_only(rig: Rig) -> None:
    rig.fetching.backlog, rig.brings = True, 2
    rig.sizes = [FetchSize(0, 2, low=False), FetchSize(0, 2, low=True)]
    assert not rig.step()
    assert rig.events == []
    assert rig.step()
    assert rig.events == [(0, 2)]


def test_it_fetches_nothing_from_queues_that_cannot_be_fetched_from(rig: Rig) -> None:
    rig.fetching.can_fetch = False
    rig.sizes = [FetchSize(3, 2, low=True)]
    assert not rig.step()
    assert rig.events == []


def test_a_fetch_of_nothing_goes_out_when_the_leases_are_to_be_counted(rig: Rig) -> None:
    rig.fetching.count_in = 0.0
    assert not rig.step()
    assert rig.events == [(0, 0)]


@pytest.mark.parametrize("stop_when_empty", [True, False])
def test_the_arbiter_hears_of_a_fetch_that_brought_nothing_if_it_has_to_look(
    stop_when_empty: bool,
) -> None:
    rig = Rig(stop_when_empty=stop_when_empty)
    rig.sizes = [FetchSize(1, 0, low=False)] * 2
    rig.step()
    assert rig.events == [(1, 0, 1.0), "arbiter"] if stop_when_empty else [(1, 0, 5.0)]
    rig.events.clear()
    rig.brings = 1  # its outcome will tell
    rig.step()
    assert "arbiter" not in rig.events


@pytest.mark.parametrize("jobs, yields", [(0, 0), (3, 1)])
def test_worker_that_was_woken_goes_first(
    jobs: int, yields: int, monkeypatch: pytest.MonkeyPatch, rig: Rig
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(subscriber, "time", SimpleNamespace(sleep=slept.append))
    rig.brings, rig.sizes = jobs, [FetchSize(3, 0, low=False)]
    rig.step()
    assert len(slept) == yields


def run(rig: Rig) -> threading.Thread:
    rig.subscriber.open()
    thread = threading.Thread(target=rig.subscriber.run)
    thread.start()
    return thread


def join(thread: threading.Thread) -> None:
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.concurrency
def test_closed_it_gives_back_what_came_and_ends(rig: Rig) -> None:
    thread = run(rig)
    rig.subscriber.close()
    join(thread)
    assert rig.subscriber.ended
    assert rig.events == ["give back", "arbiter"]


@pytest.mark.concurrency
def test_closed_it_settles_first_what_a_lost_answer_left_open(rig: Rig) -> None:
    rig.fetching.settled = False

    def settle(closing: bool) -> None:
        if closing:
            rig.events.append("settle")
            rig.fetching.settled = True

    rig.fetching.catch_up = settle
    rig.subscriber.close()
    join(run(rig))
    assert rig.events == ["settle", "give back", "arbiter"]


@pytest.mark.concurrency
def test_told_to_end_at_once_it_settles_nothing(rig: Rig) -> None:
    rig.fetching.settled = False
    thread = run(rig)
    rig.subscriber.close()
    rig.ending.set()
    rig.wake_up.set()
    join(thread)
    assert rig.events == ["give back", "arbiter"]


def test_it_has_ended_as_well_when_a_fetch_raises(rig: Rig) -> None:
    rig.error, rig.sizes = ZeroDivisionError("a bug"), [FetchSize(1, 0, low=False)]
    rig.subscriber.open()
    with pytest.raises(ZeroDivisionError):
        rig.subscriber.run()
    assert rig.subscriber.ended
    assert rig.events == [(1, 0, 5.0), "give back", "arbiter"]


def test_it_fetches_nothing_before_all_threads_have_begun(rig: Rig) -> None:
    rig.sizes = [FetchSize(1, 0, low=False)]
    rig.subscriber.close()
    rig.subscriber.run()
    assert rig.events == ["give back", "arbiter"]
