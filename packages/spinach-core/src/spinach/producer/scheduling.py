"""From a call of `schedule` to a record at the broker; client mode, no thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from spinach.batch import Batch
from spinach.brokers.calls import Deposit
from spinach.clock import as_utc, from_ms, to_ms
from spinach.definition.task import check_call
from spinach.exc import BrokerError, InvalidArgument
from spinach.job import Job, JobStatus
from spinach.record.ids import new_ids, stored_id
from spinach.record.options import NO_OPTIONS
from spinach.record.payload import complete_payload, encode_arguments

if TYPE_CHECKING:
    from datetime import datetime

    from spinach.brokers.storing import StoringRole
    from spinach.definition.call_options import CallOptions
    from spinach.producer.task_table import TaskTable
    from spinach.task import Task

__all__ = ["schedule_batch", "schedule_one"]


def schedule_one(
    broker: StoringRole,
    task_table: TaskTable,
    wanted: Any,
    at: datetime | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: CallOptions | None = None,
) -> Job[Any]:
    """Check, encode and store one job; see `Engine.schedule` and `Engine.options`."""
    task = task_table.resolve(wanted)
    due_ms = None if at is None else to_ms(as_utc(at))
    check_call(task, args, kwargs)
    arguments = encode_arguments(args, kwargs, task=task.name)
    now_ms = to_ms(broker.clock.now())
    (job_id,) = new_ids(1)
    job, deposit = _prepare(broker, task, job_id, now_ms, due_ms, args, kwargs, arguments, options)
    (ready,) = broker.enqueue([deposit])
    return job if ready else job.with_status(JobStatus.WAITING)


def schedule_batch(broker: StoringRole, task_table: TaskTable, batch: Any) -> list[Job[Any]]:
    """Check, encode and store the jobs of a batch; see `Engine.schedule_batch`."""
    if not isinstance(batch, Batch):
        raise InvalidArgument(
            f"schedule_batch got {batch!r} of type {type(batch).__name__}, expected a Batch. "
            "Fill one with batch.schedule(task, ...)."
        )
    entries = batch.pending()
    now_ms = to_ms(broker.clock.now())
    jobs: list[Job[Any]] = []
    deposits: list[Deposit] = []
    for entry, job_id in zip(entries, new_ids(len(entries)), strict=True):
        task = task_table.resolve(entry.task)
        check_call(task, entry.args, entry.kwargs)
        due_ms = None if entry.at is None else to_ms(entry.at)
        job, deposit = _prepare(
            broker, task, job_id, now_ms, due_ms, entry.args, entry.kwargs, entry.arguments,
            entry.options,
        )  # fmt: skip
        jobs.append(job)
        deposits.append(deposit)
    if not deposits:
        return []
    try:
        ready = broker.enqueue(deposits)
    except BrokerError as exc:
        not_sent = set(exc.not_sent)
        batch.sent(entry for entry, job in zip(entries, jobs, strict=True) if job.id in not_sent)
        raise
    batch.sent()
    return [
        job if is_ready else job.with_status(JobStatus.WAITING)
        for job, is_ready in zip(jobs, ready, strict=True)
    ]


def _prepare(
    broker: StoringRole,
    task: Task[..., Any],
    job_id: str,
    now_ms: int,
    due_ms: int | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    arguments: bytes,
    options: CallOptions | None,
) -> tuple[Job[Any], Deposit]:
    at_ms = now_ms if due_ms is None else due_ms
    recorded, header = task.options, task.header
    if options is not None and (asked := options.recorded(at_ms)) is not None:
        # How long the result is kept is the task's to say, and the rest the call's.
        recorded = structs.replace(asked, keep_ms=recorded.keep_ms)
        header = task.header_with(recorded)
    payload = complete_payload(
        arguments,
        at_ms,
        limit_bytes=broker.max_payload_bytes,
        task=task.name,
        options=recorded,
    )
    job = Job(
        id_text=job_id,
        status=JobStatus.QUEUED,
        task_name=task.name,
        queue=task.queue,
        at=from_ms(at_ms),
        max_retries=task.max_retries,
        task_args=args,
        task_kwargs=kwargs,
        options=None if recorded is NO_OPTIONS else recorded,
        namespace=broker.namespace,
    )
    stored = stored_id(job_id, task.max_retries)
    return job, Deposit(task.queue, stored, header + payload, due_ms)
