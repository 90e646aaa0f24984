"""Breakers of what operators see and steer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from msgspec import structs

from spinach.brokers.calls import (
    CancelVerdict,
    Place,
    PurgeReply,
    QueueMembers,
    ReportReply,
    TickReply,
    Verdict,
)
from spinach.outcome import OutcomeKind

from .base import Breaker, ChangesFetches, Family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.base import Broker
    from spinach.brokers.calls import (
        CancelReply,
        Deposit,
        Enrolment,
        FailedPortion,
        FetchReply,
        FetchTurn,
        FireReply,
        JoinReply,
        LimitState,
        MemberLease,
        PortionReply,
        QueueSurvey,
        Turn,
        TurnReply,
    )
    from spinach.brokers.operating import Purgeable
    from spinach.outcome import Outcome

#: Real time after which a wait of a breaker ends by itself.
_END_SECONDS = 60.0


class OnlySaysThatItPaused(Breaker):
    """Says that it paused a queue, and goes on handing out its jobs."""

    breaks = "I24"

    def set_paused(self, queue: str, *, paused: bool) -> bool:
        return True


class EndsPausesWithEachJoin(Breaker):
    """Forgets that a queue is paused when a process joins it."""

    breaks = "I24"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        super().set_paused(queue, paused=False)
        return super().join(queue, member, enrolment)


class EndsPausesWithTheLastMember(Breaker):
    """Forgets that a queue is paused when its last member leaves."""

    breaks = "I24"

    def leave(self, turn: Turn) -> TurnReply:
        reply = super().leave(turn)
        if not self.inner.members(turn.queue).members:
            super().set_paused(turn.queue, paused=False)
        return reply


class PausesTheWholeNamespace(Breaker):
    """Pauses all queues with one."""

    breaks = "I24"

    def set_paused(self, queue: str, *, paused: bool) -> bool:
        for other in self.inner.queues():
            if other != queue:
                super().set_paused(other, paused=paused)
        return super().set_paused(queue, paused=paused)


class LetsDueJobsOfPausedQueuesWait(Breaker):
    """Makes no due job ready in a queue that is paused."""

    breaks = "I24"

    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        if self.inner.survey(queue).paused:
            return TickReply(verdict=Verdict.APPLIED)
        return super().tick(queue, periodic)


class RefusesOutcomesOfPausedQueues(Breaker):
    """Takes no outcome of a job whose queue is paused."""

    breaks = "I24"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        if any(self.inner.survey(each.lease.queue).paused for each in outcomes):
            return ReportReply(verdicts=(Verdict.REFUSED,) * len(outcomes))
        return super().report(outcomes)


class SleepsThroughTheEndOfAPause(ChangesFetches):
    """Waits in a paused queue until it is interrupted."""

    breaks = "I24"

    def __init__(self, inner: Broker, family: Family) -> None:
        super().__init__(inner, family)
        self._interrupted = threading.Event()

    def interrupt(self) -> None:
        self._interrupted.set()
        super().interrupt()

    def changed_wait(self, seconds: float) -> float:
        if seconds > 0 and any(self.inner.survey(name).paused for name in self.inner.queues()):
            self._interrupted.wait(_END_SECONDS)
            self._interrupted.clear()
        return seconds


class HidesPauses(ChangesFetches):
    """Does not tell a process that its queue is paused."""

    breaks = "I24"

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        return structs.replace(reply, paused=False)


class PurgesFailedJobsAsWell(Breaker):
    """Forgets failed jobs, too, whatever it is to purge."""

    breaks = "I24"

    def purge(self, queue: str, status: Purgeable, limit: int) -> PurgeReply:
        super().purge(queue, "failed", limit)
        return super().purge(queue, status, limit)


class PurgesAllAtOnce(Breaker):
    """Forgets more jobs than it was told to."""

    breaks = "I24"

    def purge(self, queue: str, status: Purgeable, limit: int) -> PurgeReply:
        return super().purge(queue, status, 1000 * limit)


class PurgesTheLatestFirst(Breaker):
    """Forgets of the jobs that wait the latest ones first."""

    breaks = "I24"

    def purge(self, queue: str, status: Purgeable, limit: int) -> PurgeReply:
        if status != "waiting":
            return super().purge(queue, status, limit)
        jobs = self.inner.list_jobs(queue, places=[Place.FUTURE], limit=10_000).jobs
        latest = [job.stored_id for job in jobs[-limit:]]
        self.inner.cancel_jobs(queue, latest)
        return PurgeReply(removed=len(latest), more=len(jobs) > limit)


class CountsPurgedJobsTwice(Breaker):
    """Tells twice the number of the jobs that it forgot."""

    breaks = "I1"

    def purge(self, queue: str, status: Purgeable, limit: int) -> PurgeReply:
        reply = super().purge(queue, status, limit)
        return structs.replace(reply, removed=2 * reply.removed)


class OverridesOnlyLowerLimits(Breaker):
    """Lets the limit of an operator count only where it is the lowest one."""

    breaks = "I24"

    def set_limit(self, queue: str, task: str, limit: int | None) -> None:
        declared = {each.task: each.declared for each in self.inner.limits(queue)}.get(task)
        if limit is not None and declared is not None:
            limit = min(limit, declared)
        super().set_limit(queue, task, limit)


class ForgetsOverridesWithEachJoin(Breaker):
    """Forgets the limit of an operator when a process declares one."""

    breaks = "I24"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        reply = super().join(queue, member, enrolment)
        for task in enrolment.limits:
            super().set_limit(queue, task, None)
        return reply


class KeepsOverridesForEver(Breaker):
    """Does not take the limit of an operator back."""

    breaks = "I24"

    def set_limit(self, queue: str, task: str, limit: int | None) -> None:
        if limit is not None:
            super().set_limit(queue, task, limit)


class HidesHeldJobs(Breaker):
    """Tells of no job that waits for a slot."""

    breaks = "I24"

    def limits(self, queue: str) -> list[LimitState]:
        return [structs.replace(each, held=0) for each in super().limits(queue)]


class OnlySaysThatItPausedATask(Breaker):
    """Says that it paused a periodic task, and goes on firing it."""

    breaks = "I24"

    def set_periodic_paused(self, queue: str, task: str, *, paused: bool) -> bool | None:
        known = {each.task for each in self.inner.periodic_tasks(queue)}
        return True if task in known else None


class EndsPausesOfTasksThatAreDeclared(Breaker):
    """Lets a paused periodic task go on when a process declares it."""

    breaks = "I24"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        reply = super().join(queue, member, enrolment)
        for task in enrolment.periodic:
            super().set_periodic_paused(queue, task, paused=False)
        return reply


class FiresPausedTasks(Breaker):
    """Fires a periodic task that was paused after its tick was named."""

    breaks = "I24"

    def fire(self, queue: str, task: str, due_ms: int, deposit: Deposit) -> FireReply:
        reply = super().fire(queue, task, due_ms, deposit)
        if any(each.task == task and each.paused for each in self.inner.periodic_tasks(queue)):
            super().enqueue([deposit])
            return structs.replace(reply, verdict=Verdict.APPLIED)
        return reply


class LosesSightOfPausedTasks(Breaker):
    """Tells the members of a paused periodic task no instant at which to look again."""

    breaks = "I24"

    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        reply = super().tick(queue, periodic)
        if any(each.paused for each in self.inner.periodic_tasks(queue)):
            return structs.replace(reply, next_periodic_in_ms=None)
        return reply


class TellsTheDeadAsAlive(Breaker):
    """Tells of a dead member as if it lived."""

    breaks = "I24"

    def members(self, queue: str) -> QueueMembers:
        found = super().members(queue)
        living = tuple(structs.replace(each, alive=True) for each in found.members)
        return structs.replace(found, members=living)


class _ChangesLeasesTold(Breaker):
    """Changes what is told of the leases of members."""

    breaks = "I24"

    def change(self, lease: MemberLease) -> MemberLease:
        """What is told in the place of a lease."""
        raise NotImplementedError

    def members(self, queue: str) -> QueueMembers:
        found = super().members(queue)
        changed = tuple(
            structs.replace(each, leases=tuple(map(self.change, each.leases)))
            for each in found.members
        )
        return structs.replace(found, members=changed)


class TellsLeasesAsOldAsTheLastBeat(Breaker):
    """Tells of each lease as if it had been given with the last proof of life."""

    breaks = "I24"

    def members(self, queue: str) -> QueueMembers:
        found = super().members(queue)
        changed = tuple(
            structs.replace(
                each,
                leases=tuple(
                    structs.replace(lease, leased_ms=each.seen_ms) for lease in each.leases
                ),
            )
            for each in found.members
        )
        return structs.replace(found, members=changed)


class ForgetsWhichLeasesWereDirect(_ChangesLeasesTold):
    """Tells of each lease as if it had been given for an idle thread."""

    def change(self, lease: MemberLease) -> MemberLease:
        return structs.replace(lease, direct=True)


class ForgetsHowOldLeasesAre(_ChangesLeasesTold):
    """Does not tell since when members have their leases."""

    def change(self, lease: MemberLease) -> MemberLease:
        return structs.replace(lease, leased_ms=None)


class CountsRetriesAsEnds(Breaker):
    """Counts a job that is to be retried as one that ended."""

    breaks = "I24"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        self.family.miscounted += sum(each.kind is OutcomeKind.RETRY for each in outcomes)
        return super().report(outcomes)

    def survey(self, queue: str) -> QueueSurvey:
        survey = super().survey(queue)
        return structs.replace(survey, ended=survey.ended + self.family.miscounted)


class CountsPurgedJobsAsEnded(Breaker):
    """Counts a job that was purged as one that ended."""

    breaks = "I24"

    def purge(self, queue: str, status: Purgeable, limit: int) -> PurgeReply:
        reply = super().purge(queue, status, limit)
        self.family.miscounted += reply.removed
        return reply

    def survey(self, queue: str) -> QueueSurvey:
        survey = super().survey(queue)
        return structs.replace(survey, ended=survey.ended + self.family.miscounted)


class CountsNoCancelledJobsAsEnded(Breaker):
    """Counts a job that was cancelled while no worker had it as one that never ended."""

    breaks = "I24"

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        replies = super().cancel_jobs(queue, stored_ids)
        self.family.miscounted += sum(r.verdict is CancelVerdict.CANCELLED for r in replies)
        return replies

    def survey(self, queue: str) -> QueueSurvey:
        survey = super().survey(queue)
        return structs.replace(survey, ended=survey.ended - self.family.miscounted)


class CountsNoBulkRetries(Breaker):
    """Counts failed jobs that run again in bulk as if they had not come once more."""

    breaks = "I24"

    def retry_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        reply = super().retry_matching(queue, portion)
        self.family.miscounted += reply.count
        return reply

    def survey(self, queue: str) -> QueueSurvey:
        survey = super().survey(queue)
        return structs.replace(survey, came=survey.came - self.family.miscounted)


class TellsATaskOfEachLease(Breaker):
    """Tells of a lease whose record cannot be read as if it were of a task."""

    breaks = "I24"

    def members(self, queue: str) -> QueueMembers:
        found = super().members(queue)
        changed = tuple(
            structs.replace(
                each,
                leases=tuple(
                    structs.replace(lease, task=lease.task or "unknown") for lease in each.leases
                ),
            )
            for each in found.members
        )
        return structs.replace(found, members=changed)


class TakesNoSamples(Breaker):
    """Keeps no samples of how many jobs came and ended."""

    breaks = "I24"

    def survey(self, queue: str) -> QueueSurvey:
        return structs.replace(super().survey(queue), samples=())
