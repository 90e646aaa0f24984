"""What is told once when it begins and once when it is over: pauses, full stores, parks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from spinach import Tasks
from spinach.brokers.calls import BeatProgress, BeatReply, FetchReply, QueueCounts, Turn, Verdict
from spinach.exc import BrokerError, BrokerUnavailable
from spinach.worker.conditions import Conditions
from spinach_memory import MemoryBroker

from .support import Bench

SECOND = timedelta(seconds=1)


class Telling(MemoryBroker):
    """Says that queues are paused or the store is full, as a test wants it."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.store, clock=bench.clock)
        self.paused: set[str] = set()
        self.full: set[str] = set()
        self.counted: list[list[str]] = []

    def fetch(self, turns: Sequence[Any], **options: Any) -> list[FetchReply]:
        return [
            msgspec.structs.replace(reply, paused=turn.queue in self.paused)
            for turn, reply in zip(turns, super().fetch(turns, **options), strict=True)
        ]

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        return [
            msgspec.structs.replace(reply, full=turn.queue in self.full)
            for turn, reply in zip(turns, super().beat(turns, progress), strict=True)
        ]

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        self.counted.append(list(queues))
        return super().counts(queues)


@pytest.fixture
def broker(bench: Bench, caplog: pytest.LogCaptureFixture) -> Telling:
    caplog.set_level(logging.INFO, "spinach.worker")
    return Telling(bench)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Levels and texts of what was logged since the last time."""
    records = [r for r in caplog.records if r.name == "spinach.worker"]
    caplog.clear()
    return [(record.levelname, record.getMessage()) for record in records]


def start(bench: Bench, broker: Telling, *queues: str, tasks: Tasks | None = None) -> None:
    engine = bench.engine(tasks, broker=broker, namespace="app")
    engine.start_workers(2, queues or "spinach", block=False)
    bench.settle()


def test_a_pause_is_told_once_and_its_end_too(
    bench: Bench, broker: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    broker.paused.add("mail")
    start(bench, broker, "spinach", "mail")
    bench.advance(30 * SECOND)
    [record] = [r for r in caplog.records if r.name == "spinach.worker"]
    assert record.queue == "mail"  # type: ignore[attr-defined]
    assert told(caplog) == [
        ("WARNING", "Queue mail is paused, workers take no job of it until it is resumed")
    ]
    broker.paused.clear()
    bench.advance(30 * SECOND)
    assert told(caplog) == [("INFO", "Queue mail is resumed")]
    broker.paused.update({"mail", "spinach"})
    bench.advance(10 * SECOND)
    assert [level for level, _ in told(caplog)] == ["WARNING", "WARNING"]


def test_a_full_broker_is_told_of_once_however_many_queues_see_it(
    bench: Bench, broker: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    start(bench, broker, "spinach", "mail")
    broker.full.update({"spinach", "mail"})
    bench.advance(60 * SECOND)
    [(level, text)] = told(caplog)
    assert level == "WARNING"
    assert text.startswith("Broker is full: it refuses new jobs")
    broker.full.clear()
    bench.advance(15 * SECOND)
    assert told(caplog) == []  # One beat without it may be chance.
    bench.advance(30 * SECOND)
    assert told(caplog) == [("INFO", "Broker is no longer full, it takes new jobs again")]
    bench.advance(60 * SECOND)
    assert told(caplog) == []


def test_parked_jobs_are_counted_once_and_told_with_their_task(
    bench: Bench, broker: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    newer = Tasks()
    newer.add(print, "report.new")
    newer.add(print, "report.other")
    new = bench.engine(newer, namespace="app")
    for _ in range(3):
        new.schedule("report.new")
    new.schedule("report.other")
    start(bench, broker)
    bench.advance(30 * SECOND)
    [record] = [r for r in caplog.records if r.name == "spinach.worker"]
    assert (record.queue, record.parked) == (  # type: ignore[attr-defined]
        "spinach",
        {"report.new": 3, "report.other": 1},
    )
    [(level, text)] = told(caplog)
    assert level == "WARNING"
    assert "parked in queue spinach" in text
    assert "report.new (3), report.other (1)" in text
    assert broker.counted == [["spinach"]]

    # More of a task that was told of is no news, nor costs another count.
    new.schedule("report.new")
    bench.advance(60 * SECOND)
    assert told(caplog) == []
    assert broker.counted == [["spinach"]]

    new.start_workers(1, block=False)
    bench.advance(5 * SECOND)
    new.stop_workers()
    assert bench.counts(new).parked == 0
    told(caplog)
    bench.advance(60 * SECOND)
    assert told(caplog) == [
        ("INFO", "No jobs are parked in queue spinach any more of: report.new, report.other")
    ]


def test_a_process_that_knows_the_task_tells_of_no_park(
    bench: Bench, broker: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    newer = Tasks()
    newer.add(lambda: None, "report.new")
    old = bench.engine(Tasks(), namespace="app")
    new = bench.engine(newer, namespace="app")
    new.schedule("report.new")
    old.start_workers(1, stop_when_queue_empty=True)
    assert bench.counts(old).parked == 1
    told(caplog)
    start(bench, broker, tasks=newer)
    bench.advance(60 * SECOND)
    assert told(caplog) == []
    assert broker.counted == []


def test_a_process_that_sees_nothing_of_it_makes_no_further_call(
    bench: Bench, broker: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    start(bench, broker)
    bench.advance(120 * SECOND)
    assert told(caplog) == []
    assert broker.counted == []


# -- what comes and goes ---------------------------------------------------------


class Counting(Telling):
    """Counts what a test says, or fails."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.answer: dict[str, int] | BrokerError = {}

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        self.counted.append(list(queues))
        if isinstance(self.answer, BrokerError):
            raise self.answer
        return [QueueCounts(verdict=Verdict.APPLIED, queue=q, parks=self.answer) for q in queues]


