"""What type checkers make of calls about jobs; see `scheduling.py`."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import assert_type

from spinach import Engine, Job, JobStatus, MemoryBroker
from spinach.jobs import CancelVerdict, Jobs, JobsPage, JobView, JobWorker, Place, Progress

from .scheduling import compute

spin = Engine(MemoryBroker())
job = spin.schedule(compute, 1, 2)
minute = timedelta(minutes=1)

# -- accepted -----------------------------------------------------------------------

assert_type(spin.jobs, Jobs)
assert_type(spin.jobs.get(job), JobView | None)
assert_type(spin.jobs.get(uuid.uuid4()), JobView | None)
assert_type(spin.jobs.get("4f2a"), JobView | None)
assert_type(spin.jobs.list("mail"), JobsPage)
assert_type(
    spin.jobs.list("mail", status=JobStatus.QUEUED, task="send", cursor="x", limit=10), JobsPage
)
assert_type(spin.jobs.list("mail", cursor=spin.jobs.list("mail").cursor).jobs, tuple[JobView, ...])
assert_type(spin.jobs.cancel(), tuple[CancelVerdict, ...])
assert_type(spin.jobs.cancel(job, job.id, "4f2a"), tuple[CancelVerdict, ...])
assert_type(spin.jobs.wait(job, job.id, timeout=minute), tuple[JobView | None, ...])
assert_type(spin.jobs.wait(timeout=None), tuple[JobView | None, ...])


def look(view: JobView) -> None:
    assert_type(view.id, uuid.UUID)
    assert_type(view.place, Place)
    assert_type(view.worker, JobWorker | None)
    assert_type(view.waiting_until, datetime | None)
    assert_type(view.progress, Progress | None)
    if view.job is not None:
        assert_type(view.job.id, uuid.UUID)


def accept(known: Job) -> None:
    spin.jobs.get(known)


# -- refused ------------------------------------------------------------------------

spin.jobs.get(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
spin.jobs.get()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
spin.jobs.list()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
spin.jobs.list("mail", status="queued")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
spin.jobs.list("mail", JobStatus.QUEUED)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
spin.jobs.cancel([job])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
spin.jobs.wait(job)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
spin.jobs.wait(job, timeout=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
