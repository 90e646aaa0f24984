"""The broker contract on a store in memory."""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Final

from spinach.brokers.base import Broker
from spinach.brokers.calls import (
    BeatReply,
    CancelReply,
    CancelVerdict,
    FailedFilter,
    FetchReply,
    FireReply,
    FoundPage,
    JoinReply,
    PortionReply,
    PurgeReply,
    QueueCounts,
    QueueMembers,
    QueueSurvey,
    ReconcileReply,
    RecoverReply,
    ReportReply,
    TickReply,
    Turn,
    TurnReply,
    Verdict,
)
from spinach.clock import to_ms
from spinach.const import DEFAULT_LEASE, DEFAULT_MAX_PAYLOAD_BYTES, MAX_FETCH_BYTES
from spinach.exc import InvalidArgument
from spinach.retention import DEFAULT_RETENTION

from . import operating
from .counts import count, earliest
from .finding import find, page, read_cursor
from .members import Member
from .queue import FetchBudget
from .recovery import recover
from .stopped_clock import StoppedClock
from .store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from spinach.backoff import RandomSource
    from spinach.brokers.calls import (
        BeatProgress,
        Cursor,
        Deposit,
        Enrolment,
        FailedJob,
        FailedPortion,
        FetchTurn,
        FoundJob,
        JobEnd,
        LimitState,
        PeriodicState,
        Place,
    )
    from spinach.brokers.operating import Purgeable
    from spinach.clock import Clock
    from spinach.outcome import Outcome
    from spinach.record.ids import StoredId
    from spinach.retention import FailedRetention

    from .queue import Queue

__all__ = ["MemoryBroker"]

_NEARLY_A_MS: Final = timedelta(microseconds=999)


