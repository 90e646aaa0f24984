"""A batch: collected first, sent together, all or nothing on bad input."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from spinach import Batch, Engine, JobStatus, Tasks
from spinach.brokers.calls import Deposit
from spinach.exc import (
    BrokerError,
    InvalidArgument,
    InvalidJobSignatureError,
    PayloadTooLarge,
    ScheduleUncertain,
    SpinachError,
    UnknownTask,
)
from spinach_memory import MemoryBroker

from .support import NOON


class CountingBroker(MemoryBroker):
    """Counts the calls that store something; refuses what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.error: Callable[[Sequence[uuid.UUID]], BrokerError] | None = None

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        self.sizes.append(len(deposits))
        if self.error is not None:
            raise self.error([uuid.UUID(deposit.stored_id[1:]) for deposit in deposits])
        return super().enqueue(deposits)


@pytest.fixture
def broker() -> CountingBroker:
    return CountingBroker()


@pytest.fixture
def engine(broker: CountingBroker) -> Engine:
    engine = Engine(broker)
    tasks = Tasks()
    tasks.add(lambda n, flag=False: None, "count")
    tasks.add(lambda: None, "other", queue="other", max_retries=2)
    engine.attach_tasks(tasks)
    return engine


def test_jobs_come_back_in_the_order_they_were_added(
    engine: Engine, broker: CountingBroker
) -> None:
    batch = Batch()
    for number in range(3):
        batch.schedule("count", number)
        batch.schedule("other")
    assert len(batch) == 6
    jobs = engine.schedule_batch(batch)
    assert [job.task_args for job in jobs] == [(0,), (), (1,), (), (2,), ()]
    assert [job.queue for job in jobs] == ["spinach", "other"] * 3
    assert {job.status for job in jobs} == {JobStatus.QUEUED}
    assert broker.sizes == [6]


def test_an_empty_batch_makes_no_call(engine: Engine, broker: CountingBroker) -> None:
    batch = Batch()
    assert engine.schedule_batch(batch) == []
    assert broker.sizes == []
    batch.schedule("count", 1)  # it was not used up
    assert len(engine.schedule_batch(batch)) == 1


def test_jobs_for_later_wait_and_the_past_means_now(engine: Engine) -> None:
    batch = Batch()
    batch.schedule_at("count", NOON.replace(year=2999, tzinfo=None), 1)
    batch.schedule_at("count", NOON.replace(year=1999), 2)
    later, now = engine.schedule_batch(batch)
    assert (later.status, later.at) == (JobStatus.WAITING, NOON.replace(year=2999))
    assert now.status is JobStatus.QUEUED


def test_as_soon_as_possible_is_not_the_date_of_adding(engine: Engine) -> None:
    batch = Batch()
    batch.schedule("count", 1)
    (entry,) = batch.pending()
    assert entry.at is None


def test_arguments_are_those_of_the_moment_they_were_added(engine: Engine) -> None:
    received: list[Any] = []
    tasks = Tasks()
    tasks.add(received.append, "receive")
    engine.attach_tasks(tasks)
    values = [1]
    batch = Batch()
    batch.schedule("receive", values)
    values.append(2)
    engine.schedule_batch(batch)
    engine.start_workers(1, stop_when_queue_empty=True)
    assert received == [[1]]


@pytest.mark.parametrize(
    ("add", "error"),
    [
        (lambda batch: batch.schedule("cuont", 1), UnknownTask),
        (lambda batch: batch.schedule("count"), InvalidJobSignatureError),
        (lambda batch: batch.schedule("count", 1, wrong=2), InvalidJobSignatureError),
        (lambda batch: batch.schedule("count", "x" * 600_000), PayloadTooLarge),
        (lambda batch: batch.schedule(print), UnknownTask),
    ],
)
def test_one_bad_job_and_nothing_is_sent(
    engine: Engine,
    broker: CountingBroker,
    add: Callable[[Batch], None],
    error: type[SpinachError],
) -> None:
    batch = Batch()
    batch.schedule("count", 1)
    add(batch)
    batch.schedule("count", 2)
    with pytest.raises(error):
        engine.schedule_batch(batch)
    assert broker.sizes == []
    assert len(batch) == 3


def test_what_cannot_be_sent_is_refused_when_it_is_added() -> None:
    batch = Batch()
    with pytest.raises(InvalidArgument, match="argument 1 of task 'count'"):
        batch.schedule("count", {1})
    with pytest.raises(InvalidArgument, match="at is 'noon'"):
        batch.schedule_at("count", "noon", 1)  # type: ignore[call-overload]
    assert len(batch) == 0


def test_a_batch_cannot_be_scheduled_twice(engine: Engine, broker: CountingBroker) -> None:
    batch = Batch()
    batch.schedule("count", 1)
    engine.schedule_batch(batch)
    uses: list[Callable[[], Any]] = [
        lambda: engine.schedule_batch(batch),
        lambda: batch.schedule("count", 2),
        lambda: batch.schedule_at("count", NOON, 2),
    ]
    for use in uses:
        with pytest.raises(InvalidArgument, match=r"Make a new Batch\(\)"):
            use()
    assert broker.sizes == [1]


def test_after_an_error_the_batch_holds_what_was_not_sent(
    engine: Engine, broker: CountingBroker
) -> None:
    batch = Batch()
    for number in range(6):
        batch.schedule("count", number)
    broker.error = lambda ids: ScheduleUncertain(
        "cut", stored=ids[:2], unknown=ids[2:4], not_sent=ids[4:]
    )
    with pytest.raises(ScheduleUncertain) as info:
        engine.schedule_batch(batch)
    assert len(info.value.stored) == len(info.value.job_ids) == len(info.value.not_sent) == 2
    broker.error = None
    jobs = engine.schedule_batch(batch)
    assert [job.task_args for job in jobs] == [(4,), (5,)]


def test_a_batch_of_which_all_was_stored_or_unknown_is_used_up(
    engine: Engine, broker: CountingBroker
) -> None:
    batch = Batch()
    batch.schedule("count", 1)
    broker.error = lambda ids: ScheduleUncertain("cut", unknown=ids)
    with pytest.raises(ScheduleUncertain):
        engine.schedule_batch(batch)
    with pytest.raises(InvalidArgument, match="run its jobs twice"):
        engine.schedule_batch(batch)


def test_functions_and_tasks_may_be_given_as_well_as_names(engine: Engine) -> None:
    tasks = Tasks()
    tasks.add(print, "print")
    engine.attach_tasks(tasks)
    batch = Batch()
    batch.schedule(print, 1)
    batch.schedule(tasks.get("print"), 2)
    assert [job.task_name for job in engine.schedule_batch(batch)] == ["print", "print"]


def test_a_batch_of_thousands_is_one_call(engine: Engine, broker: CountingBroker) -> None:
    batch = Batch()
    for number in range(5000):
        batch.schedule_at("count", NOON + timedelta(seconds=number), number)
    jobs = engine.schedule_batch(batch)
    assert len({job.id for job in jobs}) == 5000
    assert broker.sizes == [5000]
