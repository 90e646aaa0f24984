"""What a broker does, as plain as it can be said: one queue at a time, lists and loops.

Written from `docs/design/states.md` and the docstrings of the contract, with no thought of
speed. It decides everything itself but for two things that the contract leaves open: which
of several dead members is named, and how long a job that lost its worker waits. What a
broker chose there is handed in, and checked. One task of a queue may be limited. What people ask
for is in `steered`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from spinach.brokers.calls import Deposit, Ending, Enrolment, JobEnd, QueueCounts, Verdict
from spinach.const import LOST_LAST, LOST_ONCE, LOST_POISON, MAX_LOSSES, WORKER_LOST
from spinach.outcome import Failure, OutcomeKind
from spinach.retention import DEFAULT_RETENTION, FailedRetention

from .entries import End, Failed, Job, Leased, Member

__all__ = ["ModelQueue"]

#: A member that was told of a dead one has so long to recover it, in ms.
CLAIM_MS = 12_000

#: A timekeeper that does not fetch for so long is none any more, in ms.
KEEPER_MS = 6_000

#: Outcomes after which a job would be handed out once more.
BACK = (OutcomeKind.RETRY, OutcomeKind.RELEASE, OutcomeKind.PARK)

#: Bound of the delay before a job that lost its first worker runs again, in ms.
FIRST_DELAY_MS = 3_000


@dataclass(eq=False)
class ModelQueue:
    """One queue; `now_ms` is set before each call."""

    name: str
    now_ms: int = 0
    ready: list[Job] = field(default_factory=list)
    #: (due, order of arrival, job)
    future: list[tuple[int, int, Job]] = field(default_factory=list)
    held: list[Job] = field(default_factory=list)
    parked: dict[str, list[Job]] = field(default_factory=dict)
    #: In the order they failed.
    failed: list[Failed] = field(default_factory=list)
    #: What that store keeps: what the process said that joined last.
    retention: FailedRetention = DEFAULT_RETENTION
    #: Stored id → how the job ended, and until when that is kept.
    ends: dict[str, tuple[JobEnd, int]] = field(default_factory=dict)
    #: In the order they were given.
    leases: list[Leased] = field(default_factory=list)
    #: Serials of those whose cancel was asked for, in that order.
    to_cancel: list[int] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    #: Task → [next due, interval].
    periodic: dict[str, list[int]] = field(default_factory=dict)
    enqueued: int = 0
    #: Jobs that were run again out of the failed store, and those that ended.
    revived: int = 0
    ended: int = 0
    #: Set by an operator: nothing is handed out; the limit of a task.
    paused: bool = False
    overrides: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._serials = count(1)
        self._turns = count(1)
        self._arrivals = count()
        self._seen_ms: int | None = None
        self._spared_until_ms = 0
        #: (member, end of office)
        self._keeper: tuple[str, int] | None = None

    # -- producers ---------------------------------------------------------

    def enqueue(self, deposit: Deposit) -> bool:
        """Whether the job is ready (I2, I8)."""
        due_ms = self.now_ms if deposit.due_ms is None else deposit.due_ms
        if deposit.stored_id not in self.ids():
            self.enqueued += 1
            self._put(Job(stored_id=deposit.stored_id, record=deposit.record), due_ms)
        return due_ms <= self.now_ms

    # -- memberships -------------------------------------------------------

    def join(
        self, name: str, enrolment: Enrolment, retention: FailedRetention
    ) -> tuple[Verdict, int | None]:
        """The verdict, and ms until a periodic task is due."""
        member = self.members.get(name)
        if (member is None and enrolment.number) or (member is not None and member.number is None):
            # It is no sign of life of a member.
            return Verdict.FENCED, None
        if enrolment.number:
            verdict = self.admit(name, enrolment.number)
            if verdict is not Verdict.APPLIED:
                return verdict, None
            self.retention = retention
            self.members[name].ends_ms = self.now_ms + enrolment.lease_ms
            self._declare(self.members[name], enrolment)
            return verdict, self._until(self._next_periodic(enrolment.periodic))
        self._step()
        self.retention = retention
        ends_ms = self.now_ms + enrolment.lease_ms
        if member is None:
            self.members[name] = Member(enrolment=enrolment, ends_ms=ends_ms)
            self._declare(self.members[name], enrolment)
        else:
            member.ends_ms = ends_ms
        return Verdict.APPLIED, self._until(self._next_periodic(enrolment.periodic))

    def _declare(self, member: Member, enrolment: Enrolment) -> None:
        """A member declares this, and nothing else any more."""
        before, member.enrolment = member.enrolment, enrolment
        for lease in self.leases:
            # Leased while there was no limit: it reached the head all the same.
            if lease.job.task in enrolment.limits:
                lease.job.turn = lease.job.turn or next(self._turns)
        for task, interval_ms in enrolment.periodic.items():
            due_ms = self.now_ms + interval_ms
            known = self.periodic.get(task)
            first_ms = due_ms if known is None else min(known[0], due_ms)
            self.periodic[task] = [first_ms, interval_ms]
        if before.limits or enrolment.limits:
            self._bring_back(len(self.held))

    def admit(self, name: str, number: int) -> Verdict:
        """The verdict on a sequenced call; with APPLIED the number is used."""
        verdict, member = self.known(name), self.members.get(name)
        if verdict is not Verdict.APPLIED or member is None or member.number is None:
            return verdict
        if number <= member.number:
            return Verdict.STALE
        member.number = number
        return Verdict.APPLIED

    def known(self, name: str) -> Verdict:
        """The verdict on a beat, which has no number."""
        self._step()
        member = self.members.get(name)
        known = member is not None and member.number is not None
        return Verdict.APPLIED if known else Verdict.FENCED

    def beat(self, name: str) -> None:
        """A beat, or what proves life as well."""
        member = self.members[name]
        member.ends_ms = self.now_ms + member.enrolment.lease_ms

    def take(
        self, name: str, parks: tuple[str, ...], *, idle: int, want: int, max_bytes: int
    ) -> list[Leased]:
        """What an admitted fetch leases (I9, I10, I13)."""
        given: list[Leased] = []
        size = 0
        if self.paused:
            return given
        for source in (*(self.parked.get(task, []) for task in parks), self.ready):
            while source and len(given) < want:
                job = source[0]
                direct = len(given) < idle
                if not direct and (job.once or job.direct_only):
                    break
                limit = self._limit(job.task)
                if limit is not None:
                    job.turn = job.turn or next(self._turns)
                    if not direct:
                        break
                    if self._leased(job.task) >= limit:
                        self.held.append(source.pop(0))
                        self.held.sort(key=lambda job: job.turn)
                        continue
                if given and size + len(job.record) > max_bytes:
                    break
                source.pop(0)
                size += len(job.record)
                lease = Leased(serial=next(self._serials), member=name, job=job, direct=direct)
                self.leases.append(lease)
                given.append(lease)
        for task in [task for task, jobs in self.parked.items() if not jobs]:
            del self.parked[task]
        return given

    def more(self, parks: tuple[str, ...]) -> bool:
        """Whether takeable jobs are left."""
        there = bool(self.ready) or any(task in self.parked for task in parks)
        return there and not self.paused

    def has_slots_for(self, park: str) -> bool:
        """Whether all jobs of a park would find a slot."""
        limit = self._limit(park)
        return limit is None or self._leased(park) + len(self.parked.get(park, ())) <= limit

    def keep_time(self, name: str) -> int | None:
        """What a fetch learns of the next waiting job: one member does at a time."""
        if self._keeper is not None and self._keeper[0] != name and self.now_ms < self._keeper[1]:
            return None
        self._keeper = (name, self.now_ms + KEEPER_MS)
        return self._until(self._next_job())

    def nameable(self, asking: str) -> set[str]:
        """The dead members of which `asking` may be told (I11)."""
        return {
            name
            for name, member in self.members.items()
            if name != asking and member.claimed_until_ms <= self.now_ms and self._condemned(member)
        }

    def named(self, name: str) -> None:
        """A broker told of this one; nobody else is told for a while."""
        self.members[name].claimed_until_ms = self.now_ms + CLAIM_MS

    def owned(self, name: str) -> list[Leased]:
        """The leases of a member, in the order they were given."""
        return [lease for lease in self.leases if lease.member == name]

    def leave(self, name: str) -> Verdict:
        """An admitted call (I20)."""
        if self.owned(name):
            return Verdict.REFUSED
        self._dismiss(name)
        del self.members[name]
        return Verdict.APPLIED

    # -- outcomes ----------------------------------------------------------

    def report(self, ends: list[End]) -> list[Verdict]:
        """Apply outcomes (I5)."""
        self._step()
        verdicts = []
        released = []
        for end in ends:
            lease = next((each for each in self.leases if each.serial == end.serial), None)
            if lease is None:
                verdicts.append(Verdict.REFUSED)
                continue
            verdicts.append(Verdict.APPLIED)
            self._end(lease)
            job, kind = lease.job, end.kind
            if end.serial in self.to_cancel:
                self.to_cancel.remove(end.serial)
                if kind in BACK:
                    kind = OutcomeKind.CANCELLED
            if kind is OutcomeKind.RELEASE:
                released.append(job)
            elif kind is OutcomeKind.RETRY:
                self._retry(job, end.due_ms)
            elif kind is OutcomeKind.FAILED:
                assert end.failure is not None
                self._fail(job, end.failure)
            elif kind is OutcomeKind.PARK:
                self.parked.setdefault(job.task, []).append(job)
            else:
                result = (end.result or b"null") if kind is OutcomeKind.SUCCEEDED else None
                self._keep(job, JobEnd(ending=Ending(kind.value), result=result))
        self.ready[:0] = released
        self.trim()
        return verdicts

    # -- upkeep ------------------------------------------------------------

    def tick(self, tasks: tuple[str, ...]) -> tuple[list[tuple[str, int]], int | None, int | None]:
        """Tasks due with their instants; ms until anything, and a task, is due."""
        self._step()
        due = sorted(entry[:2] for entry in self.future if entry[0] <= self.now_ms)
        for each in due:
            entry = next(entry for entry in self.future if entry[:2] == each)
            self.future.remove(entry)
            self.ready.append(entry[2])
        known = [task for task in tasks if task in self.periodic]
        firing = [(t, self.periodic[t][0]) for t in known if self.periodic[t][0] <= self.now_ms]
        later = self._next_periodic(t for t in known if self.periodic[t][0] > self.now_ms)
        waits = [at for at in (self._next_job(), later) if at is not None]
        return firing, self._until(min(waits, default=None)), self._until(later)

    def fire(self, task: str, due_ms: int, deposit: Deposit) -> tuple[Verdict, int | None]:
        """The verdict, and ms until the task is due next (I15)."""
        self._step()
        entry = self.periodic.get(task)
        if entry is None:
            return Verdict.REFUSED, None
        fires = entry[0] == due_ms <= self.now_ms
        if fires:
            self.enqueue(deposit)
            while entry[0] <= self.now_ms:
                entry[0] += entry[1]
        return Verdict.APPLIED if fires else Verdict.REFUSED, self._until(entry[0])

    def recoverable(self, name: str) -> bool:
        """Whether `recover` would be applied (I11); counts as a call."""
        self._step()
        return name in self.members and self._condemned(self.members[name])

    def recover(self, name: str, delays_ms: dict[str, int]) -> list[Job]:
        """Take back all leases; the jobs that failed (I3, I7, I12).

        Args:
            name: a recoverable member.
            delays_ms: what the broker drew for each job that runs again.
        """
        self._dismiss(name)
        unharmed, lost = [], []
        for lease in self.owned(name):
            job = lease.job
            self._end(lease)
            if lease.serial in self.to_cancel:
                self.to_cancel.remove(lease.serial)
                self._keep(job, JobEnd(ending=Ending.CANCELLED))
                continue
            if not lease.direct:
                job.direct_only = True
                unharmed.append(job)
                continue
            job.losses += 1
            if job.once or job.losses >= MAX_LOSSES or job.retries >= job.max_retries:
                poison = job.losses >= MAX_LOSSES
                reason = LOST_ONCE if job.once else LOST_POISON if poison else LOST_LAST
                self._fail(job, Failure(error=WORKER_LOST, message=reason))
                lost.append(job)
            else:
                delay_ms = delays_ms[job.stored_id]
                assert 0 <= delay_ms <= FIRST_DELAY_MS * 2 ** (job.losses - 1)
                self._retry(job, self.now_ms + delay_ms)
        self.ready[:0] = unharmed
        del self.members[name]
        self.trim()
        return lost

    # -- what is looked at -------------------------------------------------

    def counts(self) -> QueueCounts:
        """As the contract's."""
        self.trim()
        alive = [
            name
            for name, member in self.members.items()
            if member.number is not None and member.ends_ms >= self.now_ms
        ]
        declared = {task for name in alive for task in self.members[name].enrolment.periodic}
        waits = (self._next_job(), self._next_periodic(declared))
        next_ms = min((at for at in waits if at is not None), default=None)
        leased = sum(lease.member in alive for lease in self.leases)
        retrying = sum(job.retries > 0 for _, _, job in self.future)
        return QueueCounts(
            verdict=Verdict.APPLIED,
            queue=self.name,
            ready=len(self.ready),
            held=len(self.held),
            leased=leased,
            leased_by_dead=len(self.leases) - leased,
            future=len(self.future) - retrying,
            retrying=retrying,
            parked=sum(map(len, self.parked.values())),
            parks={task: len(park) for task, park in self.parked.items()},
            failed=len(self.failed),
            members=len(alive),
            enqueued=self.enqueued,
            next_due_in_ms=None if next_ms is None else next_ms - self.now_ms,
        )

    def ids(self) -> set[str]:
        """Of every job that is somewhere (I1)."""
        jobs = [*self.ready, *self.held, *(each.job for each in self.failed)]
        jobs += [job for _, _, job in self.future]
        jobs += [job for park in self.parked.values() for job in park]
        jobs += [lease.job for lease in self.leases]
        return {job.stored_id for job in jobs}

    def job_end(self, stored_id: str) -> JobEnd:
        """How a job ended (I23)."""
        end, until_ms = self.ends.get(stored_id, (None, 0))
        if end is not None and until_ms > self.now_ms:
            return end
        pending = self.ids() - {each.job.stored_id for each in self.failed}
        return JobEnd(ending=Ending.PENDING if stored_id in pending else Ending.ABSENT)

    def trim(self) -> None:
        """Forget failed jobs beyond the bounds (I19)."""
        kept = self.retention
        while self.failed:
            size = sum(each.size for each in self.failed)
            crowded = len(self.failed) > kept.number or (size > kept.size and len(self.failed) > 1)
            if not crowded and self.failed[0].at_ms >= self.now_ms - kept.age_ms:
                break
            del self.failed[0]

    # -- what they share ---------------------------------------------------

    def _fail(self, job: Job, failure: Failure) -> None:
        of_this_ms = [each.order for each in self.failed if each.at_ms == self.now_ms]
        order = max(of_this_ms, default=-1) + 1
        self.failed.append(Failed(at_ms=self.now_ms, order=order, job=job, failure=failure))
        self._keep(job, JobEnd(ending=Ending.FAILED, failure=failure))

    def _keep(self, job: Job, end: JobEnd) -> None:
        """A job ends."""
        self.ended += 1
        if job.keep_ms is not None:
            self.ends[job.stored_id] = end, self.now_ms + job.keep_ms

    def _step(self) -> None:
        """When nobody called for half a lease, nobody is dead for a whole one (I11)."""
        longest = max((each.enrolment.lease_ms for each in self.members.values()), default=0)
        if self._seen_ms is not None and self.now_ms - self._seen_ms > longest // 2:
            self._spared_until_ms = self.now_ms + longest
        self._seen_ms = self.now_ms

    def _condemned(self, member: Member) -> bool:
        if member.number is None:
            return True
        return member.ends_ms < self.now_ms and self.now_ms >= self._spared_until_ms

    def _put(self, job: Job, due_ms: int) -> None:
        if due_ms <= self.now_ms:
            self.ready.append(job)
            return
        first_ms = self._next_job()
        if first_ms is None or due_ms < first_ms:
            self._keeper = None
        self.future.append((due_ms, next(self._arrivals), job))

    def _retry(self, job: Job, due_ms: int) -> None:
        job.retries += 1
        job.turn = 0
        self._put(job, due_ms)

    def _end(self, lease: Leased) -> None:
        """A lease ends, and one job that waits for its slot comes to the front (I10)."""
        self.leases.remove(lease)
        if self._limit(lease.job.task) is not None:
            self._bring_back(1)

    def _bring_back(self, most: int) -> None:
        """Held jobs come to the front, behind earlier ones of theirs that stand there."""
        if not self.held:
            return
        limit = self._limit(self.held[0].task)
        if limit is not None:
            most = min(most, limit - self._leased(self.held[0].task))
        brought, self.held = self.held[: max(0, most)], self.held[max(0, most) :]
        place = 0
        while brought and place < len(self.ready) and 0 < self.ready[place].turn < brought[0].turn:
            place += 1
        self.ready[place:place] = brought

    def _dismiss(self, name: str) -> None:
        """A member goes, and its limits and its office with it."""
        member = self.members[name]
        member.number = None
        if self._keeper is not None and self._keeper[0] == name:
            self._keeper = None
        if member.enrolment.limits:
            self._bring_back(len(self.held))

    def _limit(self, task: str) -> int | None:
        if task in self.overrides:
            return self.overrides[task]
        declared = [
            member.enrolment.limits[task]
            for member in self.members.values()
            if member.number is not None and task in member.enrolment.limits
        ]
        return min(declared, default=None)

    def _leased(self, task: str) -> int:
        return sum(lease.job.task == task for lease in self.leases)

    def _next_job(self) -> int | None:
        return min((due_ms for due_ms, _, _ in self.future), default=None)

    def _next_periodic(self, tasks: Iterable[str]) -> int | None:
        known = [self.periodic[task][0] for task in tasks if task in self.periodic]
        return min(known, default=None)

    def _until(self, instant_ms: int | None) -> int | None:
        return None if instant_ms is None else max(0, instant_ms - self.now_ms)
