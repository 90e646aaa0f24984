"""How a job ends that was cancelled, or that its task gave back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from spinach import signals
from spinach.exc import JobCancelled, JobReleased
from spinach.job import Job, JobStatus, job_from_lease, log_fields
from spinach.outcome import Failure, Outcome, OutcomeKind, cut_failure
from spinach.record.header import UnreadableRecord
from spinach.record.ids import job_id_of
from spinach.support.exception_text import class_name, message_of, trace_of, traceback_of
from spinach.support.log import JOB_LOGGER
from spinach.support.shield import SHIELD

if TYPE_CHECKING:
    from spinach.outcome import Lease
    from spinach.worker.buffer import LeasedJob

__all__ = ["early_outcome", "send_cancelled", "tell_cancelled_unrun", "tell_early_end"]

_HAS_STARTED = "The job runs at most once and has started, so that it cannot be given back."


def early_outcome(work: LeasedJob, err: BaseException, *, stopping: bool) -> Outcome | None:
    """The outcome of an attempt that came to an early end.

    Args:
        work: the job that ran.
        err: what it raised. Only its class is asked what it is.
        stopping: the worker was told to stop, and no other reason to end is known.

    Returns:
        None: it failed like any other.
    """
    lease, task = work.lease, work.task
    if work.cancelled:
        return Outcome(OutcomeKind.CANCELLED, lease, task.name, keep_ms=work.keep_ms)
    kind = type(err)
    if not (issubclass(kind, JobReleased) or (stopping and issubclass(kind, JobCancelled))):
        return None
    if lease.repeatable:
        return Outcome(OutcomeKind.RELEASE, lease, task.name, keep_ms=work.keep_ms)
    failure = Failure(
        error=class_name(kind),
        message=f"{message_of(err)} {_HAS_STARTED}".strip(),
        traceback=traceback_of(err),
    )
    return Outcome(
        OutcomeKind.FAILED, lease, task.name, failure=cut_failure(failure), keep_ms=work.keep_ms
    )


def tell_early_end(
    namespace: str, job: Job, outcome: Outcome, err: BaseException, extra: dict[str, Any]
) -> None:
    """Log that a job was cancelled or given back, and send the signals.

    Args:
        namespace: sender of the signals.
        job: as it ran.
        outcome: CANCELLED or RELEASE.
        err: what ended it.
        extra: of the log record.
    """
    cancelled = outcome.kind is OutcomeKind.CANCELLED
    with SHIELD:
        if cancelled:
            # A task that was told to stop may fail in its own way, which somebody may miss.
            own = issubclass(type(err), (JobCancelled, JobReleased))
            JOB_LOGGER.info(
                "Job cancelled: %s %s, attempt %d", job.task_name, job.id_text, job.attempt,
                exc_info=None if own else (type(err), err, trace_of(err)), extra=extra,
            )  # fmt: skip
        else:
            JOB_LOGGER.info(
                "Job given back: %s %s, attempt %d. %s",
                job.task_name, job.id_text, job.attempt, message_of(err), extra=extra,
            )  # fmt: skip
    job = job.with_status(JobStatus.CANCELLED if cancelled else JobStatus.QUEUED)
    if cancelled:
        signals.job_cancelled.send(namespace, job=job)
    signals.job_finished.send(namespace, job=job)


def send_cancelled(namespace: str, lease: Lease) -> None:
    """Send the signal of a job that was cancelled in the store; on a worker thread."""
    if signals.job_cancelled.receivers:
        with contextlib.suppress(UnreadableRecord):
            job = job_from_lease(lease, JobStatus.CANCELLED, namespace)
            signals.job_cancelled.send(namespace, job=job)


def tell_cancelled_unrun(namespace: str, lease: Lease) -> None:
    """Log that a job was cancelled before it started, and send the signal; on a worker thread."""
    try:
        job = job_from_lease(lease, JobStatus.CANCELLED, namespace)
    except UnreadableRecord as exc:
        JOB_LOGGER.info(
            "Job cancelled before it started: %s, its record cannot be read: %s",
            job_id_of(lease.stored_id), exc,
            extra={"job_id": job_id_of(lease.stored_id), "queue": lease.queue},
        )  # fmt: skip
        return
    with SHIELD:
        JOB_LOGGER.info(
            "Job cancelled before it started: %s %s",
            job.task_name,
            job.id_text,
            extra=log_fields(job),
        )
    signals.job_cancelled.send(namespace, job=job)
