"""A worker process as a test plays it: one broker and its memberships."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from spinach.brokers.calls import (
    BeatReply,
    Enrolment,
    FetchReply,
    FetchTurn,
    JoinReply,
    ReconcileReply,
    TickReply,
    Turn,
    TurnReply,
    Verdict,
)
from spinach.const import DEFAULT_LEASE, MAX_FETCH_BYTES
from spinach.outcome import Failure, Lease, Outcome, OutcomeKind

from .deposits import QUEUE, task_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spinach.brokers.base import Broker

__all__ = ["FAILURE", "MILLISECOND", "Process", "outcome"]

MILLISECOND = timedelta(milliseconds=1)

#: Why jobs fail unless a test says otherwise.
FAILURE = Failure(error="builtins.ValueError", message="no such address", traceback="Traceback ...")


def outcome(
    kind: OutcomeKind,
    lease: Lease,
    *,
    delay: timedelta = timedelta(0),
    at_ms: int | None = None,
    failure: Failure = FAILURE,
    task: str | None = None,
    keep_ms: int | None = None,
    result: bytes | None = None,
) -> Outcome:
    """What became of a lease.

    Args:
        kind: how it ended.
        lease: as it was fetched.
        delay: RETRY only, when `at_ms` is None.
        at_ms: RETRY only.
        failure: FAILED only.
        task: None reads it from the record.
        keep_ms: how long the end of the job is kept; None: not at all.
        result: SUCCEEDED only, with `keep_ms`.
    """
    retry = kind is OutcomeKind.RETRY
    return Outcome(
        kind,
        lease,
        task_of(lease) if task is None else task,
        delay_ms=delay // MILLISECOND if retry and at_ms is None else None,
        at_ms=at_ms if retry else None,
        failure=failure if kind is OutcomeKind.FAILED else None,
        keep_ms=keep_ms,
        result=result,
    )


def _enrolment(
    limits: Mapping[str, int] | None,
    periodic: Mapping[str, timedelta] | None,
    info: Mapping[str, str],
    *,
    lease: timedelta = DEFAULT_LEASE,
    number: int = 0,
) -> Enrolment:
    return Enrolment(
        lease_ms=lease // MILLISECOND,
        limits=dict(limits or {}),
        periodic={task: each // MILLISECOND for task, each in (periodic or {}).items()},
        info=info,
        number=number,
    )


class Process:
    """One worker process: keeps its member ids and numbers, and makes its calls.

    The queue of every method is `QUEUE` unless it is named. Methods that return
    something other than a reply fail the test where the call was not applied.

    Args:
        broker: of this process alone.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._members: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues it joined."""
        return tuple(self._members)

    def member(self, queue: str = QUEUE) -> str:
        """Its member id in a queue; made up at the first question."""
        return self._members.setdefault(queue, uuid.uuid4().hex)

    def turn(self, queue: str = QUEUE) -> Turn:
        """Its next call in a queue, with a number that was not used before."""
        number = self._numbers[queue] = self._numbers.get(queue, 0) + 1
        return Turn(queue, self.member(queue), number)

    # -- memberships -------------------------------------------------------

    def info(self, queue: str = QUEUE) -> dict[str, str]:
        """What it says of itself when it joins a queue; no two processes say the same."""
        return {"host": "conformance", "pid": self.member(queue)[:8]}

    def join(
        self,
        queue: str = QUEUE,
        *,
        limits: Mapping[str, int] | None = None,
        periodic: Mapping[str, timedelta] | None = None,
        lease: timedelta = DEFAULT_LEASE,
    ) -> JoinReply:
        """Become a member of a queue."""
        reply = self.broker.join(
            queue,
            self.member(queue),
            _enrolment(limits, periodic, self.info(queue), lease=lease),
        )
        assert reply.verdict is Verdict.APPLIED, f"join was not applied: {reply}"
        return reply

    def declare(
        self,
        queue: str = QUEUE,
        *,
        limits: Mapping[str, int] | None = None,
        periodic: Mapping[str, timedelta] | None = None,
        number: int | None = None,
    ) -> JoinReply:
        """Declare other limits and periodic tasks, as a member of the queue.

        Args:
            queue: of the membership.
            limits: task → limit.
            periodic: task → period.
            number: of the call; None takes the next one.
        """
        if number is None:
            number = self.turn(queue).number
        enrolment = _enrolment(limits, periodic, self.info(queue), number=number)
        return self.broker.join(queue, self.member(queue), enrolment)

    def fetch_from(
        self,
        queues: Sequence[str],
        *,
        idle: int = 1,
        extra: int = 0,
        max_bytes: int = MAX_FETCH_BYTES,
        block_seconds: float = 0.0,
        parks: Sequence[str] = (),
    ) -> list[FetchReply]:
        """Fetch from each of the queues, in one call."""
        turns = [self.turn(queue) for queue in queues]
        replies = self.broker.fetch(
            [FetchTurn(turn.queue, turn.member, turn.number, tuple(parks)) for turn in turns],
            idle=idle,
            extra=extra,
            max_bytes=max_bytes,
            block_seconds=block_seconds,
        )
        assert len(replies) == len(turns), f"{len(replies)} replies to {len(turns)} turns"
        return replies

    def fetch(
        self,
        queue: str = QUEUE,
        *,
        idle: int = 1,
        extra: int = 0,
        max_bytes: int = MAX_FETCH_BYTES,
        block_seconds: float = 0.0,
        parks: Sequence[str] = (),
    ) -> FetchReply:
        """Fetch from one queue."""
        [reply] = self.fetch_from(
            [queue],
            idle=idle,
            extra=extra,
            max_bytes=max_bytes,
            block_seconds=block_seconds,
            parks=parks,
        )
        return reply

    def take(
        self,
        idle: int = 1,
        extra: int = 0,
        *,
        queue: str = QUEUE,
        parks: Sequence[str] = (),
    ) -> list[Lease]:
        """Fetch, and return the leases."""
        reply = self.fetch(queue, idle=idle, extra=extra, parks=parks)
        assert reply.verdict is Verdict.APPLIED, f"fetch was not applied: {reply}"
        return list(reply.leases)

    def take_one(self, *, queue: str = QUEUE, parks: Sequence[str] = ()) -> Lease:
        """Fetch for one idle thread, and return the lease that must be there."""
        leases = self.take(1, queue=queue, parks=parks)
        assert len(leases) == 1, f"one idle thread got {len(leases)} jobs"
        return leases[0]

    def beat(self, queue: str = QUEUE) -> BeatReply:
        """Prove life in one queue."""
        [reply] = self.broker.beat([Turn(queue, self.member(queue), 0)])
        return reply

    def reconcile(self, held: Sequence[Lease] = (), queue: str = QUEUE) -> ReconcileReply:
        """Reconcile, saying that the process holds these leases."""
        pairs = [(lease.stored_id, lease.token) for lease in held]
        return self.broker.reconcile(self.turn(queue), pairs)

    def leave(self, queue: str = QUEUE) -> TurnReply:
        """End the membership in a queue."""
        return self.broker.leave(self.turn(queue))

    # -- outcomes ----------------------------------------------------------

    def report(self, *outcomes: Outcome) -> tuple[Verdict, ...]:
        """Report in one call, and return the verdicts."""
        return self.broker.report(outcomes).verdicts

    def succeed(self, *leases: Lease) -> None:
        """The jobs are done."""
        self._apply([outcome(OutcomeKind.SUCCEEDED, lease) for lease in leases])

    def fail(self, *leases: Lease, failure: Failure = FAILURE) -> None:
        """The jobs failed for good."""
        self._apply([outcome(OutcomeKind.FAILED, lease, failure=failure) for lease in leases])

    def retry(self, *leases: Lease, delay: timedelta = timedelta(0)) -> None:
        """The attempts failed; the jobs are due again after the delay."""
        self._apply([outcome(OutcomeKind.RETRY, lease, delay=delay) for lease in leases])

    def release(self, *leases: Lease) -> None:
        """The jobs did not run."""
        self._apply([outcome(OutcomeKind.RELEASE, lease) for lease in leases])

    def park(self, *leases: Lease) -> None:
        """The process does not know the task."""
        self._apply([outcome(OutcomeKind.PARK, lease) for lease in leases])

    def _apply(self, outcomes: list[Outcome]) -> None:
        verdicts = self.report(*outcomes)
        assert verdicts == (Verdict.APPLIED,) * len(outcomes), f"{outcomes} got {verdicts}"

    # -- housekeeping ------------------------------------------------------

    def tick(self, queue: str = QUEUE, periodic: Sequence[str] = ()) -> TickReply:
        """Promote due jobs once."""
        reply = self.broker.tick(queue, periodic)
        assert reply.verdict is Verdict.APPLIED, f"tick was not applied: {reply}"
        return reply
