"""Breakers of limits, recovery, periodic tasks and the bounds of housekeeping."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from msgspec import structs

from spinach.brokers.calls import BeatReply, FireReply, RecoverReply, Verdict
from spinach.const import MAX_LOSSES
from spinach.record.ids import may_repeat

from .base import Breaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import (
        BeatProgress,
        Deposit,
        Enrolment,
        JoinReply,
        QueueCounts,
        TickReply,
        Turn,
    )


class IgnoresLimits(Breaker):
    """Leases as many jobs of a limited task as there are."""

    breaks = "I10"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        return super().join(queue, member, structs.replace(enrolment, limits={}))


class TakesTheHighestLimit(Breaker):
    """Lets a member declare no lower limit than others did."""

    breaks = "I10"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        highest = self.family.highest
        for task, limit in enrolment.limits.items():
            highest[task] = max(limit, highest.get(task, 0))
        limits = {task: highest[task] for task in enrolment.limits}
        return super().join(queue, member, structs.replace(enrolment, limits=limits))


class KeepsWhatWasDeclared(Breaker):
    """Takes a member that declares anew for one that joins once more."""

    breaks = "I10"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        return super().join(queue, member, structs.replace(enrolment, number=0))


class KeepsWithdrawnLimits(Breaker):
    """Has a member keep the limits that it no longer declares."""

    breaks = "I10"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        limits = {**self.family.limits.get(member, {}), **enrolment.limits}
        self.family.limits[member] = limits
        return super().join(queue, member, structs.replace(enrolment, limits=limits))


class KeepsTheSchedule(Breaker):
    """Has a member keep the periodic tasks that it no longer declares."""

    breaks = "I15"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        self.family.periods.update(enrolment.periodic)
        return super().join(
            queue, member, structs.replace(enrolment, periodic=dict(self.family.periods))
        )


class NamesNoDead(Breaker):
    """Never tells of a death in a beat."""

    breaks = "I11"

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        return [structs.replace(reply, dead=None) for reply in super().beat(turns, progress)]


class NamesTheDeadToAll(Breaker):
    """Tells every member of a death until it is recovered."""

    breaks = "I11"

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        replies = []
        for turn, reply in zip(turns, super().beat(turns, progress), strict=True):
            if reply.dead is not None:
                self.family.dead[turn.queue] = reply.dead
            replies.append(structs.replace(reply, dead=self.family.dead.get(turn.queue)))
        return replies

    def recover(self, queue: str, dead: str) -> RecoverReply:
        self.family.dead.pop(queue, None)
        return super().recover(queue, dead)


class NamesTheDeadOnce(Breaker):
    """Tells of a death once, and never again if no member acts on it."""

    breaks = "I11"

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        replies = []
        for reply in super().beat(turns, progress):
            again = reply.dead in self.family.buried
            if reply.dead is not None:
                self.family.buried.add(reply.dead)
            replies.append(structs.replace(reply, dead=None) if again else reply)
        return replies


class NamesTheLivingDead(Breaker):
    """Names another member dead that is alive."""

    breaks = "I11"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        self.family.members.setdefault(queue, []).append(member)
        return super().join(queue, member, enrolment)

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        replies = []
        for turn, reply in zip(turns, super().beat(turns, progress), strict=True):
            others = [
                each for each in self.family.members.get(turn.queue, ()) if each != turn.member
            ]
            replies.append(structs.replace(reply, dead=others[0]) if others else reply)
        return replies


class RecoversTheLiving(Breaker):
    """Says that it recovered a member that is alive."""

    breaks = "I11"

    def recover(self, queue: str, dead: str) -> RecoverReply:
        reply = super().recover(queue, dead)
        if reply.verdict is Verdict.REFUSED:
            return RecoverReply(verdict=Verdict.APPLIED)
        return reply


class RunsLostJobsAgain(Breaker):
    """Makes an at-most-once job ready again that lost its worker."""

    breaks = "I3"

    def recover(self, queue: str, dead: str) -> RecoverReply:
        reply = super().recover(queue, dead)
        again = [job.stored_id for job in reply.lost if not may_repeat(job.stored_id)]
        self.inner.retry_failed(queue, again)
        return structs.replace(
            reply, lost=tuple(job for job in reply.lost if job.stored_id not in again)
        )


class NeverPoisons(Breaker):
    """Runs a job again although it has lost three workers."""

    breaks = "I12"

    def recover(self, queue: str, dead: str) -> RecoverReply:
        reply = super().recover(queue, dead)
        again = [job.stored_id for job in reply.lost if job.losses >= MAX_LOSSES]
        self.inner.retry_failed(queue, again)
        return structs.replace(
            reply, lost=tuple(job for job in reply.lost if job.stored_id not in again)
        )


class HidesTheDead(Breaker):
    """Tells nothing of a member that it recovers."""

    breaks = "I11"

    def recover(self, queue: str, dead: str) -> RecoverReply:
        return structs.replace(super().recover(queue, dead), info={})


class TellsNotWhereJobsWent(Breaker):
    """Says that every job is ready which recovery took back and did not fail."""

    breaks = "I11"

    def recover(self, queue: str, dead: str) -> RecoverReply:
        reply = super().recover(queue, dead)
        return structs.replace(reply, ready=reply.ready + reply.retrying, retrying=0)


class CountsParksAsOne(Breaker):
    """Counts all parked jobs under the name of one task."""

    breaks = "I13"

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        return [
            structs.replace(each, parks={min(each.parks): each.parked} if each.parks else {})
            for each in super().counts(queues)
        ]


class DiscardsLostJobs(Breaker):
    """Forgets the jobs that recovery had to fail."""

    breaks = "I4"

    def recover(self, queue: str, dead: str) -> RecoverReply:
        reply = super().recover(queue, dead)
        self.inner.discard_failed(queue, [job.stored_id for job in reply.lost])
        return reply


class FiresTwice(Breaker):
    """Enqueues the job of a tick that another member has fired."""

    breaks = "I15"

    def fire(self, queue: str, task: str, due_ms: int, deposit: Deposit) -> FireReply:
        reply = super().fire(queue, task, due_ms, deposit)
        if reply.verdict is Verdict.REFUSED and reply.next_due_in_ms is not None:
            self.inner.enqueue([deposit])
            return structs.replace(reply, verdict=Verdict.APPLIED)
        return reply


class FiresAnyInstant(Breaker):
    """Fires a task that is due, also if the caller has seen another instant."""

    breaks = "I15"

    def fire(self, queue: str, task: str, due_ms: int, deposit: Deposit) -> FireReply:
        for due in self.inner.tick(queue, [task]).due:
            due_ms = due.due_ms
        return super().fire(queue, task, due_ms, deposit)


class FiresEveryMissedTick(Breaker):
    """Makes up for each tick of a downtime with a job of its own."""

    breaks = "I15"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        self.family.periods.update(enrolment.periodic)
        return super().join(queue, member, enrolment)

    def fire(self, queue: str, task: str, due_ms: int, deposit: Deposit) -> FireReply:
        reply = super().fire(queue, task, due_ms, deposit)
        if reply.verdict is Verdict.APPLIED and reply.next_due_in_ms is not None:
            now_ms = self.inner.clock.now().timestamp() * 1000
            for _ in range(int(now_ms - due_ms) // self.family.periods[task]):
                self.inner.enqueue([structs.replace(deposit, stored_id=f"1{uuid.uuid4()}")])
        return reply


class TellsOfAllTicks(Breaker):
    """Tells a process of due tasks that it does not declare."""

    breaks = "I15"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        self.family.periods.update(enrolment.periodic)
        return super().join(queue, member, enrolment)

    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        return super().tick(queue, sorted({*periodic, *self.family.periods}))


class PromotesInOneGo(Breaker):
    """Makes all due jobs ready in one call, however many there are."""

    breaks = "I19"

    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        reply = super().tick(queue, periodic)
        while reply.next_due_in_ms == 0:
            reply = super().tick(queue, periodic)
        return reply


class RecoversInOneGo(Breaker):
    """Takes back all leases of a dead member in one call."""

    breaks = "I19"

    def recover(self, queue: str, dead: str) -> RecoverReply:
        reply = super().recover(queue, dead)
        lost = list(reply.lost)
        while reply.more:
            reply = super().recover(queue, dead)
            lost += reply.lost
        return structs.replace(reply, lost=tuple(lost))
