"""A wake_up: no ring is lost, and many count as one."""

from __future__ import annotations

import threading

import pytest

from spinach.clock import SystemClock
from spinach.worker.wake_up import WakeUp
from spinach_testing.clock import VirtualClock

from .support import PATIENCE


def test_a_ring_before_the_wait_counts() -> None:
    wake_up = WakeUp(VirtualClock())
    wake_up.set()
    assert wake_up.wait(60) is True


def test_several_rings_count_as_one() -> None:
    wake_up = WakeUp(VirtualClock())
    for _ in range(3):
        wake_up.set()
    assert wake_up.wait(60) is True
    assert wake_up.wait(0) is False


def test_a_wait_of_no_time_only_looks() -> None:
    assert WakeUp(VirtualClock()).wait(0) is False


def test_a_wait_ends_by_its_timeout() -> None:
    assert WakeUp(SystemClock()).wait(0.001) is False


@pytest.mark.concurrency
def test_a_ring_ends_a_wait_that_has_no_other_end() -> None:
    clock = VirtualClock()  # real time does not end a wait
    there, back = WakeUp(clock), WakeUp(clock)

    def answer() -> None:
        for _ in range(500):
            there.wait(1)
            back.set()

    thread = threading.Thread(target=answer)
    thread.start()
    for _ in range(500):
        there.set()
        assert back.wait(1)
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.concurrency
def test_who_was_set_sees_what_was_written_before_the_ring() -> None:
    clock = VirtualClock()
    wake_up = WakeUp(clock)
    news: list[int] = []
    seen = 0

    def write() -> None:
        for number in range(2000):
            news.append(number)
            wake_up.set()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    while seen < 6000:
        wake_up.wait(1)  # hangs if the ring after the last news is lost
        seen = len(news)
    for thread in threads:
        thread.join()
