"""Taking back the jobs of a worker process that died (I7, I11, I12)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from spinach.backoff import jittered_seconds
from spinach.brokers.calls import Ending, JobEnd, LostJob, RecoverReply, Verdict
from spinach.const import (
    HOUSEKEEPING_CHUNK,
    LOST_LAST,
    LOST_ONCE,
    LOST_POISON,
    MAX_FETCH_BYTES,
    MAX_LOSSES,
    RECOVERY_BASE_SECONDS,
    RECOVERY_CAP_SECONDS,
    WORKER_LOST,
)
from spinach.outcome import Failure
from spinach.record.ids import may_repeat

from .jobs import header_of

if TYPE_CHECKING:
    from spinach.backoff import RandomSource

    from .jobs import StoredJob
    from .members import Member
    from .queue import Queue

__all__ = ["recover"]

_MILLISECOND: Final = timedelta(milliseconds=1)


def recover(queue: Queue, member: Member, now_ms: int, source: RandomSource | None) -> RecoverReply:
    """Take back a bounded number of leases of a dead member (I7, I11, I12).

    It begins with the newest. So jobs that go back to the front of the queue stand there in
    order, also when the recovery takes several calls.

    Args:
        queue: of the member.
        member: is dead, and fenced.
        now_ms: the store's now.
        source: draws the delay of jobs that run again.

    Returns:
        The process that died, and where its jobs are now.
    """
    given_up: list[tuple[StoredJob, str]] = []
    again: list[tuple[StoredJob, int]] = []
    unharmed: list[StoredJob] = []
    told_bytes = cancelled = 0
    for _ in range(min(HOUSEKEEPING_CHUNK, len(member.running))):
        stored_id, lease = next(reversed(member.running.items()))
        job = queue.jobs[stored_id]
        if queue.cancelling and queue.cancel_ended(stored_id):
            # Whatever it was to be: nobody wants it any more (I22).
            queue.end_lease(member, stored_id)
            queue.forget(job)
            queue.keep_end(job, JobEnd(ending=Ending.CANCELLED), now_ms)
            cancelled += 1
            continue
        reason = _reason_to_give_up(job) if lease.direct else None
        if reason is not None:
            if told_bytes and told_bytes + len(job.record) > MAX_FETCH_BYTES:
                break
            told_bytes += len(job.record)
        queue.end_lease(member, stored_id)
        if not lease.direct:
            # From now on only idle threads get it, so that losses are counted. A job that
            # kills a process while it is in the buffer would go round for ever.
            job.bufferable = False
            unharmed.append(job)
            continue
        job.losses += 1
        if reason is None:
            again.append((job, now_ms + _delay_ms(job.losses, source)))
        else:
            given_up.append((job, reason))
    # Jobs that are due at one instant run again in the order in which they were leased.
    for job, due_ms in reversed(again):
        queue.retry(job, due_ms, now_ms)
    queue.put_first(unharmed[::-1])
    lost: list[LostJob] = []
    # The failed store keeps the order of the queue, too.
    for job, reason in reversed(given_up):
        queue.give_up(job, Failure(error=WORKER_LOST, message=reason), now_ms)
        lost.append(
            LostJob(
                stored_id=job.stored_id,
                record=job.record,
                retries=job.retries,
                losses=job.losses,
            )
        )
    return RecoverReply(
        verdict=Verdict.APPLIED,
        info=member.enrolment.info,
        ready=len(unharmed),
        retrying=len(again),
        cancelled=cancelled,
        lost=tuple(lost),
        more=bool(member.running),
    )


def _reason_to_give_up(job: StoredJob) -> str | None:
    """Why a job that lost its worker is not run again; None if it is."""
    if not may_repeat(job.stored_id):
        return LOST_ONCE
    if job.losses + 1 >= MAX_LOSSES:
        return LOST_POISON
    header = header_of(job.record)
    if header is not None and job.retries >= header.max_retries:
        return LOST_LAST
    return None


def _delay_ms(losses: int, source: RandomSource | None) -> int:
    """How long a job that has lost this many workers waits before it runs again."""
    seconds = jittered_seconds(
        losses - 1,
        base_seconds=RECOVERY_BASE_SECONDS,
        cap_seconds=RECOVERY_CAP_SECONDS,
        source=source,
    )
    return timedelta(seconds=seconds) // _MILLISECOND
