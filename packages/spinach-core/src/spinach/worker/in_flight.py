"""The in-flight jobs: where each leased job of this process is.

A job comes in with a fetch, waits in the buffer, runs on a worker thread, and stays
until the broker answered its outcome, or for good if its thread died (I17)::

    put ──▶ buffer ──exchange──▶ running ──exchange──▶ pending ──collect──▶ reported
              │                    │                      ▲                     │
              ├─── withdrawn ──────┴── abandoned ─────────┤ ◀── no answer ──────┤
              └─── cancelled ─────────────────────────────┘                     │
                                                                                ▼
                                                                       answered: gone

All moves are made under one lock. No broker is called and no user code runs under it.
"""

from __future__ import annotations

import functools
import math
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING

from spinach.brokers.calls import BeatProgress
from spinach.const import BUFFER_HORIZON_SECONDS, MAX_FETCH, TOLERANCE_SECONDS
from spinach.outcome import Outcome, OutcomeKind
from spinach.worker.buffer import Buffer
from spinach.worker.pending import PendingOutcome, PendingOutcomes
from spinach.worker.prefetch import FetchSize

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import timedelta

    from spinach.brokers.calls import Verdict
    from spinach.clock import Clock
    from spinach.outcome import Lease
    from spinach.worker.buffer import LeasedJob
    from spinach.worker.prefetch import Prefetch
    from spinach.worker.wake_up import Sync

__all__ = ["InFlight"]

#: A worker thread looks this often although it was not woken, in seconds.
_IDLE_WAIT_SECONDS = 60.0


