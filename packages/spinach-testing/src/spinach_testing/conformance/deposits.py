"""Jobs for the tests, written as `spinach.record` says."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from spinach.brokers.calls import Deposit
from spinach.record.header import header_line, read_header
from spinach.record.ids import stored_id
from spinach.record.options import NO_OPTIONS, with_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spinach.brokers.calls import FailedJob, LostJob
    from spinach.outcome import Lease
    from spinach.record.options import RecordOptions

__all__ = ["QUEUE", "TASK", "deposit", "ids", "once", "task_of"]

#: Queue and task of every job for which a test asks for no other.
QUEUE = "letters"
TASK = "letters.send"

#: No arguments, as the engine writes them.
_PAYLOAD = b"[[],{},0]"


def deposit(
    task: str = TASK,
    *,
    queue: str = QUEUE,
    max_retries: int = 3,
    due_ms: int | None = None,
    payload: bytes = _PAYLOAD,
    options: RecordOptions = NO_OPTIONS,
) -> Deposit:
    """A job to store, with an id of its own.

    Args:
        task: its name.
        queue: its queue.
        max_retries: 0 makes a job that runs at most once.
        due_ms: instant on the store's clock; None is now.
        payload: taken as it is; brokers never look into it.
        options: at its end, with their flags in the first line; none changes neither.
    """
    flags = options.flags
    header = header_line(max_retries=max_retries, queue=queue, task=task, flags=flags)
    return Deposit(
        queue=queue,
        stored_id=stored_id(str(uuid.uuid4()), max_retries),
        record=header + (with_options(payload, options) if flags else payload),
        due_ms=due_ms,
    )


def once(
    task: str = TASK,
    *,
    queue: str = QUEUE,
    due_ms: int | None = None,
    payload: bytes = _PAYLOAD,
) -> Deposit:
    """A job that runs at most once."""
    return deposit(task, queue=queue, max_retries=0, due_ms=due_ms, payload=payload)


def ids(jobs: Iterable[Deposit | Lease | FailedJob | LostJob]) -> list[str]:
    """The stored ids, in order."""
    return [job.stored_id for job in jobs]


def task_of(lease: Lease) -> str:
    """The task that a leased record names."""
    return read_header(lease.record).task