class MemoryBroker(Broker):
    """Keeps jobs in a `MemoryStore`, by the same rules as a server would.

    Brokers that share a store behave as worker processes that share a server. The store
    never fails, so no call answers UNKNOWN or raises BrokerError.
    A signal handler, a finalizer or a log handler may schedule at any time. Any other call of
    theirs raises `NestedCall` if it comes in the middle of another call on the same thread.

    Args:
        store: None makes one of its own.
        clock: None takes the machine's. Brokers on one store share one clock.
        lease: how long a worker process owns its jobs without proof of life,
            at least ten seconds.
        max_payload_bytes: limit of a job's encoded arguments.
        random_source: draws the delay before a job that lost its worker runs again;
            None takes the `random` module.
        failed_retention: what the failed store of a queue keeps. The worker process that joined
            the queue last says so, by its broker, to all others.

    Raises:
        InvalidArgument: see `spinach.brokers.base.Broker`.
    """

    def __init__(
        self,
        store: MemoryStore | None = None,
        *,
        clock: Clock | None = None,
        lease: timedelta = DEFAULT_LEASE,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        random_source: RandomSource | None = None,
        failed_retention: FailedRetention = DEFAULT_RETENTION,
    ) -> None:
        super().__init__(
            clock=clock,
            lease=lease,
            max_payload_bytes=max_payload_bytes,
            failed_retention=failed_retention,
        )
        if store is not None and not isinstance(store, MemoryStore):
            raise InvalidArgument(
                f"store is {store!r} of type {type(store).__name__}, expected a MemoryStore."
            )
        self.store = MemoryStore() if store is None else store
        self._random_source = random_source
        self._stopped_clock = StoppedClock(self.clock)

    # -- producers ---------------------------------------------------------

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        """Store jobs; one atomic step for all queues. Nothing is ever full or unknown.

        The jobs of a nested call are stored when the outer call ends. Calls that look for
        them wait until then.
        """
        shelves = self.store.shelves()
        if shelves.in_call():
            return shelves.accept_later(self.namespace, deposits, self._now_ms())
        with shelves, shelves.lock:
            return shelves.accept(self.namespace, deposits, self._now_ms())

    # -- memberships -------------------------------------------------------

    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        """Make `member` a member, or let it declare anew; FENCED once its recovery has begun."""
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            known = stored.members.get(member)
            anew = enrolment.number > 0
            if (known is None and anew) or (known is not None and known.number is None):
                # There is no such member to declare anew, or its recovery began.
                return JoinReply(verdict=Verdict.FENCED)
            now_ms = self._note_call(stored)
            if known is None:
                newcomer = Member(member, enrolment, now_ms)
                stored.listed = True
                stored.members.add(newcomer)
                stored.declare_limits(newcomer)
                stored.periodic.declare(enrolment.periodic, now_ms)
                stored.forget_undeclared(now_ms)
                stored.end_call()
            else:
                if anew:
                    admitted = stored.members.admit(Turn(queue, member, enrolment.number))
                    if isinstance(admitted, Verdict):
                        return JoinReply(verdict=admitted)
                stored.members.rejoin(known, enrolment.lease_ms, now_ms)
                if anew:
                    stored.declare_anew(known, enrolment, now_ms)
                    stored.end_call()
            stored.retention = self.failed_retention
            self._take_sample(stored, now_ms)
            next_ms = stored.periodic.next_due_ms(enrolment.periodic)
            return JoinReply(verdict=Verdict.APPLIED, next_due_in_ms=_until(next_ms, now_ms))

    def fetch(
        self,
        turns: Sequence[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        block_seconds: float = 0.0,
    ) -> list[FetchReply]:
        """Lease jobs, after a wait if asked to; waiting and taking are one atomic step."""
        with self.store.shelves() as shelves, shelves.lock:
            queues = [shelves.queue(self.namespace, turn.queue) for turn in turns]
            try:
                if block_seconds > 0:
                    asked = [(queue, turn.parks) for queue, turn in zip(queues, turns, strict=True)]
                    shelves.wait(self, asked, block_seconds)
                budget = FetchBudget(
                    idle=idle, extra=extra, max_bytes=max_bytes, number=shelves.new_number()
                )
                return [
                    self._fetch_one(queue, turn, budget)
                    for queue, turn in zip(queues, turns, strict=True)
                ]
            finally:
                # Jobs may be left, and a waiter that was woken for them may have broken off.
                for queue in queues:
                    queue.wake()

    def _fetch_one(self, queue: Queue, turn: FetchTurn, budget: FetchBudget) -> FetchReply:
        now_ms = self._note_call(queue)
        member = queue.members.admit(turn)
        if isinstance(member, Verdict):
            return FetchReply(verdict=member)
        paused = queue.paused
        leases = () if paused else queue.take(member, turn.parks, budget, now_ms)
        keeps_time = queue.timekeeper.offer(member.name, now_ms)
        return FetchReply(
            verdict=Verdict.APPLIED,
            leases=leases,
            lease_count=None if leases else len(member.running),
            more=not paused
            and (bool(queue.ready) or any(task in queue.parked for task in turn.parks)),
            parks=queue.park_names() if queue.parked and not paused else (),
            next_due_in_ms=_until(queue.future.next_due_ms, now_ms) if keeps_time else None,
            dead=queue.members.claim_dead(member, now_ms),
            paused=paused,
        )

    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        """Renew leases, also after the deadline unless the member's recovery began."""
        self._stopped_clock.look()
        shelves = self.store.shelves()
        replies: list[BeatReply] = []
        with shelves, shelves.lock:
            for told in progress:
                shelves.queue(self.namespace, told.queue).note_progress(told)
            for turn in turns:
                queue = shelves.queue(self.namespace, turn.queue)
                now_ms = self._note_call(queue)
                member = queue.members.known(turn.member)
                if member is None:
                    replies.append(BeatReply(verdict=Verdict.FENCED))
                    continue
                member.renew(now_ms)
                queue.results.trim(now_ms)
                self._take_sample(queue, now_ms)
                dead = queue.members.claim_dead(member, now_ms)
                cancelled = queue.cancelled(member) if queue.cancelling else ()
                replies.append(BeatReply(verdict=Verdict.APPLIED, dead=dead, cancelled=cancelled))
        return replies

    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        with self.store.shelves() as shelves, shelves.lock:
            queue = shelves.queue(self.namespace, turn.queue)
            now_ms = self._note_call(queue)
            member = queue.members.admit(turn)
            if isinstance(member, Verdict):
                return ReconcileReply(verdict=member)
            member.renew(now_ms)
            owned = {(lease.stored_id, lease.token): lease for lease in member.running.values()}
            received = set(held)
            lacking = [lease for pair, lease in owned.items() if pair not in received]
            sizes = accumulate(len(lease.record) for lease in lacking)
            fits = max(1, sum(1 for _ in takewhile(MAX_FETCH_BYTES.__ge__, sizes)))
            return ReconcileReply(
                verdict=Verdict.APPLIED,
                missing=tuple(lacking[:fits]),
                strays=tuple(pair for pair in held if pair not in owned),
                more=fits < len(lacking),
            )

    def leave(self, turn: Turn) -> TurnReply:
        with self.store.shelves() as shelves, shelves.lock:
            queue = shelves.queue(self.namespace, turn.queue)
            now_ms = self._note_call(queue)
            member = queue.members.admit(turn)
            if isinstance(member, Verdict):
                return TurnReply(verdict=member)
            if member.running:
                return TurnReply(verdict=Verdict.REFUSED)
            queue.members.remove(member)
            queue.dismiss(member, now_ms)
            queue.end_call()
            # The process may have been woken for a job that it will not take now.
            queue.wake()
            return TurnReply(verdict=Verdict.APPLIED)

    def interrupt(self) -> None:
        shelves = self.store.shelves()
        if shelves.in_call():
            shelves.defer(lambda: shelves.interrupt(self))
            return
        with shelves, shelves.lock:
            shelves.interrupt(self)

    # -- outcomes ----------------------------------------------------------

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        with self.store.shelves() as shelves, shelves.lock:
            instant = self.clock.now()
            now_ms = _floor_ms(instant)
            # Delays count from now rounded up, so that none is cut short (I8).
            after_ms = to_ms(instant)
            verdicts: list[Verdict] = []
            cancelled: list[int] = []
            touched: dict[str, Queue] = {}
            for position, outcome in enumerate(outcomes):
                name = outcome.lease.queue
                queue = touched.get(name)
                if queue is None:
                    queue = touched[name] = shelves.queue(self.namespace, name)
                    queue.members.note_call(now_ms)
                kind = queue.apply(outcome, now_ms, after_ms)
                verdicts.append(Verdict.REFUSED if kind is None else Verdict.APPLIED)
                if kind is None:
                    # On a server, too, a refusal writes: replicas confirm by it what they have.
                    queue.members.seen(now_ms)
                elif kind is not outcome.kind:
                    cancelled.append(position)
            for queue in touched.values():
                queue.end_call()
            return ReportReply(verdicts=tuple(verdicts), cancelled=tuple(cancelled))

    # -- housekeeping ------------------------------------------------------

    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        # `tick` is called when something is due, `beat` while nothing is.
        self._stopped_clock.look()
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            now_ms = self._note_call(stored)
            stored.promote_due(now_ms)
            stored.end_call()
            stored.periodic.catch_up(periodic, now_ms)
            next_periodic_ms = stored.periodic.next_due_ms(periodic, after_ms=now_ms)
            next_ms = earliest(stored.future.next_due_ms, next_periodic_ms)
            return TickReply(
                verdict=Verdict.APPLIED,
                due=stored.periodic.due(periodic, now_ms),
                next_due_in_ms=_until(next_ms, now_ms),
                next_periodic_in_ms=_until(next_periodic_ms, now_ms),
            )

    def fire(self, queue: str, task: str, due_ms: int, deposit: Deposit) -> FireReply:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            now_ms = self._note_call(stored)
            fired = stored.periodic.fire(task, due_ms, now_ms)
            if fired:
                stored.accept(deposit, now_ms)
                stored.end_call()
            return FireReply(
                verdict=Verdict.APPLIED if fired else Verdict.REFUSED,
                next_due_in_ms=_until(stored.periodic.next_due_ms((task,)), now_ms),
            )

    def recover(self, queue: str, dead: str) -> RecoverReply:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            now_ms = self._note_call(stored)
            member = stored.members.get(dead)
            if member is None or not stored.members.may_be_recovered(member, now_ms):
                return RecoverReply(verdict=Verdict.REFUSED)
            if member.number is not None:
                # First of all, so that it is given no further job.
                member.number = None
                stored.dismiss(member, now_ms)
            reply = recover(stored, member, now_ms, self._random_source)
            if reply.more:
                stored.members.claim(member, now_ms)
            else:
                stored.members.remove(member)
            stored.end_call()
            return reply

    # -- management --------------------------------------------------------

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        """Count jobs by place, all queues in one atomic snapshot."""
        with self.store.shelves() as shelves, shelves.lock:
            now_ms = self._now_ms()
            found = [(name, shelves.find(self.namespace, name)) for name in queues]
            for _, queue in found:
                if queue is not None:
                    queue.trim_failed(now_ms)
            return [
                QueueCounts(verdict=Verdict.APPLIED, queue=name)
                if queue is None
                else count(queue, now_ms)
                for name, queue in found
            ]

    def queues(self) -> list[str]:
        with self.store.shelves() as shelves, shelves.lock:
            return shelves.queue_names(self.namespace)

    # -- operating ---------------------------------------------------------

    def survey(self, queue: str) -> QueueSurvey:
        with self.store.shelves() as shelves, shelves.lock:
            now_ms = self._now_ms()
            stored = shelves.find(self.namespace, queue)
            if stored is None:
                return QueueSurvey(queue=queue, now_ms=now_ms)
            return operating.survey(stored, now_ms)

    def set_paused(self, queue: str, *, paused: bool) -> bool:
        with self.store.shelves() as shelves, shelves.lock:
            return shelves.queue(self.namespace, queue).pause(paused=paused)

    def purge(self, queue: str, status: Purgeable, limit: int) -> PurgeReply:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            reply = operating.purge(stored, status, limit)
            stored.end_call()
            return reply

    def members(self, queue: str) -> QueueMembers:
        with self.store.shelves() as shelves, shelves.lock:
            return operating.members(shelves.queue(self.namespace, queue), self._now_ms())

    def set_limit(self, queue: str, task: str, limit: int | None) -> None:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            stored.set_limit(task, limit)
            stored.end_call()

    def limits(self, queue: str) -> list[LimitState]:
        with self.store.shelves() as shelves, shelves.lock:
            return operating.limits(shelves.queue(self.namespace, queue))

    def periodic_tasks(self, queue: str) -> list[PeriodicState]:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            return operating.periodic_tasks(stored, self._now_ms())

    def set_periodic_paused(self, queue: str, task: str, *, paused: bool) -> bool | None:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            return stored.periodic.pause(task, self._now_ms(), paused=paused)

    @staticmethod
    def _take_sample(queue: Queue, now_ms: int) -> None:
        if queue.flow.due(now_ms):
            queue.flow.take(operating.sample(queue, now_ms))

    # -- jobs --------------------------------------------------------------

    def find_jobs(self, queues: Sequence[str], stored_ids: Sequence[str]) -> list[FoundJob]:
        with self.store.shelves() as shelves, shelves.lock:
            now_ms = self._now_ms()
            found = [shelves.find(self.namespace, name) for name in queues]
            looked = [
                find(queue, each, now_ms, counting=True)
                for queue in found
                if queue is not None
                for each in stored_ids
            ]
            return [job for job in looked if job is not None]

    def list_jobs(
        self,
        queue: str,
        *,
        places: Collection[Place] = (),
        task: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> FoundPage:
        """See `Broker`; the first come first, where no other order is promised."""
        after = read_cursor(cursor)
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.find(self.namespace, queue)
            if stored is None:
                return FoundPage(jobs=(), cursor=None)
            return page(stored, self._now_ms(), places=places, task=task, after=after, limit=limit)

    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.find(self.namespace, queue)
            if stored is None:
                return [CancelReply(verdict=CancelVerdict.UNKNOWN) for _ in stored_ids]
            now_ms = self._now_ms()
            stored.trim_failed(now_ms)
            replies = [stored.cancel(each, now_ms) for each in stored_ids]
            stored.end_call()
            return replies

    # -- failed store ------------------------------------------------------

    def failed_jobs(
        self,
        queue: str,
        *,
        offset: int = 0,
        limit: int = 100,
        after: Cursor | None = None,
        matching: FailedFilter | None = None,
    ) -> list[FailedJob]:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.find(self.namespace, queue)
            if stored is None:
                return []
            matching = matching or FailedFilter()
            oldest_ms = max(stored.oldest_failed_ms(self._now_ms()), matching.since_ms or 0)
            return stored.failed.newest(oldest_ms, offset, limit, after, matching)

    def find_failed(self, queues: Sequence[str], stored_ids: Sequence[str]) -> list[FailedJob]:
        with self.store.shelves() as shelves, shelves.lock:
            now_ms = self._now_ms()
            found = (shelves.find(self.namespace, name) for name in queues)
            return [
                job
                for stored in found
                if stored is not None
                for job in stored.failed.find(stored.oldest_failed_ms(now_ms), stored_ids)
            ]

    def retry_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            stored.trim_failed(self._now_ms())
            found = stored.retry_failed(stored_ids)
            stored.end_call()
            return found

    def discard_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            stored.trim_failed(self._now_ms())
            return stored.discard_failed(stored_ids)

    def retry_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            ids, after = self._portion(stored, portion)
            count = stored.retry_failed(ids)
            stored.end_call()
            return PortionReply(count=count, after=after)

    def discard_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            ids, after = self._portion(stored, portion)
            return PortionReply(count=stored.discard_failed(ids), after=after)

    def _portion(self, stored: Queue, portion: FailedPortion) -> tuple[list[str], Cursor | None]:
        return stored.failed.portion(stored.oldest_failed_ms(self._now_ms()), portion)

    # -- results -----------------------------------------------------------

    def job_ends(self, queue: str, stored_ids: Sequence[StoredId]) -> list[JobEnd]:
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            now_ms = self._now_ms()
            return [stored.job_end(stored_id, now_ms) for stored_id in stored_ids]

    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        """Wait on the broker's clock; a job that ends wakes all who wait for it."""
        with self.store.shelves() as shelves, shelves.lock:
            stored = shelves.queue(self.namespace, queue)
            return shelves.await_end(self, stored, stored_id, wait_seconds, self._now_ms)

    # -- life --------------------------------------------------------------

    def close(self) -> None:
        """Do nothing: the store lives as long as there is a reference to it."""

    # -- time --------------------------------------------------------------
    #
    # Read under the store's lock. If one call overtook another between clock and lock, time
    # would seem to go backwards.

    def _now_ms(self) -> int:
        return _floor_ms(self.clock.now())

    def _note_call(self, queue: Queue) -> int:
        """Note that a member of the queue called; returns the store's now."""
        now_ms = self._now_ms()
        queue.members.note_call(now_ms)
        return now_ms


def _floor_ms(instant: datetime) -> int:
    """Milliseconds since 1970, rounded down: nothing is due before its instant (I8)."""
    return to_ms(instant - _NEARLY_A_MS)


def _until(instant_ms: int | None, now_ms: int) -> int | None:
    return None if instant_ms is None else max(0, instant_ms - now_ms)