class InFlight:
    """Buffer, running jobs and pending outcomes of one pool; thread safe.

    Args:
        clock: for waits and ages.
        prefetch: sizes the buffer; used under the lock only.
        wake_subscriber: called when a thread goes idle or the buffer runs low.
        wake_arbiter: called when the pool winds up and there is less left to wait for.
        wake_notifier: called when an outcome waits.
        hurry_notifier: called when another job may wait for an outcome, which frees a slot, or
            a caller for the result in it.
        on_cancelled: called in a worker thread with the lease of each job that was cancelled
            before it started; None: nobody wants to know.
        tell_empty: wake the arbiter also when nothing is left here.
        sync: makes lock and condition; tests put their own here.
    """

    def __init__(
        self,
        clock: Clock,
        prefetch: Prefetch,
        *,
        wake_subscriber: Callable[[], None],
        wake_arbiter: Callable[[], None],
        wake_notifier: Callable[[], None],
        hurry_notifier: Callable[[], None],
        on_cancelled: Callable[[Lease], None] | None = None,
        tell_empty: bool = False,
        sync: Sync = threading,
    ) -> None:
        self._clock = clock
        self._prefetch = prefetch
        self._wake_subscriber = wake_subscriber
        self._wake_arbiter = wake_arbiter
        self._wake_notifier = wake_notifier
        self._hurry_notifier = hurry_notifier
        self._on_cancelled = on_cancelled
        self._tell_empty = tell_empty
        # Guards everything below.
        self._lock = sync.Lock()
        # Worker threads wait on it for a job, a callback, or the end.
        self._ready = sync.Condition(self._lock)
        self._buffer = Buffer(clock.monotonic())
        self._running: dict[int, LeasedJob] = {}
        # What threads that died ran.
        self._orphans: list[LeasedJob] = []
        self._pending = PendingOutcomes()
        # Member → how many leases it holds, wherever they are. Kept up, since a pass over all
        # of them with each fetch would cost the more, the more is under way.
        self._held: Counter[str] = Counter()
        # (stored id, token) of leases to cancel that were not here when that was asked for.
        self._cancel_early: set[tuple[str, str]] = set()
        # Outcomes of threads that ended after the pool did.
        self._late: dict[int, Outcome] = {}
        self._callbacks: deque[Callable[[], None]] = deque()
        self._idle = 0
        # A thread was woken for the buffer and has not looked yet.
        self._waking = False
        # The first deadline of a running job that was not told of, or an earlier instant.
        self._overdue_at = math.inf
        # Jobs that ended beyond their deadline before the arbiter saw it, with their thread's key.
        self._ended_overdue: list[tuple[int, LeasedJob]] = []
        self._finished_at: dict[int, float] = {}
        self._asked = False
        self._low_water = 0
        self._closed = False
        self._dissolved = False

    # -- worker threads ----------------------------------------------------

    def exchange(
        self, worker: int, outcome: Outcome | None = None
    ) -> LeasedJob | Callable[[], None] | None:
        """Hand in the outcome of the job that ran, and wait for the next one.

        Args:
            worker: key of the calling thread.
            outcome: of the job the thread got last; None at first and after a callback.

        Returns:
            A job to run, a callback to call, or None: the thread should end.
        """
        with self._lock:
            now = self._clock.monotonic()
            if outcome is not None:
                self._finish(worker, outcome, now)
            while True:
                if self._callbacks:
                    callback = self._callbacks.popleft()
                    self._wake_worker()
                    if self._tell_empty:
                        self._wake_arbiter()  # it may have been the last thing here
                    return callback
                if self._closed:
                    return None
                if (leased_job := self._start(worker, now)) is not None:
                    return leased_job
                self._idle += 1
                self._ask()
                try:
                    self._clock.wait(self._ready, _IDLE_WAIT_SECONDS)
                finally:
                    self._idle -= 1
                    self._waking = False
                now = self._clock.monotonic()

    def late(self, worker: int) -> Outcome | None:
        """The outcome that came too late for the notifier.

        The thread calls it once it was told to end, and reports the outcome itself.
        """
        with self._lock:
            return self._late.pop(worker, None)

    def forget(self, worker: int) -> None:
        """The thread died over its job; held on, so that only recovery takes it back (I3)."""
        with self._lock:
            leased_job = self._running.pop(worker, None)
            if leased_job is not None and not leased_job.abandoned:
                self._orphans.append(leased_job)
            self._wake_arbiter()

    def _finish(self, worker: int, outcome: Outcome, now: float) -> None:
        leased_job = self._running.pop(worker)
        self._finished_at[worker] = now
        self._prefetch.job_took(now - leased_job.started)
        if leased_job.deadline is not None and not leased_job.overdue:
            self._note_overdue(worker, leased_job, leased_job.deadline, now)
        if leased_job.abandoned:
            pass
        elif self._dissolved:
            self._late[worker] = outcome
        else:
            self._post(PendingOutcome(outcome, leased_job.stray))
            if leased_job.task.max_concurrency is not None or (
                # Someone may wait for its result. While more jobs wait here, their outcomes leave
                # together, which costs the server less.
                outcome.keep_ms is not None and not self._buffer
            ):
                self._hurry_notifier()
        if self._closed:
            self._wake_arbiter()

    def _start(self, worker: int, now: float) -> LeasedJob | None:
        """Give a thread the next job, if there is one."""
        leased_job = self._buffer.take(now)
        if leased_job is not None:
            self._running[worker] = leased_job
            if leased_job.task.time_limit is not None:
                self._limit(leased_job, leased_job.task.time_limit)
            self._wake_worker()
            if not self._asked and len(self._buffer) <= self._low_water:
                self._ask()
        return leased_job

    def _limit(self, leased_job: LeasedJob, time_limit: timedelta) -> None:
        """A job with a time limit starts; the arbiter is woken if it does not look by then."""
        leased_job.deadline = leased_job.started + time_limit.total_seconds()
        if leased_job.deadline < self._overdue_at:
            self._overdue_at = leased_job.deadline
            self._wake_arbiter()

    def _note_overdue(
        self, worker: int, leased_job: LeasedJob, deadline: float, now: float
    ) -> None:
        """A job with a time limit has ended; the arbiter tells if it did so too late."""
        if now + TOLERANCE_SECONDS >= deadline:
            leased_job.overdue = True
            self._ended_overdue.append((worker, leased_job))
            self._overdue_at = now
            self._wake_arbiter()

    def _wake_worker(self) -> None:
        """Wake a thread for what lies in the buffer, if none is on its way.

        Threads wake each other one by one: one that takes a job wakes the next. While jobs
        are so short that one thread has taken them all before another is up, the
        others sleep on; waking one for each job cost twice the time of the jobs.
        """
        if self._idle and not self._waking and self._buffer:
            self._waking = True
            self._ready.notify()

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self._wake_subscriber()

    def _post(self, entry: PendingOutcome) -> None:
        if self._pending.add(entry):
            self._wake_notifier()

    # -- arbiter and subscriber --------------------------------------------

    def put(self, leased_jobs: Sequence[LeasedJob]) -> None:
        """Take in fetched jobs of one membership; nothing if it was fenced meanwhile.

        After `close` they stay in the buffer until `give_back`.
        """
        membership = leased_jobs[0].membership
        with self._lock:
            # Seen here, or `drop` comes later and takes them out.
            if membership.fenced:
                return
            self._buffer.add(leased_jobs, self._clock.monotonic())
            self._held[membership.member] += len(leased_jobs)
            if self._cancel_early:
                self._cancel_buffered(self._cancel_early)
            if not self._closed:
                self._wake_worker()

    def post(self, outcome: Outcome) -> None:
        """Send an outcome of a job that no thread here gets to see."""
        with self._lock:
            self._held[outcome.lease.member] += 1
            self._post(PendingOutcome(outcome))

    def request_cancel(self, pairs: Collection[tuple[str, str]]) -> None:
        """The store tells that the cancel of these jobs was asked for; again is fine.

        A job that runs is marked, and its task sees it. One that waits in the buffer never
        starts: its outcome is CANCELLED, and a worker thread tells of it. One whose outcome is on
        its way, or was given back, is left to the store. One that is not here yet, since a beat
        overtook the answer to a fetch, is met when it comes in.

        Args:
            pairs: (stored id, token) of all leases that the answers to one beat named. A later
                call replaces what was still to come in.
        """
        if not pairs and not self._cancel_early:
            return
        wanted = set(pairs)
        with self._lock:
            running = [item for item in self._running.values() if _pair(item.lease) in wanted]
            for item in running:
                item.cancelled = True
            wanted.difference_update(_pair(item.lease) for item in running)
            self._cancel_early = wanted
            self._cancel_buffered(wanted)

    def progress(self, members: Collection[str]) -> list[BeatProgress]:
        """What the running jobs of some memberships told of themselves last."""
        with self._lock:
            told = [
                (item.lease, item.progress)
                for item in self._running.values()
                if item.progress is not None and item.lease.member in members
            ]
        return [
            BeatProgress(lease.queue, lease.member, lease.stored_id, lease.token, progress)
            for lease, progress in told
            if progress is not None
        ]

    def _cancel_buffered(self, pairs: set[tuple[str, str]]) -> None:
        """End the jobs in the buffer that are among the pairs, and strike these off."""
        items = [item for item in self._buffer if _pair(item.lease) in pairs]
        if not items:
            return
        self._buffer.remove(items)
        for item in items:
            lease, task = item.lease, item.task
            pairs.discard(_pair(lease))
            cancelled = Outcome(OutcomeKind.CANCELLED, lease, task.name, keep_ms=item.keep_ms)
            self._post(PendingOutcome(cancelled))
            if task.max_concurrency is not None:
                self._hurry_notifier()
            if self._on_cancelled is not None:
                self._callbacks.append(functools.partial(self._on_cancelled, lease))
                self._ready.notify()

    def run_callback(self, callback: Callable[[], None]) -> None:
        """Let a worker thread call this when it has a moment."""
        with self._lock:
            self._callbacks.append(callback)
            self._ready.notify()

    def fetch_size(self) -> FetchSize:
        """What a fetch should bring now."""
        with self._lock:
            self._asked = False
            if self._closed:
                return FetchSize(0, 0, low=False)
            now = self._clock.monotonic()
            waiting = self._idle
            if waiting:
                # Threads already woken for what lies there.
                waiting -= self._buffer.startable(now)
            horizon = now - BUFFER_HORIZON_SECONDS
            lively = self._idle + len([at for at in self._finished_at.values() if at >= horizon])
            room = self._prefetch.room(lively)
            self._low_water = room // 2
            size = len(self._buffer)
            return FetchSize(
                idle=max(0, waiting),
                extra=min(MAX_FETCH, max(0, room - size)),
                low=size <= self._low_water < room,
                gather=self._prefetch.gather() if self._running or size else 0.0,
            )

    def fetch_took(self, seconds: float) -> None:
        """Tell the prefetch how long a fetch took."""
        with self._lock:
            self._prefetch.fetch_took(seconds)

    def membership_renewed(self) -> None:
        """Jobs that were not safe to start may be now."""
        with self._lock:
            if self._buffer and self._idle:
                self._ready.notify_all()

    def stale_in(self) -> float | None:
        """Seconds until `withdraw_stale` has something to do; None: not as it stands."""
        # Without the lock: only the subscriber, which asks, puts something into an empty buffer.
        if not self._buffer:
            return None
        with self._lock:
            stale_at = None if self._closed else self._buffer.stale_at()
            return None if stale_at is None else max(0.0, stale_at - self._clock.monotonic())

    def withdraw_stale(self) -> None:
        """Give back jobs that wait here while other processes could run them.

        When all are stale nothing more is buffered until a job ends.
        """
        with self._lock:
            now = self._clock.monotonic()
            if self._buffer.stands_still(now):
                self._prefetch.stalled = True
                self._withdraw_all()
            else:
                self._withdraw(self._buffer.old(now))

    def held(self, member: str) -> list[tuple[str, str]]:
        """(stored id, token) of each lease of a membership that is not answered (I6)."""
        with self._lock:
            return [_pair(lease) for lease in self._leases() if lease.member == member]

    def held_count(self, member: str) -> int:
        """How many leases of a membership are not answered: as many as `held` lists.

        Only `put` and `post` add some, so to the thread that calls those it is never too low.
        """
        return self._held[member]

    def settle(self, member: str, strays: Collection[tuple[str, str]]) -> list[Lease]:
        """Act on a reconciliation: drop what the store does not count as ours.

        Returns:
            Leases of jobs that run here all the same.
        """
        if not strays:
            return []
        lost = set(strays)

        def is_stray(item: LeasedJob) -> bool:
            lease = item.lease
            return lease.member == member and _pair(lease) in lost

        with self._lock:
            self._forget_buffered([item for item in self._buffer if is_stray(item)])
            running = [item for item in self._running.values() if is_stray(item)]
            for item in running:
                item.stray = True
            return [item.lease for item in running]

    def drop(self, member: str) -> None:
        """The store fenced this membership: forget what it buffered."""
        with self._lock:
            self._forget_buffered([item for item in self._buffer if item.lease.member == member])
            # Of memberships that were dropped before, and have nothing left.
            self._held = +self._held
            for item in self._running.values():
                item.stray = item.stray or item.lease.member == member

    def _forget_buffered(self, items: Sequence[LeasedJob]) -> None:
        self._buffer.remove(items)
        self._held.subtract([item.lease.member for item in items])

    def _leases(self) -> Iterable[Lease]:
        yield from (item.lease for item in self._buffer)
        yield from (item.lease for item in self._running.values() if not item.abandoned)
        yield from (item.lease for item in self._orphans)
        yield from self._pending.leases()

    def _give_back(self, item: LeasedJob) -> None:
        release = Outcome(OutcomeKind.RELEASE, item.lease, item.task.name, keep_ms=item.keep_ms)
        self._post(PendingOutcome(release))

    def _withdraw_all(self) -> None:
        self._withdraw(list(self._buffer))

    def _withdraw(self, items: Sequence[LeasedJob]) -> None:
        if not items:
            return
        self._buffer.remove(items)
        for item in items:
            self._give_back(item)

    # -- time limits -------------------------------------------------------

    def overdue_in(self) -> float:
        """Seconds until a job that runs may have exceeded its time limit; math.inf: none will."""
        # Without the lock: where a job starts that is due sooner, the arbiter is woken after this
        # was written.
        at = self._overdue_at
        return at if at == math.inf else max(0.0, at - self._clock.monotonic())

    def take_overdue(self) -> list[tuple[int, LeasedJob]]:
        """The jobs that took longer than their time limit, with the key of their thread.

        Each is named once, and most of them still run.
        """
        now = self._clock.monotonic() + TOLERANCE_SECONDS
        if now < self._overdue_at:
            return []
        with self._lock:
            found, self._ended_overdue = self._ended_overdue, []
            self._overdue_at = math.inf
            for worker, item in self._running.items():
                if item.deadline is None or item.overdue:
                    continue
                if now < item.deadline:
                    self._overdue_at = min(self._overdue_at, item.deadline)
                else:
                    item.overdue = True
                    found.append((worker, item))
            return found

    def runs(self, worker: int, leased_job: LeasedJob) -> bool:
        """Whether a thread runs this very job."""
        with self._lock:
            return self._running.get(worker) is leased_job

    # -- result notifier ---------------------------------------------------

    def collect(self, blocked: Collection[str], most: int) -> list[Outcome]:
        """Take the outcomes to report next; they stay held until `answered`.

        Args:
            blocked: queues whose outcomes have to wait.
            most: how many to take.
        """
        with self._lock:
            return self._pending.collect(blocked, most)

    def answered(self, verdicts: Sequence[Verdict]) -> tuple[list[Outcome], set[str]]:
        """The report of the outcomes collected last was answered; as `PendingOutcomes` has it."""
        with self._lock:
            settled = self._pending.answered(verdicts, self._held)
            if self._closed or (self._tell_empty and not self._running and not self._pending):
                self._wake_arbiter()
            return settled

    # -- stop --------------------------------------------------------------

    def close(self) -> None:
        """Start no further job; idle threads end."""
        with self._lock:
            self._closed = True
            self._ready.notify_all()

    def give_back(self) -> None:
        """Give the buffer back, once nothing comes in any more.

        Not before: what a fetch brings after that would go to the front of what was first.
        """
        with self._lock:
            self._withdraw_all()

    def abandon(self) -> list[LeasedJob]:
        """Give back running jobs that may run again; the grace is over.

        At-most-once jobs stay leased: their outcome still counts if it comes.

        Returns:
            All jobs that still run.
        """
        with self._lock:
            left = [item for item in self._running.values() if not item.abandoned]
            for item in left:
                if item.lease.repeatable:
                    item.abandoned = True
                    self._give_back(item)
            return left

    def dissolve(self) -> None:
        """After `close`: the notifier reports no more; threads that end late do it themselves."""
        with self._lock:
            self._dissolved = True
            self._callbacks.clear()
            self._orphans.clear()

    @property
    def running(self) -> int:
        """Jobs that run and were not abandoned."""
        with self._lock:
            return sum(not item.abandoned for item in self._running.values())

    @property
    def busy_workers(self) -> set[int]:
        """Keys of the threads that run a job."""
        with self._lock:
            return set(self._running)

    @property
    def unanswered(self) -> int:
        """Outcomes that the broker has not answered."""
        with self._lock:
            return len(self._pending)

    @property
    def empty(self) -> bool:
        """Whether this process holds nothing at all."""
        with self._lock:
            held = self._buffer or self._running or self._orphans or self._pending
            return not (held or self._callbacks)


def _pair(lease: Lease) -> tuple[str, str]:
    """What names a lease in calls about several."""
    return lease.stored_id, lease.token
