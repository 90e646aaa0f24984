"""What type checkers have to make of the public interface; checked, never run.

Each `type: ignore` marks a mistake that has to be found: mypy complains if it finds none.
The names are as users write them, so a rename shows here first.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from spinach import (
    AbortException,
    Batch,
    Engine,
    Job,
    JobStatus,
    MemoryBroker,
    RedisBroker,
    RetryException,
    Task,
    Tasks,
    signals,
)
from spinach.brokers.base import Broker
from spinach.engine import Engine as EngineByItsModule
from spinach.exc import BrokerError, ScheduleUncertain, SpinachError, UnknownTask
from spinach.task import Batch as BatchByItsModule
from spinach.task import Tasks as TasksByItsModule
from spinach.utils import exponential_backoff

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)

tasks: TasksByItsModule = Tasks(queue="mail", max_retries=3)
spin: EngineByItsModule = Engine(MemoryBroker(), namespace="shop", random_source=random.Random())
on_redis = Engine(RedisBroker())
brokers: list[Broker] = [MemoryBroker(), RedisBroker()]


# -- tasks: the decorator returns the function itself -------------------------------


@tasks.task(name="add", queue="sums", max_retries=1, max_concurrency=2)
def add(a: int, b: int = 0) -> int:
    return a + b


@spin.task(name="tick", periodicity=timedelta(minutes=5))
def tick() -> None:
    raise RetryException("not yet", at=NOON)


@tasks.task(name="stop")
def stop(task: str, at: str) -> None:  # names that schedule_at has, too
    raise AbortException("for good")


assert_type(add(1, b=2), int)
tasks.add(print, name="print")
tasks.task(add)  # type: ignore[arg-type]
task: Task[..., Any] = tasks.get("add")
spin.attach_tasks(tasks)
spin.detach_tasks(tasks)


# -- schedule: arguments are those of the function ----------------------------------

assert_type(spin.schedule(add, 1, b=2), Job)
assert_type(spin.schedule("add", object(), whatever=None), Job)
assert_type(spin.schedule_at(add, NOON, 1), Job)
assert_type(spin.schedule_at(stop, NOON, task="a", at="b"), Job)
assert_type(tasks.schedule(add, 1), Job)
assert_type(tasks.schedule_at(add, NOON, 1), Job)
assert_type(spin.execute(add, 1), int)

spin.schedule(add, "1")  # type: ignore[call-overload]
spin.schedule(add)  # type: ignore[call-overload]
spin.schedule(add, 1, c=2)  # type: ignore[arg-type]
spin.schedule_at(add, NOON, 1, c=2)  # type: ignore[arg-type]
spin.schedule_at(add, "noon", 1)  # type: ignore[call-overload]
spin.schedule(1)  # type: ignore[call-overload]

batch: BatchByItsModule = Batch()
batch.schedule(add, 1)
batch.schedule_at(add, NOON, 1)
batch.schedule("add", 1)
batch.schedule(add, "1")  # type: ignore[call-overload]
assert_type(spin.schedule_batch(batch), list[Job])
assert_type(tasks.schedule_batch(batch), list[Job])


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
    job.status = JobStatus.FAILED  # type: ignore[misc]


# -- workers ------------------------------------------------------------------------


def work() -> None:
    spin.start_workers()
    spin.start_workers(10, "mail", False, True, grace=timedelta(seconds=30))
    spin.start_workers(number=1, queue=["mail", "sums"], block=False, stop_when_queue_empty=True)
    spin.start_workers(grace=30)  # type: ignore[arg-type]
    spin.stop_workers()
    with spin.using_broker(MemoryBroker()) as broker:
        assert_type(broker, Broker)
    assert_type(spin.namespace, str)


# -- errors, signals, helpers -------------------------------------------------------


def fails() -> None:
    try:
        spin.schedule(add, 1)
    except UnknownTask as exc:
        lookup: LookupError = exc
        raise lookup from exc
    except ScheduleUncertain as exc:
        assert_type(exc.job_ids, tuple[uuid.UUID, ...])
    except BrokerError as exc:
        assert_type(exc.not_sent, tuple[uuid.UUID, ...])
        base: SpinachError = exc
        raise base from exc


@signals.job_failed.connect_via(spin.namespace)
def on_failure(namespace: str, job: Job, err: BaseException, **kwargs: Any) -> None: ...


assert_type(exponential_backoff(3), timedelta)
assert_type(exponential_backoff(3, cap=60), timedelta)
callback: Callable[[int, int], int] = add
