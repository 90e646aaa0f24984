"""From `schedule` to the broker: what the snapshot says and what is stored."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest

from spinach import Engine, Job, JobStatus, Tasks
from spinach.brokers.calls import Deposit
from spinach.exc import InvalidArgument
from spinach.record.header import Header, read_header
from spinach.record.payload import decode_payload
from spinach_memory import MemoryBroker
from spinach_testing.clock import VirtualClock

from .support import NOON


class KeepingBroker(MemoryBroker):
    """Keeps what it was given to store."""

    def __init__(self) -> None:
        super().__init__(clock=VirtualClock(NOON))
        self.deposits: list[Deposit] = []

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        self.deposits += deposits
        return super().enqueue(deposits)


@pytest.fixture
def broker() -> KeepingBroker:
    return KeepingBroker()


@pytest.fixture
def engine(broker: KeepingBroker) -> Engine:
    tasks = Tasks(queue="mail", max_retries=3)
    tasks.add(lambda *args, **kwargs: None, "send")
    tasks.add(lambda: None, "once", max_retries=0)
    engine = Engine(broker, "shop")
    engine.attach_tasks(tasks)
    return engine


def test_the_snapshot_says_what_was_scheduled(engine: Engine) -> None:
    job = engine.schedule("send", 1, urgent=True)
    assert isinstance(job, Job)
    assert (job.task_name, job.queue, job.status) == ("send", "mail", JobStatus.QUEUED)
    assert (job.at, job.max_retries, job.retries, job.attempt) == (NOON, 3, 0, 1)
    assert (job.task_args, job.task_kwargs) == ((1,), {"urgent": True})


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (NOON + timedelta(milliseconds=1), JobStatus.WAITING),
        (NOON, JobStatus.QUEUED),
        (NOON - timedelta(days=9), JobStatus.QUEUED),
        ((NOON + timedelta(hours=1)).replace(tzinfo=None), JobStatus.WAITING),
        (NOON.astimezone(timezone(timedelta(hours=5))), JobStatus.QUEUED),
    ],
)
def test_the_status_is_what_the_broker_answered(engine: Engine, at: Any, status: JobStatus) -> None:
    job = engine.schedule_at("send", at)
    assert job.status is status
    assert job.at.tzinfo is UTC


def test_an_instant_is_rounded_up_to_the_millisecond(engine: Engine, broker: KeepingBroker) -> None:
    job = engine.schedule_at("send", NOON + timedelta(microseconds=1))
    assert job.at == NOON + timedelta(milliseconds=1)
    (deposit,) = broker.deposits
    assert deposit.due_ms == int((NOON.timestamp()) * 1000) + 1


def test_a_job_for_now_is_stored_without_an_instant(engine: Engine, broker: KeepingBroker) -> None:
    engine.schedule("send")
    assert broker.deposits[0].due_ms is None


def test_the_record_tells_the_broker_queue_and_kind(engine: Engine, broker: KeepingBroker) -> None:
    jobs = [engine.schedule("send", 1), engine.schedule("once")]
    send, once = broker.deposits
    assert read_header(send.record) == Header(3, "mail", "send")
    assert read_header(once.record) == Header(0, "mail", "once")
    assert [send.stored_id, once.stored_id] == [f"1{jobs[0].id}", f"0{jobs[1].id}"]
    assert send.queue == "mail"
    assert decode_payload(send.record) == ([1], {}, int(NOON.timestamp() * 1000))


def test_ids_are_unique_even_if_chance_is_seeded(engine: Engine) -> None:
    ids = set()
    for _ in range(50):
        random.seed(1)
        ids.add(engine.schedule("send").id)
    assert len(ids) == 50


def test_later_changes_of_an_argument_change_nothing(engine: Engine, broker: KeepingBroker) -> None:
    values = {"a": [1]}
    engine.schedule("send", values)
    values["a"].append(2)
    assert decode_payload(broker.deposits[0].record)[0] == [{"a": [1]}]


def test_no_instant_at_all_is_refused_with_a_remedy(engine: Engine) -> None:
    with pytest.raises(InvalidArgument, match=r"at is None.*Use schedule\(\)"):
        engine.schedule_at("send", None)  # type: ignore[call-overload]


@pytest.mark.parametrize("batch", [None, [], ["send"], "send"])
def test_only_a_batch_is_a_batch(engine: Engine, batch: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"expected a Batch.*batch.schedule\(task"):
        engine.schedule_batch(batch)
