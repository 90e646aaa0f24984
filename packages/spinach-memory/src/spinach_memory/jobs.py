"""A job as the store keeps it, and what the store reads of its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinach.record.header import UnreadableRecord, read_header
from spinach.record.ids import may_repeat

if TYPE_CHECKING:
    from spinach.record.header import Header
    from spinach.record.ids import StoredId

__all__ = ["StoredJob", "header_of", "task_of"]


class StoredJob:
    """One accepted job, in exactly one place of its queue (I1).

    Mutable and shared by the places it passes through; guarded by the store's lock.
    """

    __slots__ = ("bufferable", "losses", "order", "record", "retries", "stored_id")

    def __init__(self, stored_id: StoredId, record: bytes) -> None:
        self.stored_id = stored_id
        #: Byte for byte as it came (I18).
        self.record = record
        self.forget_attempts()

    def forget_attempts(self) -> None:
        """Start the job's life anew."""
        #: Attempts spent.
        self.retries = 0
        #: Worker processes that were lost while they ran it.
        self.losses = 0
        #: Whether it may wait in a process's buffer. A job that runs at most once may
        #: not, nor may one that was in the buffer of a process that died.
        self.bufferable = may_repeat(self.stored_id)
        #: Order among the jobs of a limited task, given when the job first reaches
        #: the head of the queue; 0 before.
        self.order = 0


def header_of(record: bytes) -> Header | None:
    """The header of a record; None when this release cannot read it."""
    try:
        return read_header(record)
    except UnreadableRecord:
        return None


def task_of(record: bytes) -> str | None:
    """The task of a record; None when this release cannot read it."""
    header = header_of(record)
    return None if header is None else header.task
