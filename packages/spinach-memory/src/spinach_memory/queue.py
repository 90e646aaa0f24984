"""One queue: the places of its jobs and the moves between them.

Every method runs under the store's lock. Which calls are admitted and what they
answer is the broker's business; here jobs move.
"""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

from spinach.brokers.calls import CancelReply, CancelVerdict, Ending, JobEnd, Place
from spinach.const import CANCELS_TOLD, HOUSEKEEPING_CHUNK, PARKS_TOLD, SET_ASIDE_CHUNK
from spinach.outcome import Lease, OutcomeKind
from spinach.record.options import keep_ms_of
from spinach.retention import DEFAULT_RETENTION

from .failed import FailedStore
from .flow import Flow
from .future import FutureJobs, Timekeeper
from .jobs import Line, StoredJob, Whereabouts
from .members import Members
from .periodic import PeriodicTasks
from .results import Results, end_of, failed
from .slots import Limits
from .waiting import Waiters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spinach.brokers.calls import BeatProgress, Deposit, Enrolment
    from spinach.outcome import Failure, Outcome
    from spinach.progress import Progress
    from spinach.retention import FailedRetention

    from .members import Member

__all__ = ["FetchBudget", "Queue", "new_token", "read_token"]

#: Outcomes after which a job would be handed out once more.
_BACK_TO_THE_QUEUE: Final = (OutcomeKind.RETRY, OutcomeKind.RELEASE, OutcomeKind.PARK)


_PENDING = JobEnd(ending=Ending.PENDING)
_ABSENT = JobEnd(ending=Ending.ABSENT)


class FetchBudget:
    """Counts down over all queues of a fetch, in the order in which it names them."""

    __slots__ = ("bytes_left", "holds_left", "idle", "number", "taken", "want")

    def __init__(self, *, idle: int, extra: int, max_bytes: int, number: int) -> None:
        #: Jobs taken so far.
        self.taken = 0
        #: Number of jobs that are leased directly, for idle threads; the first ones.
        self.idle = idle
        #: Number of jobs that are taken at most.
        self.want = idle + extra
        self.bytes_left = max_bytes
        #: Number of jobs without a slot that may still be held.
        self.holds_left = SET_ASIDE_CHUNK
        #: Of this fetch, for the tokens of its leases. A job is leased once in a fetch.
        self.number = number


