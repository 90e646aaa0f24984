"""Fetched jobs that wait for a worker thread, in the order they came.

Other processes could run them, so they must not wait here for long: when no thread took
one for a horizon they are all stale, else those that are older than four horizons.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from spinach.const import BUFFER_HORIZON_SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from spinach.outcome import Lease
    from spinach.progress import Progress
    from spinach.record.options import RecordOptions
    from spinach.task import Task
    from spinach.worker.membership import Membership


__all__ = ["Buffer", "LeasedJob"]

#: A job that waits longer gives way to other processes, although threads take some.
_OLD_SECONDS = 4 * BUFFER_HORIZON_SECONDS


# A struct, as the records in spinach.outcome are: one is made for each job. The collector of
# cycles sees it, since a task's function may lead back to what holds it.
class LeasedJob(msgspec.Struct, eq=False):
    """A leased job on its way; the lock of the in-flight jobs guards it."""

    lease: Lease
    membership: Membership
    task: Task[..., Any]
    #: Of the record; None: it has none, as most jobs.
    options: RecordOptions | None = None
    #: Monotonic seconds.
    arrived: float = 0.0
    started: float = 0.0
    #: Given back while it ran; what the thread says of it later is void.
    abandoned: bool = False
    #: The store does not count it as ours; its outcome will be refused.
    stray: bool = False
    #: Its cancel was asked for while it ran.
    cancelled: bool = False
    #: When its time limit passes, in monotonic seconds; None: it has none, or did not start.
    deadline: float | None = None
    #: That its deadline has passed was told.
    overdue: bool = False
    #: What its task said last. Any thread writes it, without the lock: it is replaced whole.
    progress: Progress | None = None

    @property
    def keep_ms(self) -> int | None:
        """How long the end of the job is to be kept, in ms; None: it is not."""
        return None if self.options is None else self.options.keep_ms


class Buffer:
    """Not thread safe: the lock of the in-flight jobs guards it. Instants are monotonic seconds.

    Args:
        now: the time since which no job was taken is counted from here.
    """

    __slots__ = ("_jobs", "taken_at")

    def __init__(self, now: float) -> None:
        self._jobs: deque[LeasedJob] = deque()
        #: When a thread took a job last, or when it was filled after that.
        self.taken_at = now

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[LeasedJob]:
        return iter(self._jobs)

    def add(self, jobs: Sequence[LeasedJob], now: float) -> None:
        """Put fetched jobs behind the others."""
        for job in jobs:
            job.arrived = now
        if not self._jobs:
            # The horizon starts when it fills.
            self.taken_at = now
        self._jobs.extend(jobs)

    def take(self, now: float) -> LeasedJob | None:
        """The first job whose lease is safe to start (I16); None: there is none."""
        for index, leased_job in enumerate(self._jobs):
            if now < leased_job.membership.safe_until:
                leased_job.started = self.taken_at = now
                del self._jobs[index]
                return leased_job
        return None

    def startable(self, now: float) -> int:
        """How many jobs have a lease that is safe to start."""
        return sum(now < job.membership.safe_until for job in self._jobs)

    def remove(self, jobs: Collection[LeasedJob]) -> None:
        """Take these out; the others keep their order."""
        gone = set(map(id, jobs))
        self._jobs = deque(job for job in self._jobs if id(job) not in gone)

    def stale_at(self) -> float | None:
        """When the first of its jobs will be stale, as it stands; None: it is empty."""
        if not self._jobs:
            return None
        return min(self.taken_at + BUFFER_HORIZON_SECONDS, self._jobs[0].arrived + _OLD_SECONDS)

    def stands_still(self, now: float) -> bool:
        """Whether it holds jobs, and no thread took one for a horizon."""
        return bool(self._jobs) and now >= self.taken_at + BUFFER_HORIZON_SECONDS

    def old(self, now: float) -> list[LeasedJob]:
        """Jobs that wait for more than four horizons."""
        return [job for job in self._jobs if now >= job.arrived + _OLD_SECONDS]
