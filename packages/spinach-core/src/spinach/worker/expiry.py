"""Jobs that come to their start too late: they are not run.

A worker thread looks right before each attempt. So nothing ever searches a queue for them, and
for a job that never expires nobody looks at the clock. The instant in the record is one of the
broker's clock, as `at` is, and so is the now that it is compared with.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from spinach import signals
from spinach.clock import from_ms
from spinach.job import JobStatus, job_from_lease, log_fields
from spinach.record.header import UnreadableRecord
from spinach.record.ids import job_id_of
from spinach.support.log import JOB_LOGGER
from spinach.support.shield import SHIELD

if TYPE_CHECKING:
    from spinach.clock import Clock
    from spinach.outcome import Lease
    from spinach.record.options import RecordOptions

__all__ = ["has_expired", "tell_expired"]

_MILLISECOND: Final = timedelta(milliseconds=1)


def has_expired(options: RecordOptions, clock: Clock) -> bool:
    """Whether an attempt that begins now would begin too late.

    Args:
        options: of the job.
        clock: the broker's; asked only if the job may expire.
    """
    expires_ms = options.expires_ms
    if expires_ms is None:
        return False
    # Rounded down, so that a job does not expire before its instant. As a number, since a damaged
    # record may name an instant that no datetime has.
    return (clock.now() - from_ms(0)) // _MILLISECOND >= expires_ms


def tell_expired(lease: Lease, namespace: str) -> None:
    """Log that a job is not run, and send the signal.

    Args:
        lease: of a job that has expired.
        namespace: sender of the signal.
    """
    if not (signals.job_expired.receivers or JOB_LOGGER.isEnabledFor(logging.INFO)):
        return
    try:
        job = job_from_lease(lease, JobStatus.EXPIRED, namespace)
    except UnreadableRecord as exc:
        job_id = job_id_of(lease.stored_id)
        with SHIELD:
            JOB_LOGGER.info(
                "Job expired: %s, its record cannot be read: %s", job_id, exc,
                extra={"job_id": job_id, "queue": lease.queue},
            )  # fmt: skip
        return
    with SHIELD:
        JOB_LOGGER.info(
            "Job expired: %s %s, attempt %d would begin after %s",
            job.task_name,
            job.id_text,
            job.attempt,
            job.expires_at,
            extra=log_fields(job),
        )
    with SHIELD:
        signals.job_expired.send(namespace, job=job)
