"""A broker that passes every call on, and a harness that puts it around all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from msgspec import structs

from spinach.brokers.base import Broker

from ..harness import Harness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from spinach.brokers.calls import (
        BeatReply,
        Deposit,
        Enrolment,
        FailedJob,
        FetchReply,
        FetchTurn,
        FireReply,
        JoinReply,
        QueueCounts,
        ReconcileReply,
        RecoverReply,
        ReportReply,
        TickReply,
        Turn,
        TurnReply,
    )
    from spinach.outcome import Lease, Outcome

__all__ = ["Breaker", "BrokenHarness", "Family", "map_leases"]


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
    #: Periodic task → its period in ms.
    periods: dict[str, int] = field(default_factory=dict)


class Breaker(Broker):
    """Passes every call on to another broker; its subclasses break one rule each.

    They do so from the outside, by what they pass on and what they answer, and
    know nothing of the broker inside. The first line of their docstrings says
    what they do wrong. This class itself breaks nothing.

    Args:
        inner: a broker that is bound already.
        family: shared by the breakers around one store.
    """

    #: The invariant that it breaks.
    breaks: ClassVar[str] = ""

    def __init__(self, inner: Broker, family: Family) -> None:
        super().__init__(
            clock=inner.clock, lease=inner.lease, max_payload_bytes=inner.max_payload_bytes
        )
        super().bind(inner.namespace, inner)
        self.inner = inner
        self.family = family
        family.breakers.append(self)

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        """Passed on."""
        return self.inner.enqueue(deposits)

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        """Passed on."""
        return self.inner.join(queue, member, enrolment)

    def fetch(
        self,
        turns: Sequence[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        block_seconds: float = 0.0,
    ) -> list[FetchReply]:
        """Passed on."""
        return self.inner.fetch(
            turns, idle=idle, extra=extra, max_bytes=max_bytes, block_seconds=block_seconds
        )

    def beat(self, turns: Sequence[Turn]) -> list[BeatReply]:
        """Passed on."""
        return self.inner.beat(turns)

    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        """Passed on."""
        return self.inner.reconcile(turn, held)

    def leave(self, turn: Turn) -> TurnReply:
        """Passed on."""
        return self.inner.leave(turn)

    def interrupt(self) -> None:
        """Passed on."""
        self.inner.interrupt()

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        """Passed on."""
        return self.inner.report(outcomes)

    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        """Passed on."""
        return self.inner.tick(queue, periodic)

    def fire(self, queue: str, task: str, due_ms: int, deposit: Deposit) -> FireReply:
        """Passed on."""
        return self.inner.fire(queue, task, due_ms, deposit)

    def recover(self, queue: str, dead: str) -> RecoverReply:
        """Passed on."""
        return self.inner.recover(queue, dead)

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        """Passed on."""
        return self.inner.counts(queues)

    def failed_jobs(self, queue: str, *, offset: int = 0, limit: int = 100) -> list[FailedJob]:
        """Passed on."""
        return self.inner.failed_jobs(queue, offset=offset, limit=limit)

    def retry_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        """Passed on."""
        return self.inner.retry_failed(queue, stored_ids)

    def discard_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        """Passed on."""
        return self.inner.discard_failed(queue, stored_ids)

    def close(self) -> None:
        """Passed on."""
        self.inner.close()


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

    def new_broker(self, *, namespace: str) -> Broker:
        """A broker of the harness inside, broken."""
        return self._breaker(self._inner.new_broker(namespace=namespace), self._family)

    def advance(self, by: timedelta) -> None:
        """Passed on."""
        self._inner.advance(by)

    def now(self) -> datetime:
        """Passed on."""
        return self._inner.now()

    def close(self) -> None:
        """End the waits that a breaker would not let end, then pass on."""
        for breaker in self._family.breakers:
            breaker.inner.interrupt()
        self._inner.close()


def map_leases(replies: Sequence[FetchReply], change: Callable[[Lease], Lease]) -> list[FetchReply]:
    """The replies with each lease changed."""
    return [
        structs.replace(reply, leases=tuple(change(lease) for lease in reply.leases))
        for reply in replies
    ]
