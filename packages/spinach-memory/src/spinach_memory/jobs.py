"""A job as the store keeps it, and what the store reads of its record."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from spinach.record.header import UnreadableRecord, read_header
from spinach.record.ids import may_repeat

if TYPE_CHECKING:
    from spinach.brokers.calls import Place
    from spinach.outcome import Failure
    from spinach.record.header import Header
    from spinach.record.ids import StoredId

__all__ = ["Line", "StoredJob", "Whereabouts", "header_of", "task_of"]


class Whereabouts:
    """Where a job is that is neither ready nor leased."""

    __slots__ = ("due_ms", "lane", "order", "place")

    def __init__(
        self, place: Place, *, lane: str = "", due_ms: int | None = None, order: int = 0
    ) -> None:
        self.place = place
        #: Of a held job its task, of a parked one the name of the park.
        self.lane = lane
        #: Of a job of the future its instant, and its place among those of one ms.
        self.due_ms = due_ms
        self.order = order


class StoredJob:
    """One accepted job, in exactly one place of its queue (I1).

    Mutable and shared by the places it passes through; guarded by the store's lock.
    """

    __slots__ = (
        "bufferable",
        "cancelled",
        "failure",
        "losses",
        "number",
        "order",
        "record",
        "retries",
        "stored_id",
        "where",
    )

    def __init__(self, stored_id: StoredId, record: bytes, number: int = 0) -> None:
        self.stored_id = stored_id
        #: Byte for byte as it came (I18).
        self.record = record
        #: Grows with the jobs of the queue, in the order in which they came.
        self.number = number
        #: None: it is ready, leased or in the failed store.
        self.where: Whereabouts | None = None
        #: Whether it is no job any more, but a gap in the line where it stood.
        self.cancelled = False
        self.forget_attempts()

    def forget_attempts(self) -> None:
        """Start the job's life anew."""
        #: Attempts spent.
        self.retries = 0
        #: Worker processes that were lost while they ran it.
        self.losses = 0
        #: Why the last attempt failed, if one did.
        self.failure: Failure | None = None
        #: Whether it may wait in a process's buffer. A job that runs at most once may
        #: not, nor may one that was in the buffer of a process that died.
        self.bufferable = may_repeat(self.stored_id)
        #: Order among the jobs of a limited task, given when the job first reaches
        #: the head of the queue; 0 before.
        self.order = 0


class Line(deque[StoredJob]):
    """A first-in-first-out line of jobs, out of the middle of which some may be cancelled.

    A cancelled job leaves a gap, since to take it out would cost the more, the longer the line
    is. The first one is never a gap: where there is one, there is a job to take. Who takes jobs
    calls `close_up` afterwards if there are `gaps`.
    """

    __slots__ = ("gaps",)

    def __init__(self) -> None:
        super().__init__()
        #: How many of its entries are gaps.
        self.gaps = 0

    @property
    def jobs(self) -> int:
        """How many jobs stand in it."""
        return len(self) - self.gaps

    def lose(self, job: StoredJob) -> None:
        """A job that stands in it is cancelled."""
        job.cancelled = True
        job.record = b""
        self.gaps += 1
        self.close_up()
        if self.gaps > len(self) // 2:
            # All others move once for as many cancels.
            left = [each for each in self if not each.cancelled]
            self.clear()
            self.extend(left)
            self.gaps = 0

    def close_up(self) -> None:
        """Drop the gaps at its head."""
        while self.gaps and self[0].cancelled:
            self.popleft()
            self.gaps -= 1


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
