"""One queue: the places of its jobs and the moves between them.

Every method runs under the store's lock. Which calls are admitted and what they
answer is the broker's business; here jobs move.
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

from spinach.backoff import jittered_seconds
from spinach.brokers.calls import LostJob, RecoverReply, Verdict
from spinach.const import (
    HOUSEKEEPING_CHUNK,
    LOST_LAST,
    LOST_ONCE,
    LOST_POISON,
    MAX_FETCH_BYTES,
    MAX_LOSSES,
    PARKS_TOLD,
    RECOVERY_BASE_SECONDS,
    RECOVERY_CAP_SECONDS,
    WORKER_LOST,
)
from spinach.outcome import Failure, Lease, OutcomeKind
from spinach.record.ids import may_repeat

from .failed import FailedStore
from .future import FutureJobs, Timekeeper
from .jobs import StoredJob, header_of
from .members import Members
from .periodic import PeriodicTasks
from .slots import Limits
from .waiting import WaitingLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spinach.backoff import RandomSource
    from spinach.brokers.calls import Deposit, Enrolment
    from spinach.outcome import Outcome
    from spinach_memory.budget import FetchBudget

    from .members import Member

__all__ = ["Queue"]

_MILLISECOND: Final = timedelta(milliseconds=1)


class Queue:
    """The places of a queue's jobs. Everything in it is guarded by the store's lock.

    A method that makes jobs ready only notes it. `settle` ends every call of a
    broker that may have moved jobs, and wakes a waiting process if need be.
    """

    __slots__ = (
        "_jobs",
        "_news",
        "_released",
        "enqueued",
        "failed",
        "future",
        "limits",
        "line",
        "listed",
        "members",
        "name",
        "parked",
        "periodic",
        "ready",
        "timekeeper",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        #: Every job that is in one of the places, by stored id.
        self._jobs: dict[str, StoredJob] = {}
        self.ready: deque[StoredJob] = deque()
        self.future = FutureJobs()
        #: Holds the jobs set aside, too.
        self.limits = Limits()
        #: Task → its parked jobs; no empty ones.
        self.parked: dict[str, deque[StoredJob]] = {}
        self.failed = FailedStore()
        #: Hold the leased jobs, too.
        self.members = Members()
        self.periodic = PeriodicTasks()
        self.timekeeper = Timekeeper()
        self.line = WaitingLine()
        #: Jobs ever accepted.
        self.enqueued = 0
        #: It took a job or a member, rather than questions alone.
        self.listed = False
        self._released: list[StoredJob] = []
        self._news = False

    # -- upkeep ------------------------------------------------------------

    def step(self, now_ms: int) -> None:
        """Note that a member called."""
        self.members.step(now_ms)

    def forget_undeclared(self, now_ms: int) -> None:
        """Drop periodic tasks that nobody has declared for long."""
        for member in self.members:
            self.periodic.seen(member.enrolment.periodic, now_ms)
        self.periodic.forget(now_ms)

    # -- wake-ups ----------------------------------------------------------

    def takeable(self, parks: Iterable[str] = ()) -> bool:
        """Whether a fetch that names these parks should not wait."""
        return (
            bool(self.ready) or self.timekeeper.wanted or any(task in self.parked for task in parks)
        )

    def settle(self) -> None:
        """End a call: releases go to the front, and news wakes one waiting process."""
        if self._released:
            self._put_first(self._released)
            self._released.clear()
        if self._news:
            self._news = False
            self.wake()

    def wake(self) -> None:
        """Wake one waiting process if anything is to be taken."""
        if self.ready or self.timekeeper.wanted:
            self.line.wake_one()

    # -- jobs come ---------------------------------------------------------

    def accept(self, deposit: Deposit, now_ms: int) -> bool:
        """Store a job unless it is there already (I2); whether it is ready."""
        due_ms = deposit.due_ms
        if deposit.stored_id in self._jobs:
            return due_ms is None or due_ms <= now_ms
        job = StoredJob(deposit.stored_id, deposit.record)
        self._jobs[job.stored_id] = job
        self.enqueued += 1
        self.listed = True
        return self._put(job, due_ms, now_ms)

    def promote_due(self, now_ms: int) -> None:
        """Make a bounded number of due jobs ready, in the order of their instants."""
        due = self.future.pop_due(now_ms, HOUSEKEEPING_CHUNK)
        if due:
            self.ready.extend(due)
            self._news = True

    def declare_limits(self, member: Member) -> None:
        """Let the limits of a member that joined take effect."""
        limits = member.enrolment.limits
        if limits:
            self._bring_back(self.limits.declare(member.name, limits, self._leased_jobs()))

    def declare_anew(self, member: Member, enrolment: Enrolment, now_ms: int) -> None:
        """Replace what a member declares; its leases stay."""
        # What it declares no more was declared until now.
        self.periodic.seen(member.enrolment.periodic, now_ms)
        member.enrolment = enrolment
        self._bring_back(self.limits.withdraw(member.name, kept=enrolment.limits))
        self.declare_limits(member)
        self.periodic.declare(enrolment.periodic, now_ms)

    def dismiss(self, member: Member, now_ms: int) -> None:
        """Let the limits and the office of a member that goes end."""
        self._bring_back(self.limits.withdraw(member.name))
        self.periodic.seen(member.enrolment.periodic, now_ms)
        if self.timekeeper.resign(member.name) and self.future:
            self._want_timekeeper()

    # -- jobs are leased ---------------------------------------------------

    def take(self, member: Member, parks: Iterable[str], budget: FetchBudget) -> tuple[Lease, ...]:
        """Lease jobs: from the parks first, then from the head of the queue."""
        leases: list[Lease] = []
        for task in parks:
            park = self.parked.get(task)
            if park is not None:
                self._take_from(park, member, budget, leases)
                if not park:
                    del self.parked[task]
        self._take_from(self.ready, member, budget, leases)
        return tuple(leases)

    def _take_from(
        self, source: deque[StoredJob], member: Member, budget: FetchBudget, leases: list[Lease]
    ) -> None:
        limited = self.limits.tasks
        running = member.running
        while source and budget.taken < budget.want:
            job = source[0]
            direct = budget.taken < budget.idle
            if not (direct or job.bufferable):
                return
            slots = self.limits.slots_of(job) if limited else None
            if slots is not None:
                if not direct:
                    return
                if not slots.free:
                    if not budget.set_aside:
                        return
                    budget.set_aside -= 1
                    slots.hold(source.popleft())
                    continue
            if len(job.record) > budget.bytes_left and budget.taken:
                # Nothing that is smaller overtakes it, out of another queue either.
                budget.want = budget.taken
                return
            source.popleft()
            if slots is not None:
                slots.take(job)
            budget.taken += 1
            budget.bytes_left -= len(job.record)
            lease = Lease(
                self.name,
                member.name,
                job.stored_id,
                budget.token,
                direct,
                job.record,
                job.retries,
                job.losses,
            )
            running[job.stored_id] = lease
            leases.append(lease)

    # -- leases end --------------------------------------------------------

    def finish(self, outcome: Outcome, now_ms: int, after_ms: int) -> bool:
        """Apply an outcome if its lease is the current one of that job (I5).

        Args:
            outcome: of a lease of this queue.
            now_ms: the store's now.
            after_ms: from which delays count, so that none is cut short by rounding.

        Returns:
            Whether it was applied.
        """
        claimed = outcome.lease
        member = self.members.get(claimed.member)
        lease = None if member is None else member.running.get(claimed.stored_id)
        if member is None or lease is None or lease.token != claimed.token:
            return False
        del member.running[lease.stored_id]
        job = self._jobs[lease.stored_id]
        if job.slots is not None:
            self._free_slot(job)
        kind = outcome.kind
        if kind is OutcomeKind.SUCCEEDED:
            del self._jobs[job.stored_id]
            if not self._jobs:
                # A dict keeps the size it once had; after 100,000 jobs that is 5 MiB.
                self._jobs.clear()
        elif kind is OutcomeKind.RELEASE:
            self._released.append(job)
            self._news = True
        elif kind is OutcomeKind.RETRY:
            due_ms = outcome.at_ms
            if due_ms is None:
                due_ms = after_ms + outcome.delay_ms if outcome.delay_ms else now_ms
            self._retry(job, due_ms, now_ms)
        elif kind is OutcomeKind.FAILED:
            self._fail(job, outcome.failure, now_ms)
        else:
            self.parked.setdefault(outcome.task, deque()).append(job)
            # One of those who wait may have asked for this park; nobody knows which.
            self.line.wake_all()
        return True

    def recover(self, member: Member, now_ms: int, source: RandomSource | None) -> RecoverReply:
        """Take back a bounded number of leases of a dead member (I7, I11, I12).

        The newest first: those that go back to the front of the queue stand there in
        order even when it takes several calls.

        Returns:
            Who died, and where its jobs are now.
        """
        given_up: list[tuple[StoredJob, str]] = []
        again: list[tuple[StoredJob, int]] = []
        unharmed: list[StoredJob] = []
        told_bytes = 0
        for _ in range(min(HOUSEKEEPING_CHUNK, len(member.running))):
            stored_id, lease = next(reversed(member.running.items()))
            job = self._jobs[stored_id]
            reason = _reason_to_give_up(job) if lease.direct else None
            if reason is not None:
                if told_bytes and told_bytes + len(job.record) > MAX_FETCH_BYTES:
                    break
                told_bytes += len(job.record)
            del member.running[stored_id]
            if job.slots is not None:
                self._free_slot(job)
            if not lease.direct:
                # From now on for idle threads only, so that losses count: what kills a
                # process by merely being in its buffer would go round for ever.
                job.bufferable = False
                unharmed.append(job)
                continue
            job.losses += 1
            if reason is None:
                delay = _delay(job.losses, source)
                again.append((job, now_ms + delay // _MILLISECOND))
                continue
            given_up.append((job, reason))
        # Those of one instant run again in the order in which they were leased.
        for job, due_ms in reversed(again):
            self._retry(job, due_ms, now_ms)
        self._put_first(unharmed[::-1])
        lost: list[LostJob] = []
        # The failed store keeps the order of the queue, too.
        for job, reason in reversed(given_up):
            self._fail(job, Failure(error=WORKER_LOST, message=reason), now_ms)
            lost.append(
                LostJob(
                    stored_id=job.stored_id,
                    record=job.record,
                    retries=job.retries,
                    losses=job.losses,
                )
            )
        return RecoverReply(
            verdict=Verdict.APPLIED,
            info=member.enrolment.info,
            ready=len(unharmed),
            retrying=len(again),
            lost=tuple(lost),
            more=bool(member.running),
        )

    # -- the failed store --------------------------------------------------

    def trim_failed(self, now_ms: int) -> None:
        """Forget failed jobs that are too old or too many."""
        for stored_id in self.failed.trim(now_ms):
            del self._jobs[stored_id]

    def retry_failed(self, stored_ids: Sequence[str]) -> int:
        """Make failed jobs ready with a life before them; how many there were."""
        revived = [self._jobs[i] for i in stored_ids if self.failed.remove(i)]
        for job in revived:
            job.forget_attempts()
        self.ready.extend(revived)
        self._news = self._news or bool(revived)
        return len(revived)

    def discard_failed(self, stored_ids: Sequence[str]) -> int:
        """Forget failed jobs; how many there were."""
        removed = [i for i in stored_ids if self.failed.remove(i)]
        for stored_id in removed:
            del self._jobs[stored_id]
        return len(removed)

    # -- what the moves share ----------------------------------------------

    def park_names(self) -> tuple[str, ...]:
        """Tasks with parked jobs, a bounded number; in the course of calls each of them."""
        names = tuple(islice(self.parked, PARKS_TOLD))
        if len(names) < len(self.parked):
            for task in names:
                self.parked[task] = self.parked.pop(task)
        return names

    def _put(self, job: StoredJob, due_ms: int | None, now_ms: int) -> bool:
        """To the end of the queue or, before its instant, to the future."""
        if due_ms is None or due_ms <= now_ms:
            self.ready.append(job)
            self._news = True
            return True
        if self.future.push(job, due_ms):
            self._want_timekeeper()
        return False

    def _put_first(self, jobs: Sequence[StoredJob]) -> None:
        if jobs:
            self.ready.extendleft(reversed(jobs))
            self._news = True

    def _bring_back(self, held: Sequence[StoredJob]) -> None:
        """Held jobs go to the front, but behind those brought back before them.

        At the very front each would push back the one before it; while few threads
        are idle that one would wait until no job of its task is held any more.
        """
        if not held:
            return
        turn = held[0].turn
        earlier = sum(1 for _ in takewhile(lambda job: 0 < job.turn < turn, self.ready))
        self.ready.rotate(-earlier)
        self._put_first(held)
        self.ready.rotate(earlier)

    def _want_timekeeper(self) -> None:
        self.timekeeper.wanted = True
        self._news = True

    def _retry(self, job: StoredJob, due_ms: int, now_ms: int) -> None:
        job.retries += 1
        job.turn = 0
        self._put(job, due_ms, now_ms)

    def _fail(self, job: StoredJob, failure: Failure | None, now_ms: int) -> None:
        self.failed.add(job, failure, now_ms)
        self.trim_failed(now_ms)

    def _free_slot(self, job: StoredJob) -> None:
        slots, job.slots = job.slots, None
        if slots is not None:
            slots.leased -= 1
            self._bring_back(slots.promote(1))

    def _leased_jobs(self) -> Iterator[StoredJob]:
        leases = [lease for member in self.members for lease in member.running.values()]
        for lease in sorted(leases, key=lambda lease: int(lease.token)):
            yield self._jobs[lease.stored_id]


def _reason_to_give_up(job: StoredJob) -> str | None:
    """Why a job that loses its worker now is not run again; None when it is."""
    if not may_repeat(job.stored_id):
        return LOST_ONCE
    if job.losses + 1 >= MAX_LOSSES:
        return LOST_POISON
    header = header_of(job.record)
    if header is not None and job.retries >= header.max_retries:
        return LOST_LAST
    return None


def _delay(losses: int, source: RandomSource | None) -> timedelta:
    """How long a job that has lost this many workers waits before it runs again."""
    return timedelta(
        seconds=jittered_seconds(
            losses - 1,
            base_seconds=RECOVERY_BASE_SECONDS,
            cap_seconds=RECOVERY_CAP_SECONDS,
            source=source,
        )
    )
