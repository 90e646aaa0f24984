"""What type checkers make of queues, workers, limits and periodic tasks; see `scheduling.py`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import assert_type

from spinach import Engine, Job, JobStatus, MemoryBroker
from spinach.operating.flow import Flow
from spinach.operating.limits import LimitView
from spinach.operating.periodic import PeriodicView
from spinach.operating.queues import PurgeProgress, QueueView
from spinach.operating.workers import LeasedView, WorkerView

spin = Engine(MemoryBroker())


@spin.task(name="report", periodicity=timedelta(hours=1))
def report() -> None: ...


def queues() -> None:
    assert_type(spin.queues.list(), list[QueueView])
    view = spin.queues.get("mail")
    assert_type(view.oldest_ready, timedelta | None)
    assert_type(view.last_minute, Flow | None)
    assert_type(view.parked, Mapping[str, int])
    assert_type(spin.queues.pause("mail"), bool)
    assert_type(spin.queues.resume("mail"), bool)
    assert_type(spin.queues.purge("mail"), int)
    spin.queues.purge("mail", JobStatus.FAILED)
    spin.queues.purge("mail", [JobStatus.QUEUED, JobStatus.WAITING], progress=print)

    def told(progress: PurgeProgress) -> None:
        assert_type(progress.removed, int)

    spin.queues.purge("mail", progress=told)
    spin.queues.purge("mail", "queued")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.queues.purge("mail", told)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.queues.pause()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    view.ready = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def workers() -> None:
    assert_type(spin.workers.list(), list[WorkerView])
    for worker in spin.workers.list("mail"):
        assert_type(worker.last_seen, datetime)
        assert_type(worker.threads, int | None)
        assert_type(worker.jobs, tuple[LeasedView, ...])


def limits() -> None:
    assert_type(spin.limits.list(), list[LimitView])
    assert_type(spin.limits.list()[0].holders, tuple[uuid.UUID, ...])
    spin.limits.set(report, 3)
    spin.limits.set("report", None, queue="mail")
    spin.limits.set("report", "3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.limits.set("report")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    spin.limits.set("report", 3, "mail")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def periodic() -> None:
    assert_type(spin.periodic.list(), list[PeriodicView])
    assert_type(spin.periodic.list()[0].next_due, datetime | None)
    assert_type(spin.periodic.run_now(report), Job)
    assert_type(spin.periodic.pause("report"), bool)
    assert_type(spin.periodic.resume("report"), bool)
    spin.periodic.pause(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
