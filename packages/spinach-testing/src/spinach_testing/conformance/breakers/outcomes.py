"""Breakers of what ends a lease: reports, reconciliation and leaving."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from spinach.brokers.calls import Enrolment, ReportReply, TurnReply, Verdict
from spinach.outcome import Failure, Outcome, OutcomeKind

from .base import Breaker, ChangesFetches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import FetchReply, FetchTurn, QueueCounts, ReconcileReply, Turn


class AcceptsAnyToken(ChangesFetches):
    """Applies an outcome to the newest lease of its job, also if it was reported for another."""

    breaks = "I5"

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        self.family.newest.update((lease.stored_id, lease) for lease in reply.leases)
        return reply

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        newest = self.family.newest
        return super().report(
            [
                structs.replace(each, lease=newest.get(each.lease.stored_id, each.lease))
                for each in outcomes
            ]
        )


class AcceptsRepeats(Breaker):
    """Answers that an outcome was applied when it was refused."""

    breaks = "I5"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        reply = super().report(outcomes)
        return structs.replace(reply, verdicts=(Verdict.APPLIED,) * len(reply.verdicts))


class _ChangesOutcomes(Breaker):
    """Passes on something else than what was reported."""

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        return super().report([self.change(each) for each in outcomes])

    def change(self, outcome: Outcome) -> Outcome:
        """The outcome that the broker inside is told."""
        raise NotImplementedError


class ChargesReleases(_ChangesOutcomes):
    """Spends an attempt on a job that was given back unrun."""

    breaks = "I7"

    def change(self, outcome: Outcome) -> Outcome:
        if outcome.kind is not OutcomeKind.RELEASE:
            return outcome
        return structs.replace(outcome, kind=OutcomeKind.RETRY, delay_ms=0)

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        reply = super().report(outcomes)
        for queue in {each.lease.queue for each in outcomes}:
            self.inner.tick(queue, ())
        return reply


class DropsRetries(_ChangesOutcomes):
    """Forgets a job whose attempt failed."""

    breaks = "I4"

    def change(self, outcome: Outcome) -> Outcome:
        if outcome.kind is not OutcomeKind.RETRY:
            return outcome
        return structs.replace(outcome, kind=OutcomeKind.SUCCEEDED, delay_ms=None, at_ms=None)


class RetriesEarly(_ChangesOutcomes):
    """Makes a retry due at once."""

    breaks = "I8"

    def change(self, outcome: Outcome) -> Outcome:
        if outcome.kind is not OutcomeKind.RETRY:
            return outcome
        return structs.replace(outcome, delay_ms=0, at_ms=None)


class ForgetsFailures(_ChangesOutcomes):
    """Forgets a job that failed for good."""

    breaks = "I1"

    def change(self, outcome: Outcome) -> Outcome:
        if outcome.kind is not OutcomeKind.FAILED:
            return outcome
        return structs.replace(outcome, kind=OutcomeKind.SUCCEEDED, failure=None)


class FailsWhatIsParked(_ChangesOutcomes):
    """Fails a job whose task the process does not know."""

    breaks = "I13"

    def change(self, outcome: Outcome) -> Outcome:
        if outcome.kind is not OutcomeKind.PARK:
            return outcome
        failure = Failure(error="UnknownTask", message=outcome.task)
        return structs.replace(outcome, kind=OutcomeKind.FAILED, failure=failure)


class FailsWhatExpired(_ChangesOutcomes):
    """Keeps a job that expired in the failed store."""

    breaks = "I1"

    def change(self, outcome: Outcome) -> Outcome:
        if outcome.kind is not OutcomeKind.EXPIRED:
            return outcome
        failure = Failure(error="Expired", message=outcome.task)
        return structs.replace(outcome, kind=OutcomeKind.FAILED, failure=failure)


class RunsWhatWasCancelled(_ChangesOutcomes):
    """Gives a job that was cancelled back to its queue."""

    breaks = "I1"

    def change(self, outcome: Outcome) -> Outcome:
        if outcome.kind is not OutcomeKind.CANCELLED:
            return outcome
        return structs.replace(outcome, kind=OutcomeKind.RELEASE)


class ReversesReleases(Breaker):
    """Puts the releases of one call in front in reverse, as pushing one by one does."""

    breaks = "I9"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        reply = super().report(list(reversed(outcomes)))
        return structs.replace(reply, verdicts=reply.verdicts[::-1])


class RenewsOnReport(Breaker):
    """Takes a report for proof of life."""

    breaks = "I11"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        reply = super().report(outcomes)
        for outcome, verdict in zip(outcomes, reply.verdicts, strict=True):
            if verdict is Verdict.APPLIED:
                # Joining again is the way to a fresh lease that needs no number.
                lease = outcome.lease
                self.inner.join(lease.queue, lease.member, Enrolment(lease_ms=30_000))
        return reply


class HidesMissing(Breaker):
    """Does not return the leases of a lost reply."""

    breaks = "I6"

    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        return structs.replace(super().reconcile(turn, held), missing=())


class ReturnsTheNewestFirst(Breaker):
    """Returns the leases of lost replies the newest first."""

    breaks = "I6"

    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        reply = super().reconcile(turn, held)
        return structs.replace(reply, missing=reply.missing[::-1])


class HidesStrays(Breaker):
    """Does not say which leases of a process are not its own."""

    breaks = "I6"

    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        return structs.replace(super().reconcile(turn, held), strays=())


class ReconcilesByJob(Breaker):
    """Compares leases by the job alone, and takes an old lease of it for the new one."""

    breaks = "I6"

    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        reply = super().reconcile(turn, held)
        jobs = {stored_id for stored_id, _ in held}
        owned = {lease.stored_id for lease in reply.missing}
        return structs.replace(
            reply,
            missing=tuple(lease for lease in reply.missing if lease.stored_id not in jobs),
            strays=tuple(pair for pair in reply.strays if pair[0] not in owned),
        )


class LeavesWithLeases(Breaker):
    """Says that a process left although it holds jobs."""

    breaks = "I20"

    def leave(self, turn: Turn) -> TurnReply:
        reply = super().leave(turn)
        if reply.verdict is Verdict.REFUSED:
            return TurnReply(verdict=Verdict.APPLIED)
        return reply


class StaysAfterLeaving(Breaker):
    """Keeps a member that left."""

    breaks = "I20"

    def leave(self, turn: Turn) -> TurnReply:
        [reply] = self.inner.beat([turn])
        return TurnReply(verdict=reply.verdict)


class CountsNoLeases(Breaker):
    """Counts a queue as empty while its last jobs run."""

    breaks = "I20"

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        return [
            structs.replace(each, leased=0, leased_by_dead=0) for each in super().counts(queues)
        ]
