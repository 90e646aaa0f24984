"""What type checkers make of workers, jobs, signals and errors; see `scheduling.py`."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, assert_type

from redis import Redis

from spinach import (
    ALL_QUEUES,
    Backoff,
    Engine,
    FailedRetention,
    Job,
    JobStatus,
    MemoryBroker,
    RedisBroker,
    signals,
)
from spinach.brokers.base import Broker
from spinach.exc import BrokerError, ScheduleUncertain, SpinachError, UnknownTask
from spinach.failed import FailedEntry
from spinach.utils import exponential_backoff
from spinach_redis.migrate import Left, Migration, migrate

spin = Engine(MemoryBroker(), random_source=random.Random())
brokers: list[Broker] = [MemoryBroker(), RedisBroker()]


# -- workers ------------------------------------------------------------------------


def work() -> None:
    spin.start_workers()
    spin.start_workers(10, "mail", False, True, grace=timedelta(seconds=30))
    spin.start_workers(number=1, queue=["mail", "sums"], block=False, stop_when_queue_empty=True)
    spin.start_workers(queue=("mail", "sums"))
    spin.start_workers(queue=ALL_QUEUES)
    spin.stop_workers()
    with spin.using_broker(MemoryBroker()) as broker:
        assert_type(broker, Broker)
    assert_type(spin.namespace, str)
    spin.start_workers("5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.start_workers(1, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.start_workers(queue={"mail", "sums"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.start_workers(queue=[ALL_QUEUES])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    spin.start_workers(grace=30)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.start_workers(1, "mail", True, False, timedelta(1))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    spin.start_workers(workers=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    spin.namespace = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    spin.using_broker(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- jobs ---------------------------------------------------------------------------


def read(job: Job) -> None:
    assert_type(job.id, uuid.UUID)
    assert_type(job.status, JobStatus)
    assert_type(job.task_name, str)
    assert_type(job.queue, str)
    assert_type(job.at, datetime)
    assert_type(job.max_retries, int)
    assert_type(job.retries, int)
    assert_type(job.attempt, int)
    assert_type(job.task_args, tuple[Any, ...])
    assert_type(job.task_kwargs, dict[str, Any])
    job.status = JobStatus.FAILED  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert job.result  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def look_into_the_failed_store() -> None:
    entries = spin.failed.list("mail", offset=10, limit=5)
    assert_type(entries, list[FailedEntry])
    assert_type(spin.failed.list(), list[FailedEntry])
    assert_type(spin.failed.list(None, after=entries[-1].cursor), list[FailedEntry])
    assert_type(spin.failed.iterate(), Iterator[FailedEntry])
    assert_type(spin.failed.iterate("mail"), Iterator[FailedEntry])
    spin.failed.list(after=entries[-1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(spin.failed.get(entries[0].job), FailedEntry | None)
    assert_type(spin.failed.get(entries[0].job.id), FailedEntry | None)
    assert_type(spin.failed.get("6c5f8a1e-0000-4000-8000-000000000000"), FailedEntry | None)
    spin.failed.get(entries[0])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(entries[0].job, Job)
    assert_type(entries[0].failed_at, datetime)
    assert_type(spin.failed.retry(entries[0].job, entries[1].job), int)
    assert_type(spin.failed.discard(*(entry.job for entry in entries)), int)
    spin.failed.retry(entries[0])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.failed.retry(entries[0].job.id)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def choose_failed_jobs() -> None:
    day = timedelta(days=1)
    assert_type(spin.failed.list("mail", task="mail.send", error=OSError), list[FailedEntry])
    assert_type(spin.failed.list(task=look_into_the_failed_store, since=day), list[FailedEntry])
    assert_type(spin.failed.iterate(error="builtins.OSError"), Iterator[FailedEntry])
    assert_type(spin.failed.retry_all("mail", since=day, progress=print), int)
    assert_type(spin.failed.discard_all(None, error=KeyboardInterrupt), int)
    spin.failed.retry_all()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    spin.failed.retry_all("mail", "mail.send")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    spin.failed.list(task=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.failed.list(error=OSError())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.failed.list(error=int)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.failed.list(since=3600)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.failed.iterate(limit=7)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def keep_failed_jobs() -> None:
    retention = FailedRetention(number=7, age=timedelta(days=1), size=1_000_000)
    MemoryBroker(failed_retention=retention)
    RedisBroker(failed_retention=retention)
    RedisBroker.from_url("redis://", failed_retention=FailedRetention())
    assert_type(MemoryBroker().failed_retention, FailedRetention)
    assert_type(retention.age, timedelta)
    FailedRetention(7)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    FailedRetention(age=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    MemoryBroker(failed_retention=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- signals ------------------------------------------------------------------------


@signals.job_failed.connect_via(spin.namespace)
def on_failure(namespace: str, job: Job, err: BaseException, **kwargs: Any) -> None: ...


@signals.worker_started.connect
def on_start(namespace: str, worker_name: str, **kwargs: Any) -> None: ...


def listen() -> None:
    signals.job_started.connect(on_failure, sender=spin.namespace)
    signals.job_schedule_retry.disconnect(on_failure)
    with signals.job_finished.connected_to(on_failure, sender="shop"):
        pass
    signals.worker_terminated.connect("on_failure")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    assert signals.job_ended  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


# -- errors and helpers -------------------------------------------------------------


def fails() -> None:
    try:
        spin.schedule("add", 1)
    except UnknownTask as exc:
        lookup: LookupError = exc
        raise lookup from exc
    except ScheduleUncertain as exc:
        assert_type(exc.job_ids, tuple[uuid.UUID, ...])
    except BrokerError as exc:
        assert_type(exc.stored, tuple[uuid.UUID, ...])
        assert_type(exc.unknown, tuple[uuid.UUID, ...])
        assert_type(exc.not_sent, tuple[uuid.UUID, ...])
        base: SpinachError = exc
        raise base from exc


assert_type(exponential_backoff(3), timedelta)
assert_type(exponential_backoff(3, cap=60), timedelta)
exponential_backoff("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# -- how long a job waits before a retry --------------------------------------------

assert_type(Backoff().after(1), timedelta)
assert_type(Backoff().jitter, float)
assert_type(Backoff().first, timedelta)
Backoff(first=timedelta(seconds=1), factor=2, cap=timedelta(minutes=1), jitter=0)
Backoff(timedelta(seconds=1))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Backoff(first=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Backoff().jitter = 0.1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]

# -- jobs of the older spinach --------------------------------------------------------


def move() -> None:
    done = migrate(url="redis://localhost", namespace="shop", into="market", dry_run=True)
    assert_type(done, Migration)
    assert_type(done.moved, int)
    assert_type(done.left, tuple[Left, ...])
    assert_type(migrate(Redis(), tasks={"a b": "a_b"}, queues={}, workers_stopped=True), Migration)
    migrate(Redis(), "shop", "market")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
