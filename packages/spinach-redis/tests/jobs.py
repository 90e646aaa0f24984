"""Jobs and worker processes, as short as tests of single calls want them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from spinach.brokers.calls import Deposit, Enrolment, FetchReply, FetchTurn, Turn, Verdict
from spinach.const import MAX_FETCH_BYTES
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach.record.header import header_line
from spinach.record.ids import stored_id
from spinach_redis import RedisBroker

QUEUE = "letters"
TASK = "mail.send"
LEASE_MS = 30_000


def deposit(
    queue: str = QUEUE,
    *,
    max_retries: int = 3,
    due_ms: int | None = None,
    payload: bytes = b"[]",
    flags: str = "",
) -> Deposit:
    record = header_line(max_retries=max_retries, queue=queue, task=TASK, flags=flags) + payload
    return Deposit(queue, stored_id(str(uuid.uuid4()), max_retries), record, due_ms)


def success(lease: Lease) -> Outcome:
    return Outcome(OutcomeKind.SUCCEEDED, lease, TASK)


class Member:
    """A membership that counts its calls."""

    def __init__(
        self,
        broker: RedisBroker,
        queue: str = QUEUE,
        *,
        name: str | None = None,
        lease_ms: int = LEASE_MS,
        **enrolment: object,
    ) -> None:
        self.broker = broker
        self.queue = queue
        self.name = name or uuid.uuid4().hex
        self.number = 0
        reply = broker.join(queue, self.name, Enrolment(lease_ms=lease_ms, **enrolment))
        assert reply.verdict is Verdict.APPLIED, reply

    def turn(self) -> Turn:
        self.number += 1
        return Turn(self.queue, self.name, self.number)

    def fetch(
        self,
        *,
        idle: int = 1,
        extra: int = 0,
        block_seconds: float = 0.0,
        parks: Sequence[str] = (),
    ) -> FetchReply:
        turn = self.turn()
        [reply] = self.broker.fetch(
            [FetchTurn(turn.queue, turn.member, turn.number, tuple(parks))],
            idle=idle,
            extra=extra,
            max_bytes=MAX_FETCH_BYTES,
            block_seconds=block_seconds,
        )
        return reply

    def take(self, idle: int = 1) -> list[Lease]:
        reply = self.fetch(idle=idle)
        assert reply.verdict is Verdict.APPLIED, reply
        return list(reply.leases)
