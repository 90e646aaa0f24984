"""A job: one call of a task, as its producer, its worker and signals see it."""

from __future__ import annotations

import enum
import uuid
from typing import TYPE_CHECKING, Any, Final, Generic

import msgspec

from spinach.clock import from_ms
from spinach.record.header import UnreadableRecord, read_header
from spinach.record.ids import job_id_of
from spinach.record.options import RecordOptions, read_options
from spinach.record.payload import decode_payload

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import TypeVar

    from spinach.outcome import Lease
    from spinach.record.ids import StoredId

    # What the task's function returns. A plain `Job` is one of any task.
    R_co = TypeVar("R_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    R_co = TypeVar("R_co", covariant=True)

__all__ = ["ARROWS", "Job", "JobStatus"]


class JobStatus(enum.Enum):
    """Where a job stands; the arrows between them are in docs/design/states.md."""

    #: Made, not scheduled.
    NOT_SET = "not_set"
    #: Stored; becomes ready at its instant.
    WAITING = "waiting"
    #: Stored and ready to be taken.
    QUEUED = "queued"
    #: A worker runs it.
    RUNNING = "running"
    #: Done.
    SUCCEEDED = "succeeded"
    #: Ended in failure, and kept in the failed store.
    FAILED = "failed"
    #: Taken back, before it ran or while it did.
    CANCELLED = "cancelled"
    #: It was not run, since it would have started too late.
    EXPIRED = "expired"


#: Each change of state that there is, as docs/design/states.md draws it.
ARROWS: Final = frozenset(
    {
        (JobStatus.NOT_SET, JobStatus.WAITING),
        (JobStatus.NOT_SET, JobStatus.QUEUED),
        (JobStatus.WAITING, JobStatus.QUEUED),
        (JobStatus.WAITING, JobStatus.CANCELLED),
        (JobStatus.QUEUED, JobStatus.CANCELLED),
        (JobStatus.QUEUED, JobStatus.EXPIRED),
        (JobStatus.QUEUED, JobStatus.RUNNING),
        (JobStatus.RUNNING, JobStatus.SUCCEEDED),
        (JobStatus.RUNNING, JobStatus.WAITING),
        (JobStatus.RUNNING, JobStatus.FAILED),
        (JobStatus.RUNNING, JobStatus.QUEUED),
        (JobStatus.RUNNING, JobStatus.CANCELLED),
        (JobStatus.FAILED, JobStatus.QUEUED),
    }
)


class Job(msgspec.Struct, Generic[R_co], frozen=True, kw_only=True):
    """A snapshot of a job; it does not follow what happens to the job later.

    `Job[int]` is one whose task returns an int, for type checkers.
    """

    #: Text of `id`.
    id_text: str
    status: JobStatus
    task_name: str
    #: The queue it was scheduled to; it stays there even if its task moves.
    queue: str
    #: Aware, UTC: when it was to start; of one that waits for a retry, when that is due.
    at: datetime
    #: Further attempts it may have after the first one failed.
    max_retries: int
    #: Attempts spent so far.
    retries: int = 0
    task_args: tuple[Any, ...] = ()
    task_kwargs: dict[str, Any] = {}
    #: What its record says of them; None: it was scheduled without any.
    options: RecordOptions | None = None
    #: Of the engine that scheduled it; empty where that is not known.
    namespace: str = ""

    def __repr__(self) -> str:
        """Without the arguments, which may be secret."""
        return (
            f"Job(id={self.id_text}, status={self.status.name}, task_name={self.task_name!r}, "
            f"queue={self.queue!r}, at={self.at.isoformat()}, max_retries={self.max_retries}, "
            f"retries={self.retries})"
        )

    @property
    def id(self) -> uuid.UUID:
        """The id of the job; it never changes."""
        # Made on demand: that takes as long as the rest of a snapshot.
        return uuid.UUID(self.id_text)

    @property
    def attempt(self) -> int:
        """Number of the current or next attempt, from 1."""
        return self.retries + 1

    @property
    def headers(self) -> dict[str, str]:
        """The texts that travel with it, as a copy; see `Engine.options`."""
        return {} if self.options is None else dict(self.options.headers or ())

    @property
    def expires_at(self) -> datetime | None:
        """Aware, UTC: no attempt begins then or later; None: it never expires."""
        expires_ms = None if self.options is None else self.options.expires_ms
        return None if expires_ms is None else from_ms(expires_ms)

    @property
    def keeps_result(self) -> bool:
        """Whether `Engine.result` can answer what it returned."""
        return self.options is not None and self.options.keep_ms is not None

    def with_status(self, status: JobStatus) -> Job[R_co]:
        """The same job in another state."""
        if status is self.status:
            return self
        return msgspec.structs.replace(self, status=status)

    def retried_at(self, at: datetime) -> Job[R_co]:
        """The same job after an attempt that failed, waiting for the next one.

        Args:
            at: when that is due; aware, UTC.
        """
        return msgspec.structs.replace(
            self, status=JobStatus.WAITING, at=at, retries=self.retries + 1
        )


def job_from_record(
    stored_id: StoredId, record: bytes, *, retries: int, status: JobStatus, namespace: str = ""
) -> Job[Any]:
    """Read a job back from what a broker stores.

    Args:
        stored_id: of the job.
        record: of the job.
        retries: attempts spent.
        status: where it stands.
        namespace: of the broker; empty where nobody asks.

    Raises:
        spinach.record.header.UnreadableRecord: newer than this release, or damaged.
    """
    header = read_header(record)
    args, kwargs, at_ms = decode_payload(record)
    options = read_options(record) if header.flags else None
    try:
        id_text, at = str(uuid.UUID(job_id_of(stored_id))), from_ms(at_ms)
        if options is not None and options.expires_ms is not None:
            from_ms(options.expires_ms)
    except (ValueError, OverflowError) as exc:
        raise UnreadableRecord(f"The id or instant of the record is damaged: {exc}") from exc
    return Job(
        id_text=id_text,
        status=status,
        task_name=header.task,
        queue=header.queue,
        at=at,
        max_retries=header.max_retries,
        retries=retries,
        task_args=tuple(args),
        task_kwargs=kwargs,
        options=options,
        namespace=namespace,
    )


def job_from_lease(lease: Lease, status: JobStatus, namespace: str) -> Job[Any]:
    """Read a job back from what a broker leased.

    Raises:
        spinach.record.header.UnreadableRecord: newer than this release, or damaged.
    """
    return job_from_record(
        lease.stored_id, lease.record, retries=lease.retries, status=status, namespace=namespace
    )


def log_fields(job: Job[Any], seconds: float | None = None) -> dict[str, object]:
    """Data of a log record about a job; never arguments, which may be secret.

    Args:
        job: as it was when it happened.
        seconds: how long its attempt took; None: there was none, or it goes on.
    """
    fields: dict[str, object] = {
        "job_id": job.id_text,
        "task": job.task_name,
        "queue": job.queue,
        "attempt": job.attempt,
    }
    if seconds is not None:
        fields["duration_ms"] = seconds * 1000
    return fields
