"""The memberships of a queue: their numbers, their leases, and which are dead (I11)."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from spinach.brokers.calls import Verdict
from spinach.const import NAMING_MS, STEP_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spinach.brokers.calls import Enrolment, Turn
    from spinach.outcome import Lease

__all__ = ["Member", "Members"]


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
        #: Its leases end this long after its last proof of life.
        self.lease_ms = enrolment.lease_ms
        #: Of its last call with a number. None once its recovery began: it is fenced then.
        self.number: int | None = 0
        #: Its leases end after this instant.
        self.deadline_ms = now_ms + self.lease_ms
        #: Until then no process but the one that was told of its death recovers it.
        self.claimed_until_ms = 0
        #: Stored id → lease, in the order they were given.
        self.running: dict[str, Lease] = {}

    def alive(self, now_ms: int) -> bool:
        """Whether its leases have not ended, and its recovery has not begun."""
        return self.number is not None and self.deadline_ms >= now_ms

    def renew(self, now_ms: int) -> None:
        """Start its lease anew."""
        self.deadline_ms = now_ms + self.lease_ms


class Members:
    """The members of a queue by name, with a guard against a store that was away.

    When no member has called for half a lease, it may be the store that was away: the machine
    was suspended, for example, or its clock jumped. Then no member is declared dead until
    each had one lease to prove life.
    """

    __slots__ = ("_by_name", "_longest_lease_ms", "_seen_ms", "_spared_until_ms")

    def __init__(self) -> None:
        self._by_name: dict[str, Member] = {}
        #: Of the members that joined since there was none; None before the first one.
        self._longest_lease_ms: int | None = None
        #: The last sign of life, kept to the second.
        self._seen_ms: int | None = None
        self._spared_until_ms = 0

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Member | None:
        """The member of that name, fenced or not; None when there is none."""
        return self._by_name.get(name)

    def add(self, member: Member) -> None:
        """Add a new member."""
        self._measure(member.lease_ms)
        self._by_name[member.name] = member

    def remove(self, member: Member) -> None:
        """Remove a member."""
        del self._by_name[member.name]

    def rejoin(self, member: Member, lease_ms: int, now_ms: int) -> None:
        """Start the lease of a member that joins again."""
        member.lease_ms = lease_ms
        member.renew(now_ms)
        self._measure(lease_ms)

    def known(self, name: str) -> Member | None:
        """The member of that name; None where there is none, or its recovery began."""
        member = self._by_name.get(name)
        return None if member is None or member.number is None else member

    def admit(self, turn: Turn) -> Member | Verdict:
        """The member that makes a call with a number, or FENCED or STALE."""
        member = self.known(turn.member)
        if member is None or member.number is None:
            return Verdict.FENCED
        if turn.number <= member.number:
            return Verdict.STALE
        member.number = turn.number
        return member

    def note_call(self, now_ms: int) -> None:
        """Note that a member called.

        When time was set back, or no member called for half a lease, no member is declared
        dead for one lease.
        """
        seen_ms, longest_ms = self._seen_ms, self._longest_lease_ms
        if seen_ms is None or longest_ms is None:
            self.seen(now_ms)
            return
        if now_ms >= seen_ms - STEP_MS and now_ms - seen_ms <= longest_ms / 2:
            if abs(now_ms - seen_ms) >= STEP_MS:
                self.seen(now_ms)
            return
        self.seen(now_ms)
        self._spared_until_ms = now_ms + longest_ms
        for member in self:
            # A deadline from before the clock went back would keep a dead member alive.
            member.deadline_ms = min(member.deadline_ms, now_ms + member.lease_ms)

    def seen(self, now_ms: int) -> None:
        """Note a sign of life to the ms."""
        self._seen_ms = now_ms

    def may_be_recovered(self, member: Member, now_ms: int) -> bool:
        """Whether the member may be, or already is, declared dead."""
        if member.number is None:
            return True
        return member.deadline_ms < now_ms and now_ms >= self._spared_until_ms

    def claim(self, member: Member, now_ms: int) -> None:
        """Tell no other member of this dead one for a while."""
        member.claimed_until_ms = now_ms + NAMING_MS

    def claim_dead(self, asking: Member, now_ms: int) -> str | None:
        """Claim a dead member for the asking one to recover; None if there is none.

        The one that was claimed longest ago comes first, so that a recovery which fails
        does not keep the others waiting.
        """
        dead: list[tuple[int, int, Member]] = []
        for member in self:
            until_ms = member.claimed_until_ms
            if until_ms > now_ms + NAMING_MS:
                # Claimed before the clock was set back.
                until_ms = 0
            if (
                member is not asking
                and member.deadline_ms < now_ms
                and until_ms <= now_ms
                and self.may_be_recovered(member, now_ms)
            ):
                dead.append((until_ms, member.deadline_ms, member))
        if not dead:
            return None
        *_, member = min(dead, key=itemgetter(0, 1))
        self.claim(member, now_ms)
        return member.name

    def _measure(self, lease_ms: int) -> None:
        # The longest, since the others are judged by the calls of those that live.
        longest_ms = (self._longest_lease_ms or 0) if self._by_name else 0
        self._longest_lease_ms = max(longest_ms, lease_ms)
