"""A broker that notes what became of the jobs of another one."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from spinach.brokers.calls import Ending, PortionReply, Verdict
from spinach.clock import to_ms
from spinach.const import FAILED_CHUNK
from spinach.exc import BrokerError
from spinach.record.ids import job_id_of

from .clock import VirtualClock
from .errors import UnfinishedJobs
from .passing import PassingBroker
from .threads import of_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.base import Broker
    from spinach.brokers.calls import (
        CancelReply,
        Cursor,
        Deposit,
        FailedPortion,
        FetchReply,
        FetchTurn,
        FireReply,
        JobEnd,
        ReconcileReply,
        RecoverReply,
        ReportReply,
        Turn,
    )
    from spinach.outcome import Outcome
    from spinach.record.ids import StoredId

    from .ledger import Ledger

__all__ = ["RecordingBroker"]

_MILLISECOND = timedelta(milliseconds=1)

#: More jobs than a failed store keeps.
_EVERY = 10**7


class RecordingBroker(PassingBroker):
    """Any broker, with a record of its jobs; uses nothing but the contract.

    Args:
        inner: does the work; serves the same engine.
        ledger: is told what happened.
    """

    def __init__(self, inner: Broker, ledger: Ledger) -> None:
        super().__init__(inner)
        self.ledger = ledger

    def bind(self, namespace: str, owner: object) -> None:
        """Bind the inner broker, too."""
        self.inner.bind(namespace, owner)
        super().bind(namespace, owner)

    # -- storing -----------------------------------------------------------

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        """See `Broker`; what was not stored is not recorded."""
        with self.ledger.call():
            return self._enqueue(deposits)

    def _enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        new = self.ledger.announce(deposits)
        try:
            ready = self.inner.enqueue(deposits)
        except BrokerError as exc:
            # What may be stored stays on record.
            not_sent = {str(job_id) for job_id in exc.not_sent}
            self.ledger.withdraw(each for each in new if job_id_of(each.stored_id) in not_sent)
            raise
        except BaseException:
            self.ledger.withdraw(new)
            raise
        self.ledger.stored(deposits, ready)
        return ready

    # -- working -----------------------------------------------------------

    def fetch(
        self,
        turns: Sequence[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        block_seconds: float = 0.0,
    ) -> list[FetchReply]:
        """See `Broker`. A wait for a server counts as a wait for the clock."""
        clock = self.clock
        if isinstance(clock, VirtualClock) and clock.flows and block_seconds > 0:
            with clock.waiting_for_store(block_seconds, self.inner.interrupt) as absence:
                replies = self.inner.fetch(
                    turns, idle=idle, extra=extra, max_bytes=max_bytes, block_seconds=block_seconds
                )
            if absence.turned:
                # The server was asked before the clock was turned, and counted from there.
                replies = [_sooner(reply, absence.turned) for reply in replies]
        else:
            replies = self.inner.fetch(
                turns, idle=idle, extra=extra, max_bytes=max_bytes, block_seconds=block_seconds
            )
        for reply in replies:
            self.ledger.leased(reply.leases)
        return replies

    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        """See `Broker`."""
        reply = self.inner.reconcile(turn, held)
        self.ledger.leased(reply.missing)
        return reply

    def interrupt(self) -> None:
        """See `Broker`."""
        if isinstance(self.clock, VirtualClock):
            self.clock.rouse()
        self.inner.interrupt()

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        """See `Broker`."""
        with self.ledger.call():
            now_ms = to_ms(self.clock.now())
            reply = self.inner.report(outcomes)
            self.ledger.reported(outcomes, reply.verdicts, now_ms)
            return reply

    # -- housekeeping ------------------------------------------------------

    def fire(self, queue: str, task: str, due_ms: int, deposit: Deposit) -> FireReply:
        """See `Broker`; the tick's job is recorded like any other."""
        with self.ledger.call():
            new = self.ledger.announce([deposit], fired=True)
            reply = self.inner.fire(queue, task, due_ms, deposit)
            if reply.verdict is Verdict.APPLIED:
                self.ledger.stored([deposit], [True])
            elif reply.verdict is Verdict.REFUSED:
                self.ledger.withdraw(new)
            return reply

    def recover(self, queue: str, dead: str) -> RecoverReply:
        """See `Broker`."""
        with self.ledger.call():
            reply = self.inner.recover(queue, dead)
            if reply.verdict is Verdict.APPLIED:
                self.ledger.recovered(dead, reply.lost, more=reply.more)
            return reply

    # -- jobs --------------------------------------------------------------

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        """See `Broker`."""
        with self.ledger.call():
            replies = self.inner.cancel_jobs(queue, stored_ids)
            self.ledger.cancelled(stored_ids, replies)
            return replies

    # -- results -----------------------------------------------------------

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        """See `Broker`. Between the calls of `spinach_worker` no job runs, so that nothing but the
        time of such a wait passes, at once.

        Raises:
            UnfinishedJobs: then it would be a wait for ever.
        """
        clock = self.clock
        if wait_seconds > 0 and isinstance(clock, VirtualClock) and not self._at_work(clock):
            [found] = self.inner.job_ends(queue, [stored_id])
            if found.ending is not Ending.PENDING:
                return found
            if math.isinf(wait_seconds):
                raise UnfinishedJobs(
                    "This wait for a result would have no end, since no job runs between the calls "
                    "of spinach_worker. Call spinach_worker.drain() before you ask for the result, "
                    "or pass a timeout."
                )
            clock.advance(timedelta(seconds=min(wait_seconds, clock.room.total_seconds())))
            wait_seconds = 0.0
        with self.ledger.awaited.waiting_for(stored_id):
            return self.inner.await_end(queue, stored_id, wait_seconds)

    def _at_work(self, clock: VirtualClock) -> bool:
        """Whether jobs may run meanwhile."""
        return clock.is_reserved or bool(of_engine(self.namespace))

    # -- failed store ------------------------------------------------------

    def retry_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        """See `Broker`."""
        with self.ledger.call():
            # Before the call: a worker may be faster than its answer.
            undo = self.ledger.run_again(stored_ids)
            found = 0
            try:
                found = self.inner.retry_failed(queue, stored_ids)
            finally:
                if not found:
                    undo()
            return found

    def retry_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        """See `Broker`; job by job, since their ids are recorded before they may run."""
        jobs = self.inner.failed_jobs(
            queue, limit=_EVERY, after=_behind(portion.until), matching=portion.matching
        )
        oldest_first = [
            job for job in reversed(jobs) if portion.after is None or job.cursor > portion.after
        ]
        taken = oldest_first[:FAILED_CHUNK]
        count = self.retry_failed(queue, [job.stored_id for job in taken])
        more = len(taken) < len(oldest_first)
        return PortionReply(count=count, after=taken[-1].cursor if more else None)


def _behind(place: Cursor) -> Cursor:
    """The place just before one, so that a list which begins behind it has that one, too."""
    return msgspec.structs.replace(place, stored_id=f"{place.stored_id}~")


def _sooner(reply: FetchReply, by: timedelta) -> FetchReply:
    if reply.next_due_in_ms is None:
        return reply
    return msgspec.structs.replace(
        reply, next_due_in_ms=max(0, reply.next_due_in_ms - by // _MILLISECOND)
    )
