"""What type checkers make of a running job; see `scheduling.py`."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Never, assert_type

from spinach import CurrentJob, Engine, JobFilter, MemoryBroker, Task, Tasks, current_job
from spinach.exc import JobCancelled, JobReleased, NotInJob, SpinachError

second = timedelta(seconds=1)
spin = Engine(MemoryBroker())
tasks = Tasks(time_limit=second)
tasks.add(print, "print", time_limit=second)
tasks.add(print, "late", time_limit=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def limit_of(task: Task[[], None]) -> None:
    assert_type(task.time_limit, timedelta | None)


@spin.task(name="import", time_limit=second)
def import_rows() -> None:
    job = current_job()
    assert_type(job, CurrentJob)
    assert_type(job.id, uuid.UUID)
    assert_type(job.attempt, int)
    assert_type(job.headers, Mapping[str, str])
    assert_type(job.deadline, datetime | None)
    assert_type(job.cancelled, bool)
    assert_type(job.should_stop, bool)
    job.check()
    job.progress(1, 2)
    job.progress(1, 2, note="rows")
    job.progress(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    job.progress(0.5, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    job.headers["a"] = "b"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    job.cancelled = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def give_back() -> str:
    # Nothing comes after it, so nothing has to be returned.
    current_job().release()


def ends() -> Never:
    raise JobReleased("later")


assert_type(import_rows(), None)
problem: SpinachError = NotInJob("none")
intent: Exception = JobCancelled("enough")
wrong: SpinachError = JobCancelled("no")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
handler: logging.Filter = JobFilter("shop")
