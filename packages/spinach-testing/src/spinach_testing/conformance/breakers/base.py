"""A broker that passes every call on, and a harness that puts it around all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from msgspec import structs

from spinach.retention import DEFAULT_RETENTION

from ...passing import PassingBroker
from ..harness import Harness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from spinach.brokers.base import Broker
    from spinach.brokers.calls import FailedJob, FetchReply, FetchTurn, FoundJob, JobEnd
    from spinach.outcome import Lease
    from spinach.retention import FailedRetention

__all__ = ["Breaker", "BrokenHarness", "ChangesFetches", "Family", "map_leases"]


@dataclass(slots=True)
class Family:
    """What the breakers around one store know of each other."""

    breakers: list[Breaker] = field(default_factory=list)
    #: Stored id → its newest lease.
    newest: dict[str, Lease] = field(default_factory=dict)
    #: Queue → member that was named dead, until it is recovered.
    dead: dict[str, str] = field(default_factory=dict)
    #: Members that were named dead at some time.
    buried: set[str] = field(default_factory=set)
    #: Queue → its members, in the order of joining.
    members: dict[str, list[str]] = field(default_factory=dict)
    #: Tasks of which jobs were parked.
    parks: set[str] = field(default_factory=set)
    #: Task → highest limit that was declared.
    highest: dict[str, int] = field(default_factory=dict)
    #: Member → task → limit that it ever declared.
    limits: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Periodic task → its period in ms.
    periods: dict[str, int] = field(default_factory=dict)
    #: The latest time that was ever seen, and until when no dead member is named, in ms.
    latest_ms: int = 0
    spared_until_ms: int = 0
    #: Jobs that failed, in the order in which they did.
    failed: list[str] = field(default_factory=list)
    #: Large ones among them, as they were listed.
    large: dict[str, FailedJob] = field(default_factory=dict)
    #: Stored id → record, as it was to be stored.
    records: dict[str, bytes] = field(default_factory=dict)
    #: Jobs that are counted where they should not be.
    miscounted: int = 0
    #: Queues whose failed jobs were asked for.
    asked: set[str] = field(default_factory=set)
    #: The last job of the last page.
    last_listed: FoundJob | None = None
    #: Stored ids of jobs that were cancelled.
    gone: set[str] = field(default_factory=set)
    #: Stored id → a job that was found in the failed store.
    found_failed: dict[str, FoundJob] = field(default_factory=dict)
    #: How many jobs were cancelled.
    cancelled: int = 0
    #: (stored id, token) that beats named to be cancelled.
    told_to_cancel: set[tuple[str, str]] = field(default_factory=set)
    #: Jobs that a worker had when they were to be cancelled.
    asked_to_cancel: set[str] = field(default_factory=set)
    #: Queue → what the first member said that its failed store keeps.
    retention: dict[str, FailedRetention] = field(default_factory=dict)
    #: Stored id → how the job ended, as it was told once.
    ends: dict[str, JobEnd] = field(default_factory=dict)


class Breaker(PassingBroker):
    """Passes every call on to another broker; its subclasses break one rule each.

    A breaker overrides the calls in which it breaks its rule, and no others. It knows nothing of
    the broker inside: it changes what is passed on, or what is answered. The first line of its
    docstring says what it does wrong. This class itself breaks nothing.

    Args:
        inner: a broker that is bound already.
        family: shared by the breakers around one store.
    """

    #: The invariant that it breaks.
    breaks: ClassVar[str] = ""

    def __init__(self, inner: Broker, family: Family) -> None:
        super().__init__(inner)
        super().bind(inner.namespace, inner)
        self.family = family
        family.breakers.append(self)


class ChangesFetches(Breaker):
    """Fetches as it was asked; a subclass changes the wait, a turn or a reply."""

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
            [self.changed_turn(turn) for turn in turns],
            idle=idle,
            extra=extra,
            max_bytes=max_bytes,
            block_seconds=self.changed_wait(block_seconds),
        )
        return [self.changed_reply(*pair) for pair in zip(turns, replies, strict=True)]

    def changed_wait(self, seconds: float) -> float:
        """How long the broker inside waits, when the caller wants it to wait so long."""
        return seconds

    def changed_turn(self, turn: FetchTurn) -> FetchTurn:
        """What the broker inside is asked."""
        return turn

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        """What the caller of this turn is told."""
        return reply


class BrokenHarness(Harness):
    """A harness whose brokers all have the same breaker around them.

    Args:
        inner: of the broker inside; closed together with this one.
        breaker: a subclass of `Breaker`, or itself.
    """

    def __init__(self, inner: Harness, breaker: type[Breaker]) -> None:
        self._inner = inner
        self._breaker = breaker
        self._family = Family()

    def new_broker(
        self, *, namespace: str, failed_retention: FailedRetention = DEFAULT_RETENTION
    ) -> Broker:
        """A broker of the harness inside, broken."""
        inner = self._inner.new_broker(namespace=namespace, failed_retention=failed_retention)
        return self._breaker(inner, self._family)

    def advance(self, by: timedelta) -> None:
        """Passed on."""
        self._inner.advance(by)

    def set_back(self, by: timedelta) -> None:
        """Passed on."""
        self._inner.set_back(by)

    def now(self) -> datetime:
        """Passed on."""
        return self._inner.now()

    def close(self) -> None:
        """End the waits that a breaker would not let end, then pass on."""
        for breaker in self._family.breakers:
            breaker.inner.interrupt()
        self._inner.close()


def map_leases(reply: FetchReply, change: Callable[[Lease], Lease]) -> FetchReply:
    """The reply with each lease changed."""
    return structs.replace(reply, leases=tuple(change(lease) for lease in reply.leases))
