"""A job as a snapshot; its states and their arrows, as the page on paper draws them."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine, Job, JobStatus, MemoryBroker, Tasks
from spinach.job import job_from_record

from .support import NOON


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "id": uuid.UUID(int=1),
        "status": JobStatus.QUEUED,
        "task_name": "mail.send",
        "queue": "mail",
        "at": NOON,
        "max_retries": 3,
        "task_args": ("secret",),
        "task_kwargs": {"key": "hidden"},
    }
    return Job(**{**values, **changes})


def test_a_job_cannot_be_changed() -> None:
    snapshot: Any = job()
    with pytest.raises(AttributeError):
        snapshot.status = JobStatus.FAILED


@pytest.mark.parametrize("retries", [0, 1, 7])
def test_attempts_count_from_one(retries: int) -> None:
    assert job(retries=retries).attempt == retries + 1


def test_its_text_tells_all_but_the_arguments() -> None:
    text = repr(job())
    assert str(uuid.UUID(int=1)) in text
    assert "mail.send" in text
    assert "QUEUED" in text
    assert "secret" not in text
    assert "hidden" not in text


def test_another_status_makes_another_snapshot() -> None:
    before = job()
    after = before.with_status(JobStatus.RUNNING)
    assert before.status is JobStatus.QUEUED
    assert after.status is JobStatus.RUNNING
    assert after.id == before.id
    assert before.with_status(JobStatus.QUEUED) is before


def test_the_states_are_those_that_are_promised() -> None:
    assert [status.name for status in JobStatus] == [
        "NOT_SET",
        "WAITING",
        "QUEUED",
        "RUNNING",
        "SUCCEEDED",
        "FAILED",
        "CANCELLED",
    ]


def test_a_job_comes_back_from_its_record() -> None:
    broker = MemoryBroker()
    engine = Engine(broker)
    tasks = Tasks(queue="mail", max_retries=2)
    tasks.add(print, name="mail.send")
    engine.attach_tasks(tasks)
    batch_at = broker.clock.now() + timedelta(days=1)
    sent = engine.schedule_at("mail.send", batch_at, (1, 2), sep="-")

    deposits = []
    broker.enqueue = lambda d: deposits.extend(d) or [True]  # type: ignore[method-assign,func-returns-value]
    engine.schedule_at("mail.send", batch_at, (1, 2), sep="-")
    (deposit,) = deposits
    back = job_from_record(deposit.stored_id, deposit.record, retries=1, status=JobStatus.RUNNING)
    assert (back.task_name, back.queue, back.at) == (sent.task_name, sent.queue, sent.at)
    assert (back.max_retries, back.retries, back.attempt) == (2, 1, 2)
    assert (back.task_args, back.task_kwargs) == (([1, 2],), {"sep": "-"})
    assert back.status is JobStatus.RUNNING
