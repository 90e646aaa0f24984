"""What must not end a worker thread, lose an outcome or silence the arbiter."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from spinach import Batch, Engine, RetryException, Tasks, signals
from spinach.brokers.calls import FireReply, ReportReply, Verdict
from spinach.clock import as_utc
from spinach.exc import BrokerError, BrokerUnavailable, DuplicateTask, InvalidArgument
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach.worker.pending import PendingOutcome, PendingOutcomes
from spinach_memory import MemoryBroker
from spinach_testing import TestWorker, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Sequence


def outcome(kind: OutcomeKind, stored_id: str) -> Outcome:
    return Outcome(kind, Lease("q", "m", stored_id, "1", True, b"", 0), "t")


@pytest.mark.parametrize("raised", [SystemExit(1), KeyboardInterrupt(), ValueError()])
@pytest.mark.concurrency
def test_a_receiver_that_raises_anything_ends_no_thread(raised: BaseException) -> None:
    engine = Engine(MemoryBroker())
    done: list[int] = []
    engine.task(name="t")(lambda: done.append(1))

    def receiver(namespace: str, **_: Any) -> None:
        raise raised

    with signals.job_started.connected_to(receiver, engine.namespace):
        engine.schedule("t")
        engine.schedule("t")
        engine.start_workers(1, stop_when_queue_empty=True)

    assert done == [1, 1]
    assert engine.failed.list() == []


@pytest.mark.concurrency
def test_a_logging_filter_that_raises_harms_no_job() -> None:
    engine = Engine(MemoryBroker())
    engine.task(name="broken")(lambda: 1 // 0)
    logger = logging.getLogger("spinach.job")

    def raising(record: logging.LogRecord) -> bool:
        raise RuntimeError(record.msg)

    logger.addFilter(raising)
    try:
        engine.schedule("broken")
        engine.start_workers(1, stop_when_queue_empty=True)
    finally:
        logger.removeFilter(raising)

    (entry,) = engine.failed.list()
    assert entry.error == "builtins.ZeroDivisionError"


@pytest.mark.concurrency
def test_a_retry_at_an_instant_that_cannot_be_leaves_the_choice_to_the_backoff(
    spinach_engine: Engine, spinach_worker: TestWorker
) -> None:
    runs: list[int] = []

    @spinach_engine.task(name="t", max_retries=1)
    def task() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise RetryException(at=datetime.max.replace(tzinfo=UTC))

    spinach_engine.schedule(task)
    spinach_worker.advance(timedelta(minutes=1))

    assert runs == [1, 1]


def test_the_last_instant_that_is_not_a_whole_millisecond_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="outside the years 1 to 9999"):
        as_utc(datetime.max)  # noqa: DTZ901 - naive counts as UTC


def test_a_report_does_not_part_releases() -> None:
    pending = PendingOutcomes()
    for number in range(3):
        pending.add(PendingOutcome(outcome(OutcomeKind.SUCCEEDED, f"1s{number}")))
    for number in range(5):
        pending.add(PendingOutcome(outcome(OutcomeKind.RELEASE, f"1r{number}")))
    pending.add(PendingOutcome(outcome(OutcomeKind.SUCCEEDED, "1last")))

    first = [one.lease.stored_id for one in pending.collect((), 5)]
    pending.answered([Verdict.APPLIED] * len(first), Counter())
    second = [one.lease.stored_id for one in pending.collect((), 5)]

    assert first == ["1s0", "1s1", "1s2", "1r0", "1r1", "1r2", "1r3", "1r4"]
    assert second == ["1last"]


def test_the_first_outcome_of_a_queue_rings_though_another_queue_is_blocked() -> None:
    pending = PendingOutcomes()
    assert pending.add(PendingOutcome(outcome(OutcomeKind.SUCCEEDED, "1a")))
    assert not pending.add(PendingOutcome(outcome(OutcomeKind.SUCCEEDED, "1b")))
    other = Outcome(OutcomeKind.SUCCEEDED, Lease("other", "m", "1c", "1", True, b"", 0), "t")
    assert pending.add(PendingOutcome(other))


def test_a_name_taken_on_one_of_two_engines_changes_neither() -> None:
    first, second = Engine(MemoryBroker()), Engine(MemoryBroker(), "other")
    tasks = Tasks()
    first.attach_tasks(tasks)
    second.attach_tasks(tasks)
    second.task(name="taken")(lambda: None)

    with pytest.raises(DuplicateTask):
        tasks.add(lambda: None, name="taken")

    first.task(name="taken")(lambda: None)


class Refuses(MemoryBroker):
    """Fires nothing, as a full server does, and counts how often it was asked."""

    asked = 0

    def fire(self, *args: Any) -> FireReply:
        self.asked += 1
        return FireReply(verdict=Verdict.UNKNOWN, error=BrokerUnavailable("full"))


@pytest.mark.concurrency
def test_ticks_that_cannot_be_fired_are_spaced_out_and_hold_up_nothing_else() -> None:
    clock = VirtualClock()
    broker = Refuses(clock=clock)
    # The longest waits that the backoff may choose.
    engine = Engine(broker, random_source=type("Most", (), {"uniform": lambda _, a, b: b})())
    done = threading.Event()
    engine.task(name="hourly", periodicity=timedelta(hours=1))(lambda: None)
    engine.task(name="job")(done.set)
    engine.start_workers(1, block=False)
    try:
        clock.advance(timedelta(hours=1))
        engine.schedule("job")
        assert done.wait(10)
    finally:
        engine.stop_workers()

    assert broker.asked <= 3


class LosesLateReports(MemoryBroker):
    """Answers nothing to the first reports."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self.lost = lost

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        if self.lost:
            self.lost -= 1
            unknown = (Verdict.UNKNOWN,) * len(outcomes)
            return ReportReply(verdicts=unknown, error=BrokerUnavailable("lost"))
        return super().report(outcomes)


