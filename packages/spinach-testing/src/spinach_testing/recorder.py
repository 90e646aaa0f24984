"""A broker that notes what became of the jobs of another one."""

from __future__ import annotations

import math
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from spinach.brokers.calls import Ending, PortionReply, Verdict
from spinach.clock import to_ms
from spinach.const import FAILED_CHUNK
from spinach.exc import BrokerError
from spinach.job import JobStatus
from spinach.record.ids import job_id_of

from . import listing
from .clock import VirtualClock
from .errors import UnfinishedJobs
from .passing import PassingBroker
from .threads import of_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        PurgeReply,
        ReconcileReply,
        RecoverReply,
        ReportReply,
        Turn,
    )
    from spinach.brokers.operating import Purgeable
    from spinach.outcome import Outcome
    from spinach.record.ids import StoredId

    from .ledger import Entry, Ledger

__all__ = ["RecordingBroker"]

_MILLISECOND = timedelta(milliseconds=1)

#: Between two looks while jobs run, in real seconds.
_PAUSE_SECONDS = 0.002

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

    def watch(
        self, stored_ids: Sequence[str], over: Callable[[], bool], wait_seconds: float
    ) -> bool:
        """See `Broker`, and `await_end`.

        Raises:
            UnfinishedJobs: no job runs, and the wait has no end.
        """
        __tracebackhide__ = True
        clock = self.clock
        with self.ledger.awaited.waiting_for(stored_ids, "the end of") as limit:
            if not isinstance(clock, VirtualClock):
                done = super().watch(stored_ids, over, min(wait_seconds, limit))
                if not done and wait_seconds > limit:
                    raise self.ledger.awaited.too_long()
                return done
            end, pause = clock.elapsed.total_seconds() + wait_seconds, threading.Event()
            while not over():
                remaining = end - clock.elapsed.total_seconds()
                if remaining <= 0:
                    return False
                if self._stands_still():
                    self._let_pass(remaining, stored_ids)
                else:
                    pause.wait(_PAUSE_SECONDS)
            return True

    # -- results -----------------------------------------------------------

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        """See `Broker`. Between the calls of `spinach_worker` no job runs, so that nothing but the
        time of such a wait passes, at once.

        Raises:
            UnfinishedJobs: then it would be a wait for ever.
        """
        __tracebackhide__ = True
        if wait_seconds > 0 and self._stands_still():
            [found] = self.inner.job_ends(queue, [stored_id])
            if found.ending is not Ending.PENDING:
                return found
            self._let_pass(wait_seconds, [stored_id])
            wait_seconds = 0.0
        with self.ledger.awaited.waiting_for([stored_id], "the result of") as limit:
            found = self.inner.await_end(queue, stored_id, min(wait_seconds, limit))
            if found.ending is Ending.PENDING and wait_seconds > limit:
                raise self.ledger.awaited.too_long()
            return found

    def _stands_still(self) -> bool:
        """Whether no job can run meanwhile, nor time pass."""
        clock = self.clock
        return (
            isinstance(clock, VirtualClock)
            and not clock.is_reserved
            and not of_engine(self.namespace)
        )

    def _let_pass(self, seconds: float, stored_ids: Sequence[str]) -> None:
        """Let the time of a wait pass in which no job runs.

        Raises:
            UnfinishedJobs: it has no end.
        """
        __tracebackhide__ = True
        clock = self.clock
        assert isinstance(clock, VirtualClock)
        if not math.isinf(seconds):
            clock.advance(timedelta(seconds=min(seconds, clock.room.total_seconds())))
            return
        entries = [each for each in self.ledger.entries() if each.stored_id in stored_ids]
        left = [each for each in entries if each.in_line or each.status is JobStatus.RUNNING]
        raise UnfinishedJobs(
            "This wait would have no end, since no job runs between the calls of spinach_worker. "
            f"{self._remedy(left)} before you wait, or pass a timeout. Jobs:\n"
            f"{listing.lines(left, to_ms(clock.now()))}"
        )

    def _remedy(self, left: Sequence[Entry]) -> str:
        """What to call, so that these jobs end."""
        for queue in dict.fromkeys(each.queue for each in left if each.in_line):
            if self.inner.survey(queue).paused:
                return (
                    f"Queue {queue!r} is paused: call spinach_engine.queues.resume({queue!r}) "
                    "and spinach_worker.drain()"
                )
        if any(each.status is JobStatus.WAITING for each in left):
            return "Call spinach_worker.run_until_finished(), or advance() as far as needed,"
        return "Call spinach_worker.drain()"

    # -- operating ---------------------------------------------------------

    def purge(self, queue: str, status: Purgeable, limit: int) -> PurgeReply:
        """See `Broker`. Which jobs it was is found out by a look at those that are left."""
        with self.ledger.call():
            before = [
                each.stored_id
                for each in self.ledger.entries()
                if each.in_line and each.queue == queue
            ]
            reply = self.inner.purge(queue, status, limit)
            if before and status != "failed":
                left = {job.stored_id for job in self.inner.find_jobs([queue], before)}
                self.ledger.purged(each for each in before if each not in left)
            return reply

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
