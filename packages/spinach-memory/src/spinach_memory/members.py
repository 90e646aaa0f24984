"""The memberships of a queue: their numbers, their leases, and who is dead (I11)."""

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

    __slots__ = ("_by_name", "_longest_lease_ms", "_seen_ms", "_spared_until_ms")

    def __init__(self) -> None:
        self._by_name: dict[str, Member] = {}
        #: That anybody joined with since the queue had no member; None before the first.
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
        """Let a new member in."""
        self._measure(member.lease_ms)
        self._by_name[member.name] = member

    def remove(self, member: Member) -> None:
        """Let a member go."""
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

    def take_turn(self, turn: Turn) -> Member | Verdict:
        """Admit a sequenced call: its member, or FENCED or STALE."""
        member = self.known(turn.member)
        if member is None or member.number is None:
            return Verdict.FENCED
        if turn.number <= member.number:
            return Verdict.STALE
        member.number = turn.number
        return member

    def step(self, now_ms: int) -> None:
        """Note that somebody called.

        When time was set back, or nobody called for half a lease, nothing is concluded
        from deadlines for one lease.
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
            # A deadline from before the clock went back would keep a dead one alive.
            member.deadline_ms = min(member.deadline_ms, now_ms + member.lease_ms)

    def seen(self, now_ms: int) -> None:
        """Note a sign of life to the ms."""
        self._seen_ms = now_ms

    def condemned(self, member: Member, now_ms: int) -> bool:
        """Whether the member may be, or already is, declared dead."""
        if member.number is None:
            return True
        return member.deadline_ms < now_ms and now_ms >= self._spared_until_ms

    def claim(self, member: Member, now_ms: int) -> None:
        """Let nobody else be told of this dead member for a while."""
        member.claimed_until_ms = now_ms + NAMING_MS

    def name_dead(self, asking: Member, now_ms: int) -> str | None:
        """A dead member for the asking one to recover; None without one to name.

        The one named longest ago comes first, so that one whose recovery fails does
        not keep the others waiting.
        """
        dead: list[tuple[int, int, Member]] = []
        for member in self:
            named_until_ms = member.claimed_until_ms
            if named_until_ms > now_ms + NAMING_MS:
                # Claimed before the clock was set back.
                named_until_ms = 0
            if (
                member is not asking
                and member.deadline_ms < now_ms
                and named_until_ms <= now_ms
                and self.condemned(member, now_ms)
            ):
                dead.append((named_until_ms, member.deadline_ms, member))
        if not dead:
            return None
        *_, member = min(dead, key=itemgetter(0, 1))
        self.claim(member, now_ms)
        return member.name

    def _measure(self, lease_ms: int) -> None:
        # The longest, since the others are judged by whoever still calls.
        longest_ms = (self._longest_lease_ms or 0) if self._by_name else 0
        self._longest_lease_ms = max(longest_ms, lease_ms)
