"""A job as a snapshot; its states and their arrows, as the page on paper draws them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spinach import Engine, Job, JobStatus, MemoryBroker, Tasks
from spinach.brokers.calls import Deposit
from spinach.job import ARROWS, job_from_record

from .support import NOON

PAGE = Path(__file__).parents[3] / "docs/design/states.md"


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "id_text": str(uuid.UUID(int=1)),
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
        "EXPIRED",
    ]


@pytest.mark.skipif(not PAGE.exists(), reason="the page is in the repository only")
def test_the_arrows_between_states_are_those_of_the_page_on_paper() -> None:
    drawing = PAGE.read_text(encoding="utf-8").partition("```{mermaid}")[2].partition("```")[0]
    drawn = set(re.findall(r"^ +([A-Z_]+) --> ([A-Z_]+):", drawing, re.MULTILINE))
    assert drawn == {(before.name, after.name) for before, after in ARROWS}
    ends = set(re.findall(r"^ +([A-Z_]+) --> \[\*\]", drawing, re.MULTILINE))
    assert ends == {"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"}
    assert {name for arrow in drawn for name in arrow} == {status.name for status in JobStatus}


class KeepingBroker(MemoryBroker):
    """Keeps what it was given to store."""

    def __init__(self) -> None:
        super().__init__()
        self.deposits: list[Deposit] = []

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        self.deposits += deposits
        return super().enqueue(deposits)


def test_a_job_comes_back_from_its_record() -> None:
    broker = KeepingBroker()
    engine = Engine(broker)
    tasks = Tasks(queue="mail", max_retries=2)
    tasks.add(print, name="mail.send")
    engine.attach_tasks(tasks)
    sent = engine.schedule_at("mail.send", NOON + timedelta(days=1), (1, 2), sep="-")
    (deposit,) = broker.deposits
    back = job_from_record(deposit.stored_id, deposit.record, retries=1, status=JobStatus.RUNNING)
    assert back.id == sent.id
    assert (back.task_name, back.queue, back.at) == (sent.task_name, sent.queue, sent.at)
    assert (back.max_retries, back.retries, back.attempt) == (2, 1, 2)
    assert (back.task_args, back.task_kwargs) == (([1, 2],), {"sep": "-"})
    assert back.status is JobStatus.RUNNING