@pytest.mark.concurrency
def test_reports_without_an_answer_at_the_stop_are_repeated() -> None:
    engine = Engine(LosesLateReports(3))
    engine.task(name="t")(lambda: None)
    engine.schedule("t")
    engine.start_workers(1, stop_when_queue_empty=True)

    (counts,) = engine._broker.counts(["spinach"])
    assert (counts.leased, counts.ready, counts.failed, counts.members) == (0, 0, 0, 0)


class Dies(MemoryBroker):
    """Refuses a beat for good, so that the arbiter dies."""

    def beat(self, turns: Any, progress: Any = ()) -> Any:
        raise BrokerError("no permission")


@pytest.mark.concurrency
def test_what_was_done_is_reported_although_another_thread_died() -> None:
    clock = VirtualClock()
    engine = Engine(Dies(clock=clock))
    engine.task(name="t")(lambda: clock.advance(timedelta(seconds=11)))
    engine.schedule("t")

    with pytest.raises(BrokerError, match="no permission"):
        engine.start_workers(1)

    (counts,) = engine._broker.counts(["spinach"])
    assert (counts.leased_by_dead + counts.leased, counts.failed) == (0, 0)


class Beaten(MemoryBroker):
    """Tells when it is beaten, and when somebody waits for jobs."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock=clock)
        self.waiting = threading.Event()
        self.beaten = threading.Event()

    def fetch(self, turns: Any, *, block_seconds: float = 0.0, **options: Any) -> Any:
        if block_seconds:
            self.waiting.set()
            block_seconds = 3600.0  # The process is put to sleep before the wait begins.
        return super().fetch(turns, block_seconds=block_seconds, **options)

    def beat(self, turns: Any, progress: Any = ()) -> Any:
        self.beaten.set()
        return super().beat(turns, progress)


@pytest.mark.concurrency
def test_a_beat_does_not_wait_for_a_fetch_that_does() -> None:
    clock = VirtualClock()
    broker = Beaten(clock)
    engine = Engine(broker)
    engine.start_workers(1, block=False)
    try:
        assert broker.waiting.wait(10)
        assert not broker.beaten.is_set()
        clock.advance(timedelta(seconds=14))
        assert broker.beaten.wait(10)
    finally:
        engine.stop_workers()


class Later(RetryException):
    def __init__(self) -> None:  # forgets the instant
        pass


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class Moody(RetryException):
    @property
    def at(self) -> datetime:  # type: ignore[override]
        raise KeyboardInterrupt

    @at.setter
    def at(self, value: object) -> None:
        pass


@pytest.mark.parametrize("error", [Later, Unprintable, Moody])
@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.concurrency
def test_whatever_an_exception_does_it_fails_its_job_only(
    error: type[Exception], retries: int, spinach_engine: Engine, spinach_worker: TestWorker
) -> None:
    done: list[int] = []

    @spinach_engine.task(name="bad", max_retries=retries)
    def bad() -> None:
        raise error()

    spinach_engine.task(name="good")(lambda: done.append(1))
    spinach_engine.schedule(bad)
    spinach_engine.schedule("good")
    spinach_worker.advance(timedelta(minutes=1), workers=1, on_failure="collect")

    assert done == [1]
    (entry,) = spinach_engine.failed.list()
    assert entry.error.endswith(error.__name__)


@pytest.mark.concurrency
def test_a_job_for_the_year_9000_stops_no_worker() -> None:
    engine = Engine(MemoryBroker())
    done = threading.Event()
    engine.task(name="t")(done.set)
    engine.task(name="rare", periodicity=timedelta(days=400 * 365))(lambda: None)
    engine.schedule_at("t", datetime(9000, 1, 1, tzinfo=UTC))
    engine.start_workers(2, block=False)
    try:
        engine.schedule("t")
        assert done.wait(10)
        done.clear()
        engine.schedule("t")
        assert done.wait(10)
    finally:
        engine.stop_workers()


@pytest.mark.concurrency
def test_an_async_receiver_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(MemoryBroker())
    engine.task(name="t")(lambda: None)

    async def receiver(namespace: str, **_: Any) -> None:
        raise AssertionError("never runs")

    with signals.job_started.connected_to(receiver, engine.namespace):
        engine.schedule("t")
        engine.start_workers(1, stop_when_queue_empty=True)

    assert "returned a coroutine" in caplog.text


class Liar(dict[str, int]):
    def items(self) -> Any:
        return [("other", 1)]


def test_subclasses_of_containers_are_sent_as_what_they_hold(
    spinach_engine: Engine, spinach_worker: TestWorker
) -> None:
    got: list[object] = []
    spinach_engine.task(name="t")(lambda value: got.append(value))
    spinach_engine.schedule("t", Liar(a=1))
    spinach_worker.drain()

    assert got == [{"a": 1}]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MemoryBroker(clock=5), "clock is 5 of type int without now"),
        (lambda: MemoryBroker(store=5), "store is 5 of type int, expected a MemoryStore"),
        (
            lambda: Engine(MemoryBroker()).start_workers(queue={"a"}),
            "expected a name or a sequence",
        ),
        (lambda: Engine(MemoryBroker()).start_workers(queue=b"abc"), "of type bytes"),
        (
            lambda: Engine(MemoryBroker()).start_workers(stop_when_queue_empty="no"),
            "stop_when_queue_empty is 'no', expected True or False",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_given(make: Any, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        make()


def test_what_cannot_be_encoded_is_named_with_its_place() -> None:
    engine = Engine(MemoryBroker())
    engine.task(name="t")(lambda *args, **kwargs: None)
    deep: list[Any] = []
    deep.append(deep)
    for call, place in (
        (lambda: engine.schedule("t", 1, "\ud800"), "argument 2 of task 't' holds text"),
        (lambda: engine.schedule("t", big=10**5000), "argument 'big' of task 't' holds an int"),
        (lambda: engine.schedule("t", deep), "argument 1 of task 't' is nested deeper"),
    ):
        with pytest.raises(InvalidArgument, match=place):
            call()


class CountsFetches(MemoryBroker):
    """Notes what each fetch asked for and what it brought: (idle, extra, jobs)."""

    def __init__(self) -> None:
        super().__init__()
        self.fetches: list[tuple[int, int, int]] = []

    def fetch(self, turns: Any, *, idle: int, extra: int, **options: Any) -> Any:
        replies = super().fetch(turns, idle=idle, extra=extra, **options)
        self.fetches.append((idle, extra, sum(len(reply.leases) for reply in replies)))
        return replies


@pytest.mark.concurrency
def test_jobs_that_may_not_wait_in_a_buffer_are_not_asked_for_in_vain() -> None:
    broker = CountsFetches()
    engine = Engine(broker)
    engine.task(name="once")(lambda: None)
    batch = Batch()
    for _ in range(300):
        batch.schedule("once")
    engine.schedule_batch(batch)
    engine.start_workers(3, stop_when_queue_empty=True)

    before = (1, 0, 0)
    for idle, extra, jobs in broker.fetches:
        if idle == 0 and jobs == 0:
            # Allowed only after a fetch that could not have told.
            assert before[0] > 0, broker.fetches
            assert before[1] == 0, broker.fetches
        before = (idle, extra, jobs)
