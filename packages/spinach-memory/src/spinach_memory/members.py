"""The memberships of a queue: their numbers, their leases, and who is dead (I11)."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from spinach.brokers.calls import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spinach.brokers.calls import Enrolment, Turn
    from spinach.outcome import Lease

__all__ = ["CLAIM_MS", "Member", "Members"]

#: How long the one process that was told of a dead member has to recover it before
#: another one is told, in ms. As on Redis, where it recovers at once, and when the
#: server does not answer (5 s), once more after a pause (5 s at most). Not to be told
#: again at the next beat, 10 s later, is what keeps others out of its way. When it dies
#: as well before it did anything, the leases are taken back that much later.
CLAIM_MS: Final = 12_000

_CLAIMED: Final = attrgetter("claimed_until_ms")


class Member:
    """One worker process in one queue."""

    __slots__ = (
        "claimed_until_ms",
        "deadline_ms",
        "enrolment",
        "lease_ms",
        "name",
        "number",
        "running",
    )

    def __init__(self, name: str, enrolment: Enrolment, now_ms: int) -> None:
        self.name = name
        self.enrolment = enrolment
        #: How long it may go without proof of life.
        self.lease_ms = enrolment.lease_ms
        #: Last number used; None once its recovery began: fenced from then on.
        self.number: int | None = 0
        #: Its leases are its own up to this instant.
        self.deadline_ms = now_ms + self.lease_ms
        #: Named as dead to a process that has until then.
        self.claimed_until_ms = 0
        #: Stored id → lease, in the order they were given.
        self.running: dict[str, Lease] = {}

    def alive(self, now_ms: int) -> bool:
        """Whether its own time is not over and nobody recovers it."""
        return self.number is not None and self.deadline_ms >= now_ms

    def renew(self, now_ms: int) -> None:
        """Start its lease anew."""
        self.deadline_ms = now_ms + self.lease_ms


class Members:
    """The members of a queue by name, with a guard against a store that was away.

    When nobody has called for half a lease, the members may all be well and the
    store (the machine that was suspended, the clock that jumped) may have been
    away. Then nobody is declared dead until each had one lease to prove life.
    """

    __slots__ = ("_by_name", "_last_step_ms", "_longest_lease_ms", "_spared_until_ms")

    def __init__(self) -> None:
        self._by_name: dict[str, Member] = {}
        self._longest_lease_ms = 0
        self._last_step_ms: int | None = None
        self._spared_until_ms: int | None = None

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Member | None:
        """The member of that name, fenced or not; None when there is none."""
        return self._by_name.get(name)

    def add(self, member: Member) -> None:
        """Let a new member in."""
        self._by_name[member.name] = member
        self._measure()

    def remove(self, member: Member) -> None:
        """Let a member go."""
        del self._by_name[member.name]
        self._measure()

    def rejoin(self, member: Member, lease_ms: int, now_ms: int) -> None:
        """Start the lease of a member that joins again."""
        member.lease_ms = lease_ms
        member.renew(now_ms)
        self._measure()

    def take_turn(self, turn: Turn) -> Member | Verdict:
        """Admit a sequenced call: its member, or FENCED or STALE."""
        member = self._by_name.get(turn.member)
        if member is None or member.number is None:
            return Verdict.FENCED
        if turn.number <= member.number:
            return Verdict.STALE
        member.number = turn.number
        return member

    def step(self, now_ms: int) -> bool:
        """Note that somebody called.

        Returns:
            False when time went backwards or stood still for long, so that nothing
            may be concluded from deadlines for one lease.
        """
        last_ms, self._last_step_ms = self._last_step_ms, now_ms
        if last_ms is None or 0 <= now_ms - last_ms <= self._longest_lease_ms // 2:
            return True
        self._spared_until_ms = now_ms + self._longest_lease_ms
        for member in self:
            # A deadline from before the clock went back would keep a dead one alive.
            member.deadline_ms = min(member.deadline_ms, now_ms + member.lease_ms)
            member.claimed_until_ms = 0
        return False

    def condemned(self, member: Member, now_ms: int) -> bool:
        """Whether the member may be, or already is, declared dead."""
        if member.number is None:
            return True
        spared = self._spared_until_ms is not None and now_ms < self._spared_until_ms
        return not spared and member.deadline_ms < now_ms

    def claim(self, member: Member, now_ms: int) -> None:
        """Let nobody else be told of this dead member for a while."""
        member.claimed_until_ms = now_ms + CLAIM_MS

    def name_dead(self, asking: Member, now_ms: int) -> str | None:
        """A dead member for the asking one to recover; None without one to name.

        The one named longest ago comes first, so that one whose recovery fails does
        not keep the others waiting.
        """
        dead = [
            member
            for member in self
            if member is not asking
            and member.claimed_until_ms <= now_ms
            and self.condemned(member, now_ms)
        ]
        if not dead:
            return None
        member = min(dead, key=_CLAIMED)
        self.claim(member, now_ms)
        return member.name

    def _measure(self) -> None:
        # The longest, since the others are judged by whoever still calls.
        self._longest_lease_ms = max((m.lease_ms for m in self), default=0)
