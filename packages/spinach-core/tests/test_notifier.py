"""The result notifier: many outcomes in one report, repeated until they are answered."""

from __future__ import annotations

import itertools
import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from spinach import Engine, MemoryBroker
from spinach.brokers.calls import ReportReply, Verdict
from spinach.clock import SystemClock
from spinach.const import REPORT_CHUNK
from spinach.exc import BrokerUnavailable
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach.worker import notifier
from spinach.worker.in_flight import InFlight
from spinach.worker.notifier import ResultNotifier
from spinach.worker.prefetch import Prefetch
from spinach.worker.wake_up import WakeUp
from spinach_testing.clock import VirtualClock

from .support import PATIENCE, Fixed, wait_for


class Reports:
    """What a notifier needs of a broker."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.sent: list[list[str]] = []
        self.answers: list[dict[str, Verdict]] = []
        #: Set with the outcome called 1999.
        self.all_sent = threading.Event()

    def report(self, outcomes: Any) -> ReportReply:
        self.sent.append([outcome.lease.stored_id for outcome in outcomes])
        if self.sent[-1][-1] == "1999":
            self.all_sent.set()
        answer = self.answers.pop(0) if self.answers else {}
        verdicts = tuple(answer.get(o.lease.queue, Verdict.APPLIED) for o in outcomes)
        return ReportReply(verdicts=verdicts, error=BrokerUnavailable("down"))


class Pauses(WakeUp):
    """Keeps how long it is waited at, and does not wait."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.asked: list[float] = []

    def wait(self, timeout_seconds: float) -> bool:
        self.asked.append(timeout_seconds)
        return super().wait(0)


class Rig:
    def __init__(self) -> None:
        self.broker: Any = Reports()
        self.clock = self.broker.clock
        self.wake_up = WakeUp(self.clock)
        self.ending = threading.Event()
        self.in_flight = InFlight(
            self.clock,
            Prefetch(),
            wake_subscriber=lambda: None,
            wake_arbiter=lambda: None,
            wake_notifier=self.wake_up.set,
            hurry_notifier=lambda: None,
        )
        self.hurry = Pauses()
        self.notifier = ResultNotifier(
            self.broker, self.in_flight, self.wake_up, self.ending, Fixed(), hurry=self.hurry
        )

    def post(self, *names: str, queue: str = "q") -> None:
        for name in names:
            lease = Lease(queue, "m", name, "t", True, b"", 0)
            self.in_flight.post(Outcome(OutcomeKind.SUCCEEDED, lease, "task"))


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_all_that_waits_leaves_in_one_report(rig: Rig) -> None:
    rig.post("a", "b", "c")
    assert rig.notifier.report_once() is True
    assert rig.broker.sent == [["a", "b", "c"]]
    assert rig.notifier.report_once() is False


def test_a_report_has_a_bound(rig: Rig) -> None:
    rig.post(*(str(n) for n in range(REPORT_CHUNK + 1)))
    rig.notifier.report_once()
    rig.notifier.report_once()
    assert [len(report) for report in rig.broker.sent] == [REPORT_CHUNK, 1]


def test_what_got_no_answer_waits_and_goes_again(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.broker.answers = [{"q": Verdict.UNKNOWN}] * 2
    rig.post("a")
    rig.notifier.report_once()
    assert rig.notifier.report_once() is False  # not before its time
    rig.clock.advance(timedelta(milliseconds=20))
    rig.notifier.report_once()
    rig.clock.advance(timedelta(milliseconds=39))
    assert rig.notifier.report_once() is False
    rig.clock.advance(timedelta(milliseconds=1))
    caplog.set_level("INFO", "spinach.worker")
    rig.notifier.report_once()
    assert rig.broker.sent == [["a"]] * 3
    assert rig.in_flight.empty
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_queue_that_fails_does_not_hold_up_another(rig: Rig) -> None:
    rig.broker.answers = [{"bad": Verdict.UNKNOWN}]
    rig.post("a", queue="bad")
    rig.post("b", queue="good")
    rig.notifier.report_once()
    rig.post("c", queue="bad")
    rig.post("d", queue="good")
    rig.notifier.report_once()
    assert rig.broker.sent == [["a", "b"], ["d"]]
    rig.clock.advance(timedelta(seconds=1))
    rig.notifier.report_once()
    assert rig.broker.sent[-1] == ["a", "c"]


def test_a_refusal_is_a_warning_that_names_the_job(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.broker.answers = [{"q": Verdict.REFUSED}]
    rig.post("0abc")
    rig.notifier.report_once()
    (record,) = caplog.records
    assert (record.levelname, record.job_id) == ("WARNING", "abc")
    assert record.getMessage().startswith("Outcome of job abc does not count")
    assert rig.in_flight.empty


@pytest.mark.concurrency
def test_outcomes_that_come_while_it_reports_leave_with_the_next_report(rig: Rig) -> None:
    thread = threading.Thread(target=rig.notifier.run)
    thread.start()
    names = [str(n) for n in range(2000)]
    for name in names:
        rig.post(name)
    wait_for(rig.broker.all_sent, "the last outcome")
    rig.ending.set()
    rig.wake_up.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert [name for report in rig.broker.sent for name in report] == names


def test_reports_follow_each_other_after_a_pause(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: 0.0005 * next(ticks))
    monkeypatch.setattr(notifier, "time", clock)
    rig.post(*(str(n) for n in range(2000)))
    thread = threading.Thread(target=rig.notifier.run)
    thread.start()
    assert rig.broker.all_sent.wait(10)
    rig.ending.set()
    rig.wake_up.set()
    thread.join(10)
    assert not thread.is_alive()
    assert len(rig.broker.sent) == 2
    assert len(rig.hurry.asked) == 2
    # The report itself took half a millisecond, which is no pause.
    assert rig.hurry.asked == pytest.approx([0.0015] * 2)


@pytest.mark.concurrency
def test_outcomes_that_free_slots_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a moment this long none of the jobs behind the first would run in time.
    monkeypatch.setattr(notifier, "_REPORT_INTERVAL_SECONDS", 60 * PATIENCE)
    spin, done = Engine(MemoryBroker()), threading.Event()
    left = [4, 3, 2, 1, 0]

    @spin.task(name="one-at-a-time", max_concurrency=1)
    def one_at_a_time() -> None:
        if left.pop(0) == 0:
            done.set()

    for _ in range(5):
        spin.schedule("one-at-a-time")
    spin.start_workers(2, block=False)
    wait_for(done, "the last job")
    # Nor does a stop.
    spin.stop_workers()
    assert not left
