"""The broker contract: what the engine asks of a store of jobs.

Each method is one atomic operation on the store; what it reads and writes is
told in its docstring, and `docs/design/states.md` holds the invariants (I1 to
I21) that all of them keep. A broker holds no job and decides nothing: buffer,
retries and timing are the engine's. It carries no thread of its own.

A broker never compares a client's clock with the store's: replies carry
differences in milliseconds, requests carry durations, or instants that mean the
store's clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING

from spinach.clock import Clock, SystemClock
from spinach.const import DEFAULT_LEASE, DEFAULT_MAX_PAYLOAD_BYTES, LEASE_MARGIN_SECONDS
from spinach.exc import BrokerInUse
from spinach.support.checks import require_clock, require_int, require_timedelta

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

__all__ = ["Broker"]

_SHORTEST_LEASE = timedelta(seconds=LEASE_MARGIN_SECONDS * 2)


class Broker(ABC):
    """Stores jobs and hands them out under leases.

    One instance is one worker process in the eyes of the store and serves one
    engine for life. Building one opens no connection and starts no thread.
    Every method may be called from any thread at any time, and survives a fork:
    in the child the instance opens connections of its own.

    **Failure.** `enqueue` and the methods on the failed store raise
    `BrokerError`. The methods that workers call (`join` to `counts`) never raise
    for what passes by itself, such as a server that is down: they answer
    `Verdict.UNKNOWN` with the error, because the engine has to go on, and what it
    does next depends on not knowing whether the call was carried out. They raise
    `BrokerError` for what needs a person, such as a password that is refused at the first
    call. One that was accepted before may be refused for a while: that passes, too.

    Args:
        clock: what the engine takes for time; a virtual one in tests.
        lease: how long a worker process owns its jobs without proof of life,
            at least ten seconds.
        max_payload_bytes: limit of a job's encoded arguments.

    Raises:
        InvalidArgument: a lease below ten seconds, a limit below one byte.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        lease: timedelta = DEFAULT_LEASE,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
    ) -> None:
        self.lease = require_timedelta(lease, "lease", _SHORTEST_LEASE)
        self.max_payload_bytes = require_int(max_payload_bytes, "max_payload_bytes", 1, 2**29)
        self.clock: Clock = SystemClock() if clock is None else require_clock(clock)
        self._namespace: str | None = None
        self._owner: object | None = None

    @property
    def namespace(self) -> str:
        """The namespace of the engine that this broker serves.

        Raises:
            BrokerInUse: no engine has bound it yet.
        """
        if self._namespace is None:
            raise BrokerInUse(
                "This broker serves no engine yet. Create one with Engine(broker) first."
            )
        return self._namespace

    def bind(self, namespace: str, owner: object) -> None:
        """Give this broker to an engine, for life; again for the same one is fine.

        Args:
            namespace: prefix of everything this broker stores.
            owner: compared by identity; stands for the engine.

        Raises:
            BrokerInUse: another owner has it.
        """
        if self._owner is not None and self._owner is not owner:
            raise BrokerInUse(
                f"This broker serves the engine with namespace {self._namespace!r} and "
                f"cannot serve another one with namespace {namespace!r}. "
                "Create a broker for each engine."
            )
        self._namespace = namespace
        self._owner = owner

    # -- producers ---------------------------------------------------------

    @abstractmethod
    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        """Store jobs, each exactly once (I2).

        Jobs of one queue become ready in the order given. The order between
        queues, and atomicity beyond one chunk of one queue, are not promised. A
        job whose instant is not after the store's now is ready at once.

        Args:
            deposits: may span queues; empty does nothing.

        Returns:
            For each deposit whether it is ready (True) or waits for its instant.

        Raises:
            BrokerUnavailable: nothing is unknown: each job was stored, or not sent.
            BrokerFull: the store refused some for want of memory.
            ScheduleUncertain: the fate of some is unknown.
                Each carries the ids as stored, unknown and not sent.
        """

    # -- memberships -------------------------------------------------------
    #
    # A membership is one worker process in one queue. `fetch`, `reconcile`, `leave` and a
    # `join` that declares anew carry its number, one above the last one the engine used; the
    # engine has one such call in flight per membership. The store remembers the last number:
    # one that is not above it answers STALE and does nothing. A member that the store does
    # not know answers FENCED, to a beat as well.

    @abstractmethod
    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        """Make `member` a member of the queue, with number 0 and a fresh lease.

        Registers the queue, the member's limits (I10) and its periodic tasks
        (I15): one that is absent becomes due one interval from now, one whose
        interval changed is reset to now + interval if that is earlier. Hands out
        no job. Joining twice under one name changes nothing but the lease.

        A member declares anew by joining again with the next number in the
        enrolment: what it declared before is replaced, and its leases stay. Limits
        that it no longer declares end as if it had left. One whose number is not
        above the last one answers STALE, one whose recovery began FENCED.
        """

    @abstractmethod
    def fetch(
        self,
        turns: Sequence[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        block_seconds: float = 0.0,
    ) -> list[FetchReply]:
        """Lease jobs to memberships of this process, in strict order of the turns.

        With `block_seconds` it first waits until something may be takeable in
        one of the queues, `interrupt` is called, or the time is over, and fetches
        in each case. One new job wakes one waiting process (I14); so does a job for
        the future that is due before all others, since somebody has to keep its time.

        From each queue, in order, until `idle + extra` jobs are taken in all:
        first from the parks that the turn names; then the first ready jobs
        whatever they are, as *direct* leases, while fewer than `idle` are taken
        in all; then *buffered* ones, up to the first ready job that is at most
        once, direct-only or limited (I9). Jobs of a limited task that find no
        slot are set aside once, in order, until one is free (I10).

        Args:
            turns: distinct memberships; at least one.
            idle: threads that wait for a job now; bounds the direct leases.
            extra: further jobs for the buffer.
            max_bytes: the records of one call stay below it; one job larger
                than that is handed out alone.
            block_seconds: 0 does not wait.

        Returns:
            A reply for each turn, in order.
        """

    @abstractmethod
    def beat(self, turns: Sequence[Turn]) -> list[BeatReply]:
        """Prove life: the lease of each membership starts anew.

        A beat moves no lease, so it has no number: that of a turn is not looked at, and none
        is taken. It may be made while another call of the membership is in flight, and never
        answers STALE. One that got no answer leaves nothing open.
        """

    @abstractmethod
    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        """Settle what a lost reply left open (I6); proves life, as `beat` does.

        Args:
            turn: as in every sequenced call.
            held: (stored id, token) of each lease that the process holds: received,
                and its outcome not answered yet.

        Returns:
            The leases of this membership that are not in `held`, the oldest first and
            as many as one reply may carry, and the pairs in `held` that this membership
            does not own.
        """

    @abstractmethod
    def leave(self, turn: Turn) -> TurnReply:
        """End the membership; REFUSED while it has leases. Wakes another process
        if jobs are takeable."""

    @abstractmethod
    def interrupt(self) -> None:
        """Let the blocking `fetch` in progress, or else the next one, not wait."""

    # -- outcomes ----------------------------------------------------------

    @abstractmethod
    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        """Tell what became of leases, in order (I5).

        An outcome counts only where its lease is the current one of that job;
        anything else answers REFUSED and changes nothing, so that repeating a
        report is safe. Each that counts frees the job's slot and lets one job
        that waits for it to the front of the queue. Releases of one call keep
        their order and go to the front.
        """

    # -- upkeep, by any member, not sequenced ------------------------------

    @abstractmethod
    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        """Make due jobs ready, a bounded number, in the order of their instants.

        Args:
            queue: to look after.
            periodic: tasks of this queue that the caller declares; the reply says
                which of them are due.
        """

    @abstractmethod
    def fire(self, queue: str, task: str, due_ms: int, deposit: Deposit) -> FireReply:
        """Enqueue the job of one periodic tick, if nobody has yet (I15).

        Applies only while the task is due at exactly `due_ms`, and moves it to
        the first instant on the same grid that is after now.
        """

    @abstractmethod
    def recover(self, queue: str, dead: str) -> RecoverReply:
        """Take back a bounded number of leases of a member whose lease is over (I11).

        A direct lease spends an attempt and counts a loss, a buffered one marks
        the job direct-only. A job that runs at most once, that has no retries left,
        or that lost its worker for the third time goes to the failed store (I12);
        the others become due after a random delay. The reply tells which member died and
        how many jobs went where. Answers REFUSED when the member is alive or unknown, or
        while nobody may be declared dead.
        """

    @abstractmethod
    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        """How many jobs each queue holds in each place.

        One atomic snapshot where the store can give one; otherwise the
        `enqueued` counters tell whether anything came in between.
        """

    # -- failed store ------------------------------------------------------

    @abstractmethod
    def queues(self) -> list[str]:
        """The queues of the namespace: those that took a job or a member once, in any order.

        Raises:
            BrokerError: see `enqueue`.
        """

    @abstractmethod
    def failed_jobs(
        self, queue: str, *, offset: int = 0, limit: int = 100, after: Cursor | None = None
    ) -> list[FailedJob]:
        """Failed jobs of a queue, the newest first: in the falling order of their cursors.

        Args:
            queue: to look into.
            offset: how many to pass over.
            limit: how many to return.
            after: begin behind this place, whether a job stands there or not; None
                begins with the newest.

        Raises:
            BrokerError: see `enqueue`.
        """

    @abstractmethod
    def retry_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        """Make failed jobs ready again, with all their retries before them.

        An at-most-once job is run again because a person asked for it.

        Returns:
            How many of the ids were in the failed store.
        """

    @abstractmethod
    def discard_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        """Forget failed jobs.

        Returns:
            How many of the ids were in the failed store.
        """

    # -- life --------------------------------------------------------------

    @abstractmethod
    def close(self) -> None:
        """Give up connections; the next call opens new ones. Twice is fine."""
