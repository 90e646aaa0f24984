"""The virtual clock."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from spinach.exc import InvalidArgument
from spinach_testing import VirtualClock

SECOND = timedelta(seconds=1)


def test_it_stands_still_until_it_is_turned():
    clock = VirtualClock()
    before = clock.now(), clock.monotonic()
    assert (clock.now(), clock.monotonic()) == before

    clock.advance(90 * SECOND)

    assert clock.now() - before[0] == 90 * SECOND
    assert clock.monotonic() - before[1] == 90


@pytest.mark.parametrize("span", [5, -SECOND, None])
def test_it_turns_by_spans_only_and_never_back(span):
    with pytest.raises(InvalidArgument, match="Write advance"):
        VirtualClock().advance(span)


def test_a_wait_of_no_time_ends_at_once():
    condition = threading.Condition()
    with condition:
        assert VirtualClock().wait(condition, 0) is False


class Waiting:
    """A thread that waits on a clock; `answer` is what the wait returned."""

    def __init__(self, clock: VirtualClock, seconds: float | None) -> None:
        self.condition = threading.Condition()
        self.answer: bool | None = None
        waiting = threading.Event()

        def body() -> None:
            with self.condition:
                waiting.set()
                self.answer = clock.wait(self.condition, seconds)

        self.thread = threading.Thread(target=body, daemon=True)
        self.thread.start()
        assert waiting.wait(10)

    def ended(self) -> bool | None:
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.answer


@pytest.mark.concurrency
def test_a_wait_ends_when_its_deadline_is_reached_and_not_before():
    clock = VirtualClock()
    waiting = Waiting(clock, 10)
    clock.advance(9 * SECOND)
    with waiting.condition:
        assert waiting.answer is None

    clock.advance(1 * SECOND)

    assert waiting.ended() is False


@pytest.mark.concurrency
def test_a_notification_ends_a_wait():
    for seconds in (10, None):
        waiting = Waiting(VirtualClock(), seconds)
        with waiting.condition:
            waiting.condition.notify()
        assert waiting.ended() is True
