"""The number of jobs in each place of a queue, for users and for "is it empty"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinach.brokers.calls import QueueCounts, Verdict

if TYPE_CHECKING:
    from .queue import Queue

__all__ = ["count", "earliest"]


def count(queue: Queue, now_ms: int) -> QueueCounts:
    """Count the jobs of a queue; the caller has the store's lock."""
    alive = [member for member in queue.members if member.alive(now_ms)]
    leased = sum(len(member.running) for member in alive)
    declared = {task for member in alive for task in member.enrolment.periodic}
    next_ms = earliest(queue.future.next_due_ms, queue.periodic.next_due_ms(declared, running=True))
    return QueueCounts(
        verdict=Verdict.APPLIED,
        queue=queue.name,
        ready=queue.ready.jobs,
        held=queue.limits.held,
        leased=leased,
        leased_by_dead=sum(len(member.running) for member in queue.members) - leased,
        future=len(queue.future) - queue.future.retrying,
        retrying=queue.future.retrying,
        parked=sum(park.jobs for park in queue.parked.values()),
        parks={task: park.jobs for task, park in queue.parked.items()},
        failed=len(queue.failed),
        members=len(alive),
        enqueued=queue.enqueued,
        next_due_in_ms=None if next_ms is None else next_ms - now_ms,
    )


def earliest(*instants_ms: int | None) -> int | None:
    """The first of some instants that may be missing; None when all are."""
    return min((at for at in instants_ms if at is not None), default=None)
