"""The virtual clock."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from spinach import Engine, Tasks
from spinach.exc import InvalidArgument, WorkersRunning
from spinach_memory import MemoryBroker
from spinach_testing import VirtualClock
from spinach_testing.clock import LATEST
from spinach_testing.live_clock import LiveClock

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


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


def test_it_cannot_be_turned_past_the_last_year():
    clock = VirtualClock()
    far = timedelta(days=365 * 9000)
    for turn in (clock.advance, lambda by: clock.turn(by, [])):
        with pytest.raises(InvalidArgument) as raised:
            turn(far)
        assert str(raised.value) == (
            f"Cannot advance the clock by {far!r}: it shows 2030-01-01 00:00:00+00:00 and goes up "
            "to 9999-01-01 00:00:00+00:00, which leaves datetime.timedelta(days=2910617)."
        )
    clock.advance(clock.room)
    assert clock.now() == LATEST
    with pytest.raises(InvalidArgument, match="which leaves datetime"):
        clock.advance(timedelta(microseconds=1))


@pytest.mark.parametrize(
    "start",
    [
        datetime(2031, 5, 1, 12),  # noqa: DTZ001 - naive on purpose
        datetime(2031, 5, 1, 12, tzinfo=UTC),
        datetime(2031, 5, 1, 14, tzinfo=timezone(2 * HOUR)),
    ],
    ids=str,
)
def test_it_starts_at_an_instant_of_any_zone_and_shows_it_in_utc(start):
    now = VirtualClock(start).now()
    assert (now, now.tzinfo) == (datetime(2031, 5, 1, 12, tzinfo=UTC), UTC)


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        ("2031-05-01", "start is '2031-05-01' of type str, expected a datetime"),
        (None, "start is None of type NoneType, expected a datetime"),
        (date(2031, 5, 1), "expected a datetime"),
        (datetime(1969, 12, 31, tzinfo=UTC), "expected a datetime from 1970-01-01 00:00:00"),
        (datetime(1970, 1, 1, tzinfo=timezone(HOUR)), "expected a datetime from 1970-01-01"),
        (LATEST, "and before 9999-01-01 00:00:00"),
        (datetime.max, "start is datetime.datetime(9999, 12, 31"),  # noqa: DTZ901 - as above
    ],
    ids=str,
)
def test_it_starts_at_no_other_instant(start, problem):
    with pytest.raises(InvalidArgument, match=re.escape(problem)):
        VirtualClock(start)


def test_jobs_run_on_a_clock_that_starts_at_the_first_and_near_the_last_instant():
    for start in (datetime(1970, 1, 1, tzinfo=UTC), LATEST - SECOND):
        clock, tasks, done = VirtualClock(start), Tasks(), []
        tasks.add(done.append, name="add", max_retries=1)
        engine = Engine(MemoryBroker(clock=clock), "calendar")
        engine.attach_tasks(tasks)
        tasks.schedule("add", 1)
        engine.start_workers(1, stop_when_queue_empty=True)
        assert done == [1]


def test_what_is_first_imported_in_frozen_time_is_of_the_real_class():
    code = (
        "import datetime, freezegun\n"
        "import spinach.clock  # it has constants of its own\n"
        "with freezegun.freeze_time('2020-01-01'):\n"
        "    from spinach_testing.clock import LATEST, START, VirtualClock\n"
        "    from spinach_testing.live_clock import LiveClock\n"
        "    start = VirtualClock(datetime.datetime(2031, 5, 1))\n"
        "    clocks = [VirtualClock(), start, LiveClock()]\n"
        "dates = [LATEST, START, *(clock.now() for clock in clocks)]\n"
        "assert {type(each) for each in dates} == {datetime.datetime}, dates\n"
        "assert [each.year for each in dates] == [9999, 2030, 2030, 2031, 2020]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


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


# -- turned while threads run ----------------------------------------------------


@pytest.mark.concurrency
def test_a_turn_between_the_look_and_the_wait_does_not_delay_the_deadline():
    """A thread works out when to wake, the clock is turned to that instant, it waits."""
    clock, condition = VirtualClock(), threading.Condition()
    looked, turned = threading.Event(), threading.Event()
    answers = []

    def body() -> None:
        due = clock.monotonic() + 10
        looked.set()
        assert turned.wait(10)
        with condition:
            answers.append(clock.wait(condition, due))

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    assert looked.wait(10)
    clock.advance(10 * SECOND)
    turned.set()
    thread.join(10)
    assert answers == [False]


def test_a_wait_that_ended_is_the_next_ones_beginning():
    clock, condition = VirtualClock(), threading.Condition()
    clock.monotonic()
    clock.advance(10 * SECOND)
    waiting = Waiting(clock, 10)
    clock.advance(9 * SECOND)
    with condition:
        # Of this thread, which turned the clock itself.
        assert clock.wait(condition, 0) is False
    with waiting.condition:
        assert waiting.answer is None
    clock.advance(1 * SECOND)
    assert waiting.ended() is False


@pytest.mark.concurrency
def test_the_clock_is_not_turned_while_a_thread_is_awake():
    clock = VirtualClock()
    go = threading.Event()
    awake = threading.Thread(target=go.wait, args=(20,), daemon=True)
    awake.start()
    waiting = Waiting(clock, 10)
    asleep = until_asleep(clock, waiting)

    assert clock.turn(SECOND, [asleep, awake]) is False
    assert clock.monotonic() == 0
    go.set()
    awake.join(10)
    assert clock.turn(SECOND, [asleep, awake]) is True
    assert clock.monotonic() == 1
    clock.advance(10 * SECOND)
    assert waiting.ended() is False


@pytest.mark.concurrency
def test_a_thread_that_was_notified_counts_as_awake_before_it_runs():
    clock = VirtualClock()
    waiting = Waiting(clock, 10)
    thread = until_asleep(clock, waiting)
    with waiting.condition:
        waiting.condition.notify()
        # It cannot come back while the condition is held.
        assert clock.at_rest([thread]) is False
        assert clock.turn(SECOND, [thread]) is False
    assert waiting.ended() is True


@pytest.mark.concurrency
def test_a_thread_whose_deadline_the_clock_reached_counts_as_awake_before_it_runs():
    clock = VirtualClock()
    early, late = Waiting(clock, 1), Waiting(clock, 9)
    threads = [until_asleep(clock, waiting) for waiting in (early, late)]
    seen = []

    with early.condition:
        turner = threading.Thread(target=clock.turn, args=(SECOND, threads), daemon=True)
        turner.start()
        # The turner needs the condition to notify; time has passed before that.
        for _ in range(1000):
            if clock.monotonic() == 1:
                break
            threading.Event().wait(0.01)
        seen.append(clock.turn(SECOND, threads))
    turner.join(10)
    assert seen == [False]
    assert early.ended() is False
    assert clock.turn(8 * SECOND, threads) is True
    assert late.ended() is False


def until_asleep(clock: VirtualClock, waiting: Waiting) -> threading.Thread:
    with waiting.condition:
        pass  # it holds the condition until it sleeps
    assert clock.at_rest([waiting.thread])
    return waiting.thread


def test_only_one_worker_turns_a_clock_and_meanwhile_nobody_else():
    clock = VirtualClock()
    with clock.reserved():
        with pytest.raises(WorkersRunning, match="inside a task"):
            clock.advance(SECOND)
        with pytest.raises(WorkersRunning, match="Another worker"), clock.reserved():
            pass
        assert clock.turn(SECOND, [])
    clock.advance(SECOND)
    assert clock.monotonic() == 2


# -- running along -----------------------------------------------------------------


def test_a_clock_that_flows_runs_along_with_real_time_and_can_be_turned():
    clock, condition = VirtualClock(), threading.Condition()
    clock.flow()
    clock.flow()
    before, offset_ms = clock.monotonic(), clock.offset_ms()
    with condition:
        assert clock.wait(condition, 0.01) is False
    assert clock.monotonic() - before >= 0.01

    waiting = Waiting(clock, 3600)
    clock.advance(3600 * SECOND)
    assert waiting.ended() is False
    assert clock.offset_ms() - offset_ms == 3_600_000


def test_a_wait_for_a_store_ends_when_the_clock_reaches_its_deadline():
    clock = VirtualClock()
    clock.flow()
    entered, woken, missed = threading.Event(), threading.Event(), []

    def body() -> None:
        with clock.waiting_for_store(3600, woken.set) as absence:
            entered.set()
            assert woken.wait(10)
        missed.append(absence.turned)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    assert entered.wait(10)
    assert clock.turn(1800 * SECOND, [thread])
    assert not woken.is_set()
    assert clock.turn(1800 * SECOND, [thread])
    thread.join(10)
    assert missed == [3600 * SECOND]


def test_a_wait_for_a_store_that_is_broken_off_counts_as_awake():
    clock = VirtualClock()
    clock.flow()
    with clock.waiting_for_store(3600, lambda: None):
        assert clock.at_rest([threading.current_thread()])
        clock.rouse()
        assert not clock.at_rest([threading.current_thread()])


@pytest.mark.concurrency
def test_a_wait_for_a_store_ends_before_waits_on_the_clock_do():
    """What it sends tells the time from before the turn, and is to come first."""
    clock, order = VirtualClock(), []
    broken_off, condition = threading.Event(), threading.Condition()

    def away():
        with clock.waiting_for_store(5.0, broken_off.set):
            assert broken_off.wait(10)
            order.append("store")

    def waits():
        with condition:
            clock.wait(condition, 5.0)
        order.append("clock")

    threads = [threading.Thread(target=each) for each in (waits, away)]
    for thread in threads:
        thread.start()
    while not clock.turn(10 * SECOND, threads):
        pass  # not asleep yet
    for thread in threads:
        thread.join(10)
    assert order == ["store", "clock"]


# -- the machine's -------------------------------------------------------------------


def test_the_live_clock_runs_and_cannot_be_turned():
    clock, condition = LiveClock(), threading.Condition()
    before = clock.now(), clock.monotonic()
    with condition:
        assert clock.wait(condition, 0.01) is False
    assert clock.now() - before[0] >= timedelta(seconds=0.01)
    assert clock.monotonic() - before[1] >= 0.01
    with pytest.raises(WorkersRunning) as raised:
        clock.advance(SECOND)
    assert str(raised.value) == (
        "Cannot advance by datetime.timedelta(seconds=1): spinach_live_worker runs on the "
        "machine's clock. Ask for spinach_worker instead to turn time."
    )