@pytest.fixture
def counting(bench: Bench, caplog: pytest.LogCaptureFixture) -> Counting:
    caplog.set_level(logging.INFO, "spinach.worker")
    return Counting(bench)


def fetched(*parks: str, paused: bool = False) -> FetchReply:
    return FetchReply(verdict=Verdict.APPLIED, parks=parks, paused=paused)


def test_parks_that_are_empty_before_they_are_counted_cost_a_count_in_ten_seconds(
    bench: Bench, counting: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    # As in a rolling deploy, where others take at once what is parked here.
    notices = Conditions(counting, lambda _: False)
    for _ in range(61):
        notices.fetched("mail", fetched("new"))
        notices.count()
        bench.clock.advance(SECOND)
    assert len(counting.counted) == 7
    assert told(caplog) == []


def test_a_park_that_is_empty_for_a_moment_is_told_of_once(
    bench: Bench, counting: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    notices = Conditions(counting, lambda _: False)
    counting.answer = {"new": 5}
    for second in range(100):
        notices.fetched("mail", fetched(*["new"] * (second % 20 == 0)))
        notices.count()
        bench.clock.advance(SECOND)
    assert [level for level, _ in told(caplog)] == ["WARNING"]


def test_a_pause_hides_parks_and_does_not_end_them(
    bench: Bench, counting: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    notices = Conditions(counting, lambda _: False)
    counting.answer = {"new": 5}
    notices.fetched("mail", fetched("new"))
    notices.count()
    for _ in range(100):
        notices.fetched("mail", fetched(paused=True))
        notices.count()
        bench.clock.advance(SECOND)
    assert len(counting.counted) == 1
    notices.fetched("mail", fetched("new"))
    texts = [text.partition(",")[0] for _, text in told(caplog)]
    assert texts == [
        "Jobs are parked in queue mail",
        "Queue mail is paused",
        "Queue mail is resumed",
    ]


def test_a_count_that_fails_is_made_again_later(
    bench: Bench, counting: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    notices = Conditions(counting, lambda _: False)
    counting.answer = BrokerUnavailable("away")
    notices.fetched("mail", fetched("new"))
    notices.count()
    assert told(caplog) == []
    counting.answer = {"new": 2}
    notices.fetched("mail", fetched("new"))
    notices.count()
    assert len(counting.counted) == 1
    bench.clock.advance(10 * SECOND)
    notices.fetched("mail", fetched("new"))
    notices.count()
    assert len(told(caplog)) == 1


def test_a_beat_without_an_answer_does_not_say_that_there_is_memory_again(
    bench: Bench, counting: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    notices = Conditions(counting, lambda _: False)
    turns = [Turn("mail", "m", 1)]
    notices.beaten(turns, [BeatReply(verdict=Verdict.APPLIED, full=True)])
    bench.clock.advance(60 * SECOND)
    notices.beaten(turns, [BeatReply(verdict=Verdict.UNKNOWN)])
    assert [level for level, _ in told(caplog)] == ["WARNING"]
    notices.beaten(turns, [BeatReply(verdict=Verdict.APPLIED)])
    assert [level for level, _ in told(caplog)] == ["INFO"]
