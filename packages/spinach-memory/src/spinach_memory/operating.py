"""What operators see of a queue, and how they steer it; the caller has the store's lock."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from spinach.brokers.calls import (
    FlowSample,
    LimitState,
    MemberLease,
    MemberState,
    PeriodicState,
    PurgeReply,
    QueueMembers,
    QueueSurvey,
)
from spinach.const import MOST_TOLD

from .jobs import task_of
from .queue import read_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spinach.brokers.operating import Purgeable

    from .jobs import Line, StoredJob
    from .members import Member
    from .queue import Queue

__all__ = ["limits", "members", "periodic_tasks", "purge", "sample", "survey"]


def sample(queue: Queue, now_ms: int) -> FlowSample:
    """How many jobs came and ended by now."""
    came = queue.enqueued + queue.flow.revived
    there = len(queue.jobs) - len(queue.failed)
    return FlowSample(at_ms=now_ms, came=came, ended=came - there - queue.flow.purged)


def survey(queue: Queue, now_ms: int) -> QueueSurvey:
    """Whether it is paused, its first job, and how many came and ended."""
    now = sample(queue, now_ms)
    return QueueSurvey(
        queue=queue.name,
        now_ms=now_ms,
        paused=queue.paused,
        first_ready=queue.ready[0].record if queue.ready else None,
        came=now.came,
        ended=now.ended,
        samples=queue.flow.samples,
    )


def purge(queue: Queue, status: Purgeable, limit: int) -> PurgeReply:
    """Forget jobs of one status, the first in line first."""
    if status == "failed":
        oldest = queue.failed.oldest(limit)
        return PurgeReply(removed=queue.discard_failed(oldest), more=len(queue.failed) > 0)
    source = _queued(queue) if status == "queued" else queue.future.drain()
    gone = [*islice(source, limit)]
    for job in gone:
        queue.forget(job)
    removed = len(gone)
    queue.flow.purged += removed
    if status == "waiting":
        if not queue.future:
            queue.timekeeper.wanted = False
        return PurgeReply(removed=removed, more=len(queue.future) > 0)
    for job in gone:
        if job.where is None:  # it was ready
            queue.pass_on_slot(job)
    return PurgeReply(removed=removed, more=bool(queue.ready or queue.limits.held or queue.parked))


def _queued(queue: Queue) -> Iterator[StoredJob]:
    """Take out what is ready, then what is held, then what is parked."""
    yield from _drain(queue.ready)
    for slots in queue.limits.tasks.values():
        yield from _drain(slots.held)
    for task, park in list(queue.parked.items()):
        for job in _drain(park):
            if not park:
                del queue.parked[task]
            yield job


def _drain(line: Line) -> Iterator[StoredJob]:
    """Take out one job after the other, the first one first."""
    while line:
        job = line.popleft()
        line.close_up()
        yield job


def members(queue: Queue, now_ms: int) -> QueueMembers:
    """Its members, those that are dead and not recovered included."""
    return QueueMembers(
        now_ms=now_ms,
        members=tuple(_member(queue, member, now_ms) for member in queue.members),
    )


def _member(queue: Queue, member: Member, now_ms: int) -> MemberState:
    told = sorted(
        member.running.values(), key=lambda lease: (not lease.direct, read_token(lease.token))
    )
    return MemberState(
        member=member.name,
        info=member.enrolment.info,
        seen_ms=member.deadline_ms - member.lease_ms,
        alive=member.alive(now_ms),
        lease_count=len(member.running),
        leases=tuple(
            MemberLease(
                stored_id=queue.jobs[lease.stored_id].stored_id,
                task=task_of(lease.record),
                retries=lease.retries,
                direct=lease.direct,
                leased_ms=read_token(lease.token)[1],
            )
            for lease in told[:MOST_TOLD]
        ),
    )


def limits(queue: Queue) -> list[LimitState]:
    """Its limited tasks."""
    holders: dict[int, list[str]] = {}
    for stored_id, slots in queue.limits.occupied.items():
        holders.setdefault(id(slots), []).append(stored_id)
    return [
        LimitState(
            task=task,
            override=slots.override,
            declared=min(slots.declared.values(), default=None),
            members=len(slots.declared),
            taken=slots.taken,
            holders=tuple(
                queue.jobs[each].stored_id
                for each in sorted(holders.get(id(slots), ()))[:MOST_TOLD]
            ),
            held=slots.held.jobs,
        )
        for task, slots in queue.limits.tasks.items()
    ]


def periodic_tasks(queue: Queue, now_ms: int) -> list[PeriodicState]:
    """Its periodic tasks."""
    return queue.periodic.states(now_ms)
