"""Breakers of `fetch`: which jobs it hands out, to whom, how, and what it tells."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from msgspec import structs

from spinach.brokers.calls import Enrolment, Verdict
from spinach.outcome import OutcomeKind

from .base import Breaker, ChangesFetches, Family, map_leases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.base import Broker
    from spinach.brokers.calls import (
        BeatProgress,
        BeatReply,
        FetchReply,
        FetchTurn,
        ReconcileReply,
        ReportReply,
        Turn,
        TurnReply,
    )
    from spinach.outcome import Lease, Outcome


class HandsOutTwice(ChangesFetches):
    """Hands out the leases of the last fetch again in the next one."""

    breaks = "I3"

    def __init__(self, inner: Broker, family: Family) -> None:
        super().__init__(inner, family)
        self._last: dict[str, tuple[Lease, ...]] = {}

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        again = self._last.get(turn.queue, ()) if reply.verdict is Verdict.APPLIED else ()
        self._last[turn.queue] = reply.leases
        return structs.replace(reply, leases=reply.leases + again)


class BuffersAnything(Breaker):
    """Gives at-most-once, limited and direct-only jobs to the buffer, too."""

    breaks = "I9"

    def fetch(
        self,
        turns: Sequence[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        block_seconds: float = 0.0,
    ) -> list[FetchReply]:
        replies = super().fetch(
            turns, idle=idle + extra, extra=0, max_bytes=max_bytes, block_seconds=block_seconds
        )
        direct = [lease.stored_id for reply in replies for lease in reply.leases][:idle]
        return [
            map_leases(
                reply, lambda lease: structs.replace(lease, direct=lease.stored_id in direct)
            )
            for reply in replies
        ]


class ReversesLeases(ChangesFetches):
    """Hands out jobs in reverse."""

    breaks = "I9"

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        return structs.replace(reply, leases=reply.leases[::-1])


class TakesMoreThanAsked(Breaker):
    """Takes one job more than there are idle threads."""

    breaks = "I9"

    def fetch(
        self,
        turns: Sequence[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        block_seconds: float = 0.0,
    ) -> list[FetchReply]:
        return super().fetch(
            turns, idle=idle + 1, extra=extra, max_bytes=max_bytes, block_seconds=block_seconds
        )


class IgnoresMaxBytes(Breaker):
    """Hands out as many bytes at once as there are."""

    breaks = "I19"

    def fetch(
        self,
        turns: Sequence[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        block_seconds: float = 0.0,
    ) -> list[FetchReply]:
        return super().fetch(
            turns, idle=idle, extra=extra, max_bytes=2**31, block_seconds=block_seconds
        )


class ForgetsRetries(ChangesFetches):
    """Says of each job that no attempt was spent yet."""

    breaks = "I7"

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        return map_leases(reply, lambda lease: structs.replace(lease, retries=0))


class ForgetsLosses(ChangesFetches):
    """Says of each job that it never lost a worker."""

    breaks = "I12"

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        return map_leases(reply, lambda lease: structs.replace(lease, losses=0))


class HidesMore(ChangesFetches):
    """Never says that jobs are left."""

    breaks = "I14"

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        return structs.replace(reply, more=False)


class ClaimsMore(ChangesFetches):
    """Always says that jobs are left, which makes the caller spin."""

    breaks = "I14"

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        return structs.replace(reply, more=reply.verdict is Verdict.APPLIED)


class NamesNoParks(ChangesFetches):
    """Never says that a park holds jobs, so that they stay there."""

    breaks = "I13"

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        return structs.replace(reply, parks=())


class TellsEveryoneTheTime(ChangesFetches):
    """Tells every member when the next job is due, so that all of them promote it."""

    breaks = "I8"

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        [counts] = self.inner.counts([turn.queue])
        return structs.replace(reply, next_due_in_ms=counts.next_due_in_ms)


class OpensAllParks(ChangesFetches):
    """Hands out jobs of every park, also of tasks that the caller does not know."""

    breaks = "I13"

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        self.family.parks.update(each.task for each in outcomes if each.kind is OutcomeKind.PARK)
        return super().report(outcomes)

    def changed_turn(self, turn: FetchTurn) -> FetchTurn:
        return structs.replace(turn, parks=tuple(sorted(self.family.parks)))


class AcceptsStaleNumbers(ChangesFetches):
    """Gives each sequenced call a number of its own, whatever the caller's is."""

    breaks = "I6"

    def __init__(self, inner: Broker, family: Family) -> None:
        super().__init__(inner, family)
        self._numbers = itertools.count(1)

    def changed_turn(self, turn: FetchTurn) -> FetchTurn:
        return structs.replace(turn, number=next(self._numbers))

    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        return super().reconcile(structs.replace(turn, number=next(self._numbers)), held)

    def leave(self, turn: Turn) -> TurnReply:
        return super().leave(structs.replace(turn, number=next(self._numbers)))


class CountsLeasesAsNone(ChangesFetches):
    """Tells a member that it has no leases."""

    breaks = "I6"

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        return reply if reply.lease_count is None else structs.replace(reply, lease_count=0)


class NumbersBeats(Breaker):
    """Takes the number of a beat for that of a call that moves leases."""

    breaks = "I6"

    def __init__(self, inner: Broker, family: Family) -> None:
        super().__init__(inner, family)
        self._last: dict[str, int] = {}

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        replies = []
        for turn, reply in zip(turns, super().beat(turns, progress), strict=True):
            stale = turn.number <= self._last.get(turn.member, -1)
            self._last[turn.member] = turn.number
            replies.append(structs.replace(reply, verdict=Verdict.STALE) if stale else reply)
        return replies


class RejoinsTheFenced(ChangesFetches):
    """Lets a member that the store does not know fetch as if it had joined."""

    breaks = "I5"

    def changed_turn(self, turn: FetchTurn) -> FetchTurn:
        self.inner.join(turn.queue, turn.member, Enrolment(lease_ms=30_000))
        return turn
