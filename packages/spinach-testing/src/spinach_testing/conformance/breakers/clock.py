"""Breakers of what happens when the store's clock is set back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from spinach.clock import to_ms
from spinach.const import DEFAULT_LEASE, STEP_MS

from .base import Breaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import BeatProgress, BeatReply, Enrolment, JoinReply, TickReply, Turn

_LEASE_MS = int(DEFAULT_LEASE.total_seconds() * 1000)


class TakesAnyStepBackForAJump(Breaker):
    """Names no member dead for a lease when the clock goes back by a millisecond."""

    breaks = "I11"

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        family, now_ms = self.family, to_ms(self.inner.clock.now())
        if now_ms < family.latest_ms:
            family.spared_until_ms = now_ms + _LEASE_MS
        family.latest_ms = now_ms
        replies = super().beat(turns, progress)
        if now_ms >= family.spared_until_ms:
            return replies
        return [structs.replace(reply, dead=None) for reply in replies]

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        self.family.latest_ms = to_ms(self.inner.clock.now())
        return super().join(queue, member, enrolment)


class WaitsForTheClockToCatchUp(Breaker):
    """Names no member dead until a clock that was set back shows the same time again."""

    breaks = "I11"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        self._look()
        return super().join(queue, member, enrolment)

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        now_ms = self._look()
        replies = super().beat(turns, progress)
        if now_ms >= self.family.latest_ms:
            return replies
        return [structs.replace(reply, dead=None) for reply in replies]

    def _look(self) -> int:
        now_ms = to_ms(self.inner.clock.now())
        self.family.latest_ms = max(self.family.latest_ms, now_ms)
        return now_ms


class DeclaresDeathsAfterAStepBack(Breaker):
    """Names another member dead when the clock was set back by far."""

    breaks = "I11"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        self.family.members.setdefault(queue, []).append(member)
        self.family.latest_ms = to_ms(self.inner.clock.now())
        return super().join(queue, member, enrolment)

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        family, now_ms = self.family, to_ms(self.inner.clock.now())
        went_back, family.latest_ms = now_ms < family.latest_ms - STEP_MS, now_ms
        replies = super().beat(turns, progress)
        if not went_back:
            return replies
        return [
            structs.replace(
                reply, dead=next((m for m in family.members[turn.queue] if m != turn.member), None)
            )
            for turn, reply in zip(turns, replies, strict=True)
        ]


class WaitsForTicksToCatchUp(Breaker):
    """Lets periodic tasks wait until a clock that was set back shows the same time again."""

    breaks = "I15"

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        self.family.latest_ms = to_ms(self.inner.clock.now())
        return super().join(queue, member, enrolment)

    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        family, now_ms = self.family, to_ms(self.inner.clock.now())
        behind_ms = max(0, family.latest_ms - now_ms)
        family.latest_ms = max(family.latest_ms, now_ms)
        reply = super().tick(queue, periodic)
        if not behind_ms or reply.next_periodic_in_ms is None:
            return reply
        later_ms = reply.next_periodic_in_ms + behind_ms
        return structs.replace(reply, due=(), next_periodic_in_ms=later_ms)
