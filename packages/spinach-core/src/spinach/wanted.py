"""Jobs that a caller wants to see or to steer: as `schedule` answered them, or by their ids."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spinach.exc import InvalidArgument
from spinach.job import Job
from spinach.record.ids import stored_id
from spinach.support.exception_text import shown

if TYPE_CHECKING:
    from spinach.record.ids import StoredId

__all__ = ["WantedJob", "stored_id_of", "wanted_job"]


@dataclass(frozen=True, slots=True)
class WantedJob:
    """Where to look for a job."""

    #: None: in all queues.
    queue: str | None
    #: An id does not tell whether the job may run more than once.
    stored_ids: tuple[StoredId, ...]


def wanted_job(job: Any, namespace: str) -> WantedJob:
    """Where to look for a job, or for that of an id.

    Args:
        job: a snapshot of it, its id, or the text of that.
        namespace: of the engine that is asked.

    Raises:
        InvalidArgument: neither a job nor an id, or a job of another namespace.
    """
    if isinstance(job, Job):
        return WantedJob(job.queue, (stored_id_of(job, namespace),))
    job_id = job if isinstance(job, uuid.UUID) else None
    if isinstance(job, str):
        try:
            job_id = uuid.UUID(job)
        except ValueError:
            job_id = None
    if job_id is None:
        raise InvalidArgument(
            f"{shown(job)} of type {type(job).__name__} is neither a job nor the id of one. Pass "
            "what schedule() answered, its id (job.id), or the text of its id."
        )
    text = str(job_id)
    return WantedJob(None, (stored_id(text, 0), stored_id(text, 1)))


def stored_id_of(
    job: Any, namespace: str, remedy: str = "Pass what schedule() answered."
) -> StoredId:
    """The id under which a broker of the namespace has a job.

    Args:
        job: a snapshot of it.
        namespace: of the engine that is asked.
        remedy: what the error says to do where it is no job.

    Raises:
        InvalidArgument: not a job, or one that was scheduled in another namespace.
    """
    if not isinstance(job, Job):
        raise InvalidArgument(f"{shown(job)} of type {type(job).__name__} is not a job. {remedy}")
    # Not every job tells where it comes from.
    if job.namespace not in ("", namespace):
        raise InvalidArgument(
            f"Job {job.id_text} was scheduled in namespace {job.namespace!r}, and this engine has "
            f"{namespace!r}. Ask the engine that scheduled it, or another one of namespace "
            f"{job.namespace!r}."
        )
    return stored_id(job.id_text, job.max_retries)
