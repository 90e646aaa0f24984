"""A broker that hands every call to another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinach.brokers.base import Broker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import (
        BeatReply,
        Cursor,
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
    from spinach.outcome import Outcome

__all__ = ["PassingBroker"]


class PassingBroker(Broker):
    """Passes every call on to another broker; subclasses do more with some of them.

    Args:
        inner: the broker inside. Its clock, lease and limits hold for both.
    """

    def __init__(self, inner: Broker) -> None:
        super().__init__(
            clock=inner.clock, lease=inner.lease, max_payload_bytes=inner.max_payload_bytes
        )
        self.inner = inner

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        """See `Broker`."""
        return self.inner.enqueue(deposits)

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        """See `Broker`."""
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
        """See `Broker`."""
        return self.inner.fetch(
            turns, idle=idle, extra=extra, max_bytes=max_bytes, block_seconds=block_seconds
        )

    def beat(self, turns: Sequence[Turn]) -> list[BeatReply]:
        """See `Broker`."""
        return self.inner.beat(turns)

    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        """See `Broker`."""
        return self.inner.reconcile(turn, held)

    def leave(self, turn: Turn) -> TurnReply:
        """See `Broker`."""
        return self.inner.leave(turn)

    def interrupt(self) -> None:
        """See `Broker`."""
        self.inner.interrupt()

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        """See `Broker`."""
        return self.inner.report(outcomes)

    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        """See `Broker`."""
        return self.inner.tick(queue, periodic)

    def fire(self, queue: str, task: str, due_ms: int, deposit: Deposit) -> FireReply:
        """See `Broker`."""
        return self.inner.fire(queue, task, due_ms, deposit)

    def recover(self, queue: str, dead: str) -> RecoverReply:
        """See `Broker`."""
        return self.inner.recover(queue, dead)

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        """See `Broker`."""
        return self.inner.counts(queues)

    def queues(self) -> list[str]:
        """See `Broker`."""
        return self.inner.queues()

    def failed_jobs(
        self, queue: str, *, offset: int = 0, limit: int = 100, after: Cursor | None = None
    ) -> list[FailedJob]:
        """See `Broker`."""
        return self.inner.failed_jobs(queue, offset=offset, limit=limit, after=after)

    def retry_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        """See `Broker`."""
        return self.inner.retry_failed(queue, stored_ids)

    def discard_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        """See `Broker`."""
        return self.inner.discard_failed(queue, stored_ids)

    def close(self) -> None:
        """See `Broker`."""
        self.inner.close()