class Queue:
    """The places of a queue's jobs. Everything in it is guarded by the store's lock.

    A method that makes jobs ready wakes no process by itself. The broker ends every call that
    may have moved jobs with `end_call`, which wakes a waiting process if there is something
    to take.
    """

    __slots__ = (
        "_released",
        "_wake_due",
        "cancelling",
        "enqueued",
        "failed",
        "flow",
        "future",
        "jobs",
        "limits",
        "listed",
        "members",
        "name",
        "parked",
        "paused",
        "periodic",
        "progress",
        "ready",
        "results",
        "retention",
        "timekeeper",
        "waiters",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        #: Stored id → job, of every job that is in one of the places.
        self.jobs: dict[str, StoredJob] = {}
        self.ready = Line()
        self.future = FutureJobs()
        #: Has the held jobs, too.
        self.limits = Limits()
        #: Task → its parked jobs; no empty ones.
        self.parked: dict[str, Line] = {}
        self.failed = FailedStore()
        #: What the failed store keeps: what the member says that joined last.
        self.retention: FailedRetention = DEFAULT_RETENTION
        self.results = Results()
        #: Have the leases, too.
        self.members = Members()
        #: Stored ids of the leased jobs whose cancel was asked for, in that order.
        self.cancelling: dict[str, None] = {}
        #: Stored id → what a beat told of a leased job.
        self.progress: dict[str, Progress] = {}
        self.periodic = PeriodicTasks()
        self.timekeeper = Timekeeper()
        self.waiters = Waiters()
        self.flow = Flow()
        #: An operator has paused it: nothing is handed out.
        self.paused = False
        #: Jobs ever accepted.
        self.enqueued = 0
        #: Whether it ever took a job or a member. Before that it is not shown to users.
        self.listed = False
        self._released: list[StoredJob] = []
        self._wake_due = False

    # -- housekeeping ------------------------------------------------------

    def forget_undeclared(self, now_ms: int) -> None:
        """Drop periodic tasks that no member has declared for long."""
        for member in self.members:
            self.periodic.seen(member.enrolment.periodic, now_ms)
        self.periodic.forget(now_ms)

    # -- wake-ups ----------------------------------------------------------

    def takeable(self, parks: Iterable[str] = ()) -> bool:
        """Whether a fetch that asks for these parks finds something to do."""
        return self.timekeeper.wanted or (
            not self.paused and (bool(self.ready) or any(task in self.parked for task in parks))
        )

    def end_call(self) -> None:
        """Put what was released to the front, and wake one process if jobs became ready."""
        if self._released:
            self.put_first(self._released)
            self._released.clear()
        if self._wake_due:
            self._wake_due = False
            self.wake()

    def wake(self) -> None:
        """Wake one waiting process if there is something to take."""
        if (self.ready and not self.paused) or self.timekeeper.wanted:
            self.waiters.wake_one()

    def pause(self, *, paused: bool) -> bool:
        """Pause it, or let it go on; whether it was not so before."""
        changed, self.paused = paused is not self.paused, paused
        self.listed = True
        self.wake()
        if not paused and self.parked:
            # Which process asked for these parks is not known here.
            self.waiters.wake_all()
        return changed

    # -- jobs come ---------------------------------------------------------

    def accept(self, deposit: Deposit, now_ms: int) -> bool:
        """Store a job unless it is there already (I2); whether it is ready."""
        due_ms = deposit.due_ms
        if deposit.stored_id in self.jobs:
            return due_ms is None or due_ms <= now_ms
        self.enqueued += 1
        job = StoredJob(deposit.stored_id, deposit.record, self.enqueued)
        self.jobs[job.stored_id] = job
        self.listed = True
        return self._put(job, due_ms, now_ms)

    def promote_due(self, now_ms: int) -> None:
        """Make a bounded number of due jobs ready, in the order of their instants."""
        due = self.future.pop_due(now_ms, HOUSEKEEPING_CHUNK)
        if due:
            self.ready.extend(due)
            self._wake_due = True

    def declare_limits(self, member: Member) -> None:
        """Let the limits of a member that joined take effect."""
        limits = member.enrolment.limits
        if limits:
            self._bring_back(self.limits.declare(member.name, limits, self._leased_jobs()))

    def set_limit(self, task: str, limit: int | None) -> None:
        """Let the limit of an operator take effect, or that of the members again."""
        self._bring_back(self.limits.set(task, limit, self._leased_jobs()))

    def declare_anew(self, member: Member, enrolment: Enrolment, now_ms: int) -> None:
        """Replace what a member declares; its leases stay."""
        # What it declares no more was declared until now.
        self.periodic.seen(member.enrolment.periodic, now_ms)
        member.enrolment = enrolment
        self._bring_back(self.limits.withdraw(member.name, kept=enrolment.limits))
        self.declare_limits(member)
        self.periodic.declare(enrolment.periodic, now_ms)

    def dismiss(self, member: Member, now_ms: int) -> None:
        """End what a member declared, and its role of timekeeper; its leases stay."""
        self._bring_back(self.limits.withdraw(member.name))
        self.periodic.seen(member.enrolment.periodic, now_ms)
        if self.timekeeper.remove(member.name) and self.future:
            self._want_timekeeper()

    # -- jobs are leased ---------------------------------------------------

    def take(
        self, member: Member, parks: Iterable[str], budget: FetchBudget, now_ms: int
    ) -> tuple[Lease, ...]:
        """Lease jobs to a member: from the parks first, then from the head of the queue."""
        leases: list[Lease] = []
        token = new_token(budget.number, now_ms)
        for task in parks:
            park = self.parked.get(task)
            if park is not None:
                self._take_from(park, member, budget, token, leases)
                if not park:
                    del self.parked[task]
        self._take_from(self.ready, member, budget, token, leases)
        return tuple(leases)

    def _take_from(
        self,
        source: Line,
        member: Member,
        budget: FetchBudget,
        token: str,
        leases: list[Lease],
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
                    if not budget.holds_left:
                        return
                    budget.holds_left -= 1
                    slots.hold(source.popleft())
                    if source.gaps:
                        source.close_up()
                    continue
            if len(job.record) > budget.bytes_left and budget.taken:
                # Nothing that is smaller overtakes it, out of another queue either.
                budget.want = budget.taken
                return
            source.popleft()
            if source.gaps:
                source.close_up()
            job.where = None
            if slots is not None:
                self.limits.occupy(job, slots)
            budget.taken += 1
            budget.bytes_left -= len(job.record)
            lease = Lease(
                self.name,
                member.name,
                job.stored_id,
                token,
                direct,
                job.record,
                job.retries,
                job.losses,
            )
            running[job.stored_id] = lease
            leases.append(lease)

    # -- jobs are taken back -----------------------------------------------

    def cancel(self, stored_id: str, now_ms: int) -> CancelReply:
        """Take a job back, or note that its worker shall."""
        job = self.jobs.get(stored_id)
        if job is None:
            return CancelReply(verdict=CancelVerdict.UNKNOWN)
        if stored_id in self.failed:
            return CancelReply(verdict=CancelVerdict.FINISHED)
        if any(stored_id in member.running for member in self.members):
            self.cancelling[stored_id] = None
            return CancelReply(verdict=CancelVerdict.REQUESTED)
        reply = CancelReply(verdict=CancelVerdict.CANCELLED, record=job.record, retries=job.retries)
        # Before its record goes.
        self.keep_end(job, JobEnd(ending=Ending.CANCELLED), now_ms)
        where = job.where
        if where is None:
            self.pass_on_slot(job)
            self.ready.lose(job)
        elif where.place is Place.FUTURE:
            self.future.lose(job)
            if not self.future:
                self.timekeeper.wanted = False
        elif where.place is Place.HELD:
            self.limits.tasks[where.lane].held.lose(job)
        else:
            park = self.parked[where.lane]
            park.lose(job)
            if not park:
                del self.parked[where.lane]
        self.forget(job)
        return reply

    def pass_on_slot(self, job: StoredJob) -> None:
        """A ready job is gone; if a slot was free for it, that is for the next one now."""
        if job.order and (slots := self.limits.slots_of(job)) is not None:
            self._bring_back(slots.promote(1))

    def cancelled(self, member: Member) -> tuple[tuple[str, str], ...]:
        """(stored id, token) of leases of a member whose cancel was asked for, not too many."""
        running = member.running
        asked = (running[each] for each in self.cancelling if each in running)
        return tuple((lease.stored_id, lease.token) for lease in islice(asked, CANCELS_TOLD))

    def note_progress(self, told: BeatProgress) -> None:
        """Keep how far a job has come, if the lease is its current one."""
        member = self.members.get(told.member)
        lease = None if member is None else member.running.get(told.stored_id)
        if lease is not None and lease.token == told.token:
            self.progress[told.stored_id] = told.progress

    def cancel_ended(self, stored_id: str) -> bool:
        """The lease of a job ended; whether its cancel was asked for."""
        if stored_id not in self.cancelling:
            return False
        del self.cancelling[stored_id]
        return True

    def forget(self, job: StoredJob) -> None:
        """Drop a job that is in no place any more."""
        del self.jobs[job.stored_id]
        if not self.jobs:
            # A dict keeps the size it once had; after 100,000 jobs that is 5 MiB.
            self.jobs.clear()
        if self.results.waiters:
            self.results.wake(job.stored_id)

    # -- leases end --------------------------------------------------------

    def apply(self, outcome: Outcome, now_ms: int, after_ms: int) -> OutcomeKind | None:
        """Apply an outcome if its lease is the current one of that job (I5).

        Args:
            outcome: of a lease of this queue.
            now_ms: the store's now.
            after_ms: from which delays count, so that none is cut short by rounding.

        Returns:
            As what it was applied: CANCELLED where the job would have gone back to a queue although
            its cancel had been asked for. None: it was refused.
        """
        claimed = outcome.lease
        member = self.members.get(claimed.member)
        lease = None if member is None else member.running.get(claimed.stored_id)
        if member is None or lease is None or lease.token != claimed.token:
            return None
        job = self.end_lease(member, lease.stored_id)
        kind = outcome.kind
        if self.cancelling and self.cancel_ended(job.stored_id) and kind in _BACK_TO_THE_QUEUE:
            # It would run once more although it was taken back.
            kind = OutcomeKind.CANCELLED
        if (
            kind is OutcomeKind.SUCCEEDED
            or kind is OutcomeKind.EXPIRED
            or kind is OutcomeKind.CANCELLED
        ):
            self.forget(job)
        elif kind is OutcomeKind.RELEASE:
            self._released.append(job)
            self._wake_due = True
        elif kind is OutcomeKind.RETRY:
            due_ms = outcome.at_ms
            if due_ms is None:
                due_ms = after_ms + outcome.delay_ms if outcome.delay_ms else now_ms
            job.failure = outcome.failure
            self.retry(job, due_ms, now_ms)
        elif kind is OutcomeKind.FAILED:
            self.fail(job, outcome.failure, now_ms)
        else:
            job.where = Whereabouts(Place.PARKED, lane=outcome.task)
            park = self.parked.get(outcome.task)
            if park is None:
                park = self.parked[outcome.task] = Line()
            park.append(job)
            # Some waiting process may have asked for this park; which one is not known here.
            self.waiters.wake_all()
        if outcome.keep_ms is not None and kind not in _BACK_TO_THE_QUEUE:
            until_ms = after_ms + outcome.keep_ms
            self.results.keep(job.stored_id, end_of(outcome, kind), until_ms, now_ms)
        return kind

    def give_up(self, job: StoredJob, failure: Failure, now_ms: int) -> None:
        """Fail a job that ended without an outcome of its own."""
        self.fail(job, failure, now_ms)
        self.keep_end(job, failed(failure), now_ms)

    def keep_end(self, job: StoredJob, end: JobEnd, now_ms: int) -> None:
        """Keep the end of a job that has no outcome of its own, if its record asks for that."""
        keep_ms = keep_ms_of(job.record)
        if keep_ms is not None:
            # One ms more than is needed where the clock stood at a whole one.
            self.results.keep(job.stored_id, end, now_ms + 1 + keep_ms, now_ms)

    def end_lease(self, member: Member, stored_id: str) -> StoredJob:
        """Take a job from a member, and the slot from the job; the caller puts it elsewhere."""
        del member.running[stored_id]
        job = self.jobs[stored_id]
        if self.progress:
            self.progress.pop(stored_id, None)
        if self.limits.occupied:
            self._bring_back(self.limits.free(job))
        return job

    # -- the failed store --------------------------------------------------

    def trim_failed(self, now_ms: int) -> None:
        """Forget failed jobs that are too old or too many."""
        for stored_id in self.failed.trim(now_ms, self.retention):
            del self.jobs[stored_id]

    def oldest_failed_ms(self, now_ms: int) -> int:
        """The instant before which failed jobs are too old."""
        return now_ms - self.retention.age_ms

    def retry_failed(self, stored_ids: Sequence[str]) -> int:
        """Make failed jobs ready, their attempts forgotten; returns their number."""
        revived = [self.jobs[i] for i in stored_ids if self.failed.remove(i)]
        for job in revived:
            job.forget_attempts()
            self.results.forget(job.stored_id)
        self.ready.extend(revived)
        self.flow.revived += len(revived)
        self._wake_due = self._wake_due or bool(revived)
        return len(revived)

    def discard_failed(self, stored_ids: Sequence[str]) -> int:
        """Forget failed jobs; returns their number."""
        removed = [i for i in stored_ids if self.failed.remove(i)]
        for stored_id in removed:
            del self.jobs[stored_id]
        return len(removed)

    # -- results -----------------------------------------------------------

    def job_end(self, stored_id: str, now_ms: int) -> JobEnd:
        """How a job ended, or that it did not, or that nothing is known of it."""
        found = self.results.get(stored_id, now_ms)
        if found is not None:
            return found
        if stored_id in self.jobs and stored_id not in self.failed:
            return _PENDING
        return _ABSENT

    # -- what the moves share ----------------------------------------------

    def park_names(self) -> tuple[str, ...]:
        """Tasks that have parked jobs, a bounded number a call; in turn, if there are more."""
        names = tuple(islice(self.parked, PARKS_TOLD))
        if len(names) < len(self.parked):
            for task in names:
                self.parked[task] = self.parked.pop(task)
        return names

    def _put(self, job: StoredJob, due_ms: int | None, now_ms: int) -> bool:
        """To the end of the queue or, before its instant, to the future."""
        if due_ms is None or due_ms <= now_ms:
            self.ready.append(job)
            self._wake_due = True
            return True
        if self.future.push(job, due_ms):
            self._want_timekeeper()
        return False

    def put_first(self, jobs: Sequence[StoredJob]) -> None:
        """Put jobs to the front of the queue, in order."""
        if jobs:
            self.ready.extendleft(reversed(jobs))
            self._wake_due = True

    def _bring_back(self, held: Sequence[StoredJob]) -> None:
        """Put held jobs to the front, behind those of their task that came there before.

        At the very front each job would push back the one that came before it. That one
        would wait until no job of its task is held any more, while few threads are idle.
        """
        if not held:
            return
        order = held[0].order
        earlier = sum(1 for _ in takewhile(lambda job: 0 < job.order < order, self.ready))
        self.ready.rotate(-earlier)
        self.put_first(held)
        self.ready.rotate(earlier)

    def _want_timekeeper(self) -> None:
        self.timekeeper.wanted = True
        self._wake_due = True

    def retry(self, job: StoredJob, due_ms: int, now_ms: int) -> None:
        """Let a job wait for its next attempt."""
        job.retries += 1
        job.order = 0
        self._put(job, due_ms, now_ms)

    def fail(self, job: StoredJob, failure: Failure | None, now_ms: int) -> None:
        """Move a job to the failed store."""
        self.failed.add(job, failure, now_ms)
        self.trim_failed(now_ms)
        if self.results.waiters:
            self.results.wake(job.stored_id)

    def _leased_jobs(self) -> Iterator[StoredJob]:
        leases = [lease for member in self.members for lease in member.running.values()]
        for lease in sorted(leases, key=lambda lease: read_token(lease.token)):
            yield self.jobs[lease.stored_id]


def new_token(number: int, now_ms: int) -> str:
    """The token of the leases of a fetch: its number, and when it was.

    Args:
        number: grows with each fetch.
        now_ms: the store's now.
    """
    return f"{number}@{now_ms}"


def read_token(token: str) -> tuple[int, int]:
    """What a token was made of."""
    number, _, now_ms = token.partition("@")
    return int(number), int(now_ms)
