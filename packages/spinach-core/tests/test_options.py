"""Options of single calls: schedulers that carry them, and jobs that show them."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest

from spinach import Batch, Engine, Job, JobStatus, Tasks, signals
from spinach.brokers.calls import Deposit
from spinach.exc import BrokerError, InvalidArgument, TasksNotAttached
from spinach.job import job_from_record
from spinach.record.header import UnreadableRecord, header_line, read_header
from spinach.record.ids import stored_id
from spinach.record.options import NO_OPTIONS, RecordOptions, read_options
from spinach_memory import MemoryBroker
from spinach_testing.clock import VirtualClock

HEADERS = {"trace": "4f2a", "tenant": "Grüße"}
MINUTE = timedelta(minutes=1)


class KeepingBroker(MemoryBroker):
    """Keeps what it was given to store; does not store it while it is away."""

    def __init__(self) -> None:
        super().__init__(clock=VirtualClock())
        self.deposits: list[Deposit] = []
        self.away = False

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        if self.away:
            ids = [job.id for job in jobs_of(deposits)]
            raise BrokerError("The test is against it.", not_sent=ids)
        self.deposits += deposits
        return super().enqueue(deposits)


def jobs_of(deposits: Sequence[Deposit]) -> list[Job]:
    return [
        job_from_record(each.stored_id, each.record, retries=0, status=JobStatus.QUEUED)
        for each in deposits
    ]


@pytest.fixture
def broker() -> KeepingBroker:
    return KeepingBroker()


@pytest.fixture
def spin(broker: KeepingBroker) -> Engine:
    engine = Engine(broker)
    engine.task(name="add", max_retries=3)(lambda a, b=0: a + b)
    return engine


def in_a_batch(spin: Engine, **options: Any) -> Job:
    batch = Batch()
    batch.options(**options).schedule("add", 1)
    return spin.schedule_batch(batch)[0]


def in_a_batch_for_later(spin: Engine, **options: Any) -> Job:
    batch = Batch()
    batch.options(**options).schedule_at("add", spin._broker.clock.now(), 1)
    return spin.schedule_batch(batch)[0]


def by_a_registry(spin: Engine, **options: Any) -> Job:
    return spin._tasks.options(**options).schedule("add", 1)


def by_a_registry_for_later(spin: Engine, **options: Any) -> Job:
    return spin._tasks.options(**options).schedule_at("add", spin._broker.clock.now(), 1)


def by_the_engine(spin: Engine, **options: Any) -> Job:
    return spin.options(**options).schedule("add", 1)


def by_the_engine_for_later(spin: Engine, **options: Any) -> Job:
    return spin.options(**options).schedule_at("add", spin._broker.clock.now(), 1)


WAYS = [
    by_the_engine,
    by_the_engine_for_later,
    by_a_registry,
    by_a_registry_for_later,
    in_a_batch,
    in_a_batch_for_later,
]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
Way = Callable[..., Job]


@each_way
def test_options_travel_in_the_record_and_show_in_the_job(
    way: Way, spin: Engine, broker: KeepingBroker
) -> None:
    job = way(spin, expires_in=MINUTE, headers=HEADERS)
    assert job.headers == HEADERS
    assert job.expires_at == job.at + MINUTE
    (deposit,) = broker.deposits
    assert read_header(deposit.record).flags == "hx"
    options = read_options(deposit.record)
    assert (options.headers, options.keep_ms) == (HEADERS, None)
    (read,) = jobs_of(broker.deposits)
    assert (read.id, read.headers, read.expires_at) == (job.id, HEADERS, job.expires_at)
    assert (read.task_args, read.max_retries) == ((1,), 3)


@each_way
@pytest.mark.parametrize("headers", [None, {}])
def test_without_any_option_a_job_is_written_as_by_schedule(
    way: Way, headers: Any, spin: Engine, broker: KeepingBroker
) -> None:
    job = way(spin, expires_in=None, headers=headers)
    spin.schedule("add", 1)
    with_none, plain = (each.record for each in broker.deposits)
    assert with_none == plain
    assert (job.headers, job.expires_at, job.options) == ({}, None, None)


def test_each_option_may_be_asked_for_alone(spin: Engine, broker: KeepingBroker) -> None:
    spin.options(expires_in=MINUTE).schedule("add", 1)
    spin.options(headers=HEADERS).schedule("add", 1)
    flags = [read_header(each.record).flags for each in broker.deposits]
    assert flags == ["x", "h"]
    first, second = jobs_of(broker.deposits)
    assert (first.headers, second.expires_at) == ({}, None)


def test_expiry_counts_from_the_instant_at_which_a_job_is_to_start(spin: Engine) -> None:
    brief = spin.options(expires_in=MINUTE)
    now = spin._broker.clock.now()
    tomorrow = now + timedelta(days=1)
    assert brief.schedule("add", 1).expires_at == now + MINUTE
    assert brief.schedule_at("add", tomorrow, 1).expires_at == tomorrow + MINUTE
    # The past means now to the store, and the job is late already.
    yesterday = now - timedelta(days=1)
    assert brief.schedule_at("add", yesterday, 1).expires_at == yesterday + MINUTE


def test_expiry_of_a_batch_counts_from_when_it_is_scheduled(spin: Engine) -> None:
    clock = spin._broker.clock
    assert isinstance(clock, VirtualClock)
    batch = Batch()
    batch.options(expires_in=MINUTE).schedule("add", 1)
    clock.advance(timedelta(hours=1))
    (job,) = spin.schedule_batch(batch)
    assert job.expires_at == clock.now() + MINUTE


@pytest.mark.parametrize(
    ("expires_in", "ms"),
    [
        (timedelta(milliseconds=1), 1),
        (timedelta(microseconds=1001), 2),
        (timedelta(seconds=2), 2000),
    ],
)
def test_expiry_is_rounded_up_to_the_millisecond(
    expires_in: timedelta, ms: int, spin: Engine
) -> None:
    job = spin.options(expires_in=expires_in).schedule("add", 1)
    assert job.expires_at == job.at + timedelta(milliseconds=ms)


def test_a_scheduler_may_be_used_for_any_number_of_jobs(spin: Engine) -> None:
    urgent = spin.options(expires_in=MINUTE, headers=HEADERS)
    jobs = [urgent.schedule("add", number) for number in range(3)]
    assert len({job.id for job in jobs}) == 3
    assert [job.task_args for job in jobs] == [(0,), (1,), (2,)]
    assert all(job.headers == HEADERS for job in jobs)


def test_a_scheduler_keeps_a_copy_of_what_it_was_given(spin: Engine) -> None:
    given = dict(HEADERS)
    scheduler = spin.options(headers=given)
    given.clear()
    job = scheduler.schedule("add", 1)
    job.headers.clear()
    assert job.headers == HEADERS
    assert scheduler.schedule("add", 1).headers == HEADERS


def test_a_scheduler_cannot_be_changed(spin: Engine) -> None:
    for scheduler in (spin.options(), Batch().options()):
        with pytest.raises(AttributeError):
            scheduler.other = 1  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [dict, OrderedDict, MappingProxyType])
def test_headers_may_be_any_mapping(kind: Callable[..., Any], spin: Engine) -> None:
    assert spin.options(headers=kind(HEADERS)).schedule("add", 1).headers == HEADERS


class Text(str):
    """A text of another class, which tells lies."""

    __slots__ = ()

    def __str__(self) -> str:
        return "a lie"


def test_texts_of_other_classes_travel_as_plain_ones(spin: Engine) -> None:
    job = spin.options(headers={Text("name"): Text("text")}).schedule("add", 1)
    assert job.headers == {"name": "text"}
    assert {type(each) for pair in job.headers.items() for each in pair} == {str}


def test_neither_a_scheduler_nor_a_job_shows_the_texts_of_headers(spin: Engine) -> None:
    scheduler = spin.options(expires_in=MINUTE, headers={"token": "secret"})
    assert "token" in repr(scheduler)
    assert "0:01:00" in repr(scheduler)
    assert "none" in repr(spin.options())
    batch = Batch()
    for shown in (
        scheduler,
        batch.options(headers={"token": "secret"}),
        scheduler.schedule("add", 1),
    ):
        assert "secret" not in repr(shown)


def test_options_may_be_made_before_a_registry_is_attached() -> None:
    tasks = Tasks()
    tasks.add(print, "print")
    scheduler = tasks.options(headers=HEADERS)
    with pytest.raises(TasksNotAttached):
        scheduler.schedule("print")
    engine = Engine(MemoryBroker())
    engine.attach_tasks(tasks)
    assert scheduler.schedule("print").headers == HEADERS


def test_a_scheduler_follows_its_engine_to_another_broker(spin: Engine) -> None:
    scheduler = spin.options(headers=HEADERS)
    other = KeepingBroker()
    with spin.using_broker(other):
        scheduler.schedule("add", 1)
    assert len(other.deposits) == 1


def test_a_batch_mixes_jobs_with_and_without_options(spin: Engine) -> None:
    batch = Batch()
    batch.schedule("add", 1)
    batch.options(headers=HEADERS).schedule("add", 2)
    batch.options(expires_in=MINUTE).schedule("add", 3)
    jobs = spin.schedule_batch(batch)
    assert [job.headers for job in jobs] == [{}, HEADERS, {}]
    assert [job.expires_at is None for job in jobs] == [True, True, False]
    assert [job.task_args for job in jobs] == [(1,), (2,), (3,)]


def test_jobs_that_were_not_sent_keep_their_options(spin: Engine, broker: KeepingBroker) -> None:
    batch = Batch()
    batch.options(headers=HEADERS, expires_in=MINUTE).schedule("add", 1)
    broker.away = True
    with pytest.raises(BrokerError):
        spin.schedule_batch(batch)
    broker.away = False
    (job,) = spin.schedule_batch(batch)
    assert job.headers == HEADERS
    assert job.expires_at == job.at + MINUTE


def test_a_batch_that_was_scheduled_takes_no_job_with_options(spin: Engine) -> None:
    batch = Batch()
    adder = batch.options(headers=HEADERS)
    adder.schedule("add", 1)
    spin.schedule_batch(batch)
    with pytest.raises(InvalidArgument, match="scheduled already"):
        adder.schedule("add", 2)


def test_all_arguments_are_the_tasks(spin: Engine) -> None:
    seen: list[dict[str, Any]] = []
    spin.task(name="any")(lambda **kwargs: seen.append(kwargs))
    words = {"expires_in": 1, "headers": 2, "options": 3, "self": 4, "task": 5, "at": 6}
    spin.options(headers=HEADERS).schedule("any", **words)
    batch = Batch()
    batch.options(headers=HEADERS).schedule("any", **words)
    spin.schedule_batch(batch)
    spin.start_workers(1, stop_when_queue_empty=True)
    assert seen == [words, words]


@pytest.mark.parametrize("call", ["schedule", "schedule_at"])
def test_a_task_or_an_instant_is_never_a_keyword(call: str, spin: Engine) -> None:
    for scheduler in (spin.options(), Batch().options()):
        with pytest.raises(InvalidArgument, match=f"{call} got task= as a keyword"):
            getattr(scheduler, call)(task="add")
    with pytest.raises(InvalidArgument, match="schedule_at got at= as a keyword"):
        spin.options().schedule_at("add", at=spin._broker.clock.now())
    with pytest.raises(InvalidArgument, match="schedule_at lacks the instant"):
        Batch().options().schedule_at("add")  # type: ignore[call-overload]


def test_signals_and_the_failed_store_show_headers_and_everything_else_passes_them_over(
    spin: Engine,
) -> None:
    shown: list[tuple[str, dict[str, str]]] = []

    def note(name: str) -> Callable[..., None]:
        return lambda _, job, **__: shown.append((name, job.headers))

    spin.task(name="fail")(lambda: 1 // 0)
    names = ["job_started", "job_failed", "job_finished"]
    receivers = [(getattr(signals, name), note(name)) for name in names]
    for signal, receiver in receivers:
        signal.connect(receiver, sender=spin.namespace)
    try:
        spin.options(headers=HEADERS).schedule("fail")
        spin.start_workers(1, stop_when_queue_empty=True)
    finally:
        for signal, receiver in receivers:
            signal.disconnect(receiver, sender=spin.namespace)
    assert shown == [(name, HEADERS) for name in names]
    (entry,) = spin.failed.list()
    assert entry.job.headers == HEADERS


def test_a_retry_keeps_the_options(spin: Engine) -> None:
    job = spin.options(headers=HEADERS, expires_in=MINUTE).schedule("add", 1)
    later = job.retried_at(job.at).with_status(JobStatus.QUEUED)
    assert (later.headers, later.expires_at) == (HEADERS, job.expires_at)


def test_a_job_with_options_can_be_pickled(spin: Engine) -> None:
    job = spin.options(headers=HEADERS, expires_in=MINUTE).schedule("add", 1)
    again = pickle.loads(pickle.dumps(job))
    assert again == job
    assert again.headers == HEADERS


@pytest.mark.parametrize("expires_ms", [10**16, -(10**30), 2**63 - 1])
def test_a_record_with_an_instant_that_no_clock_shows_is_damaged(expires_ms: int) -> None:
    header = header_line(max_retries=0, queue="q", task="t", flags="x")
    record = header + b'[[],{},0,{"expires_ms":%d}]' % expires_ms
    stored = stored_id("12345678-1234-1234-1234-123456789abc", 0)
    with pytest.raises(UnreadableRecord, match="damaged"):
        job_from_record(stored, record, retries=0, status=JobStatus.QUEUED)


def test_options_without_any_are_no_options() -> None:
    assert RecordOptions() == NO_OPTIONS
