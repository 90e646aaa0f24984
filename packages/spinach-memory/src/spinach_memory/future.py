"""Jobs that wait for their instant, and the member that is told of the next one."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from itertools import count, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from spinach.brokers.calls import Place
from spinach.const import RENEWAL_MS, TIMEKEEPER_MS

from .jobs import Whereabouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .jobs import StoredJob

__all__ = ["FutureJobs", "Timekeeper"]


_RANK: Final = itemgetter(0, 1)


class FutureJobs:
    """Jobs in the order of their instants; equal instants in the order they came."""

    __slots__ = ("_cancelled", "_heap", "_order", "retrying")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, StoredJob]] = []
        self._order = count()
        #: Number of jobs that wait for a retry rather than for their first instant.
        self.retrying = 0
        # Of the heap, that are no jobs any more; the first one is none of them.
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    @property
    def next_due_ms(self) -> int | None:
        """The earliest instant; None when nothing waits."""
        return self._heap[0][0] if self._heap else None

    def push(self, job: StoredJob, due_ms: int) -> bool:
        """Add a job that waits until `due_ms`.

        Returns:
            Whether it is now the first one.
        """
        first = not self._heap or due_ms < self._heap[0][0]
        order = next(self._order)
        heapq.heappush(self._heap, (due_ms, order, job))
        job.where = Whereabouts(Place.FUTURE, due_ms=due_ms, order=order)
        if job.retries:
            self.retrying += 1
        return first

    def drain(self) -> Iterator[StoredJob]:
        """Take out one job after the other, the earliest first."""
        while self._heap:
            job = heapq.heappop(self._heap)[2]
            if job.retries:
                self.retrying -= 1
            if self._cancelled:
                self._close_up()
            yield job

    def pop_due(self, now_ms: int, limit: int) -> list[StoredJob]:
        """Take out jobs whose instant has come, the earliest first, `limit` at most."""
        due: list[StoredJob] = []
        while self._heap and self._heap[0][0] <= now_ms and len(due) < limit:
            job = heapq.heappop(self._heap)[2]
            job.where = None
            if job.retries:
                self.retrying -= 1
            due.append(job)
            if self._cancelled:
                self._close_up()
        return due

    def lose(self, job: StoredJob) -> None:
        """A job that waits is cancelled."""
        job.cancelled = True
        job.record = b""
        if job.retries:
            self.retrying -= 1
        self._cancelled += 1
        self._close_up()
        if self._cancelled > len(self._heap) // 2:
            # All others are looked at once for as many cancels.
            self._heap = [each for each in self._heap if not each[2].cancelled]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def _close_up(self) -> None:
        while self._cancelled and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)
            self._cancelled -= 1

    def behind(self, after: tuple[int, int] | None) -> Iterator[tuple[int, int, StoredJob]]:
        """Instant, order and job of those behind an instant and order, the earliest first."""
        # One that is sorted is a heap as well; and sorted again in a moment.
        self._heap.sort()
        first = 0 if after is None else bisect_right(self._heap, after, key=_RANK)
        return (each for each in islice(self._heap, first, None) if not each[2].cancelled)

    def before(self, job: StoredJob, most: int) -> int | None:
        """How many jobs are due before one; None where more than `most` wait."""
        if len(self._heap) > most:
            return None
        due = sorted(entry for entry in self._heap if not entry[2].cancelled)
        return next(place for place, entry in enumerate(due) if entry[2] is job)


class Timekeeper:
    """The one member of a queue that is told when the next job is due.

    If all were told, all would wake at that instant for the same job. A member keeps the role
    for `TIMEKEEPER_MS`, and longer as long as it fetches.
    """

    __slots__ = ("_member", "_until_ms", "wanted")

    def __init__(self) -> None:
        self._member: str | None = None
        self._until_ms = 0
        #: The earliest instant is a new one, of which the timekeeper does not know. The
        #: next member that fetches gets the role, and a waiting one is woken for it.
        self.wanted = False

    def offer(self, member: str, now_ms: int) -> bool:
        """Give the role to a member that fetches if it is free, or the member has it.

        Returns:
            Whether the member is the timekeeper.
        """
        # A role that ends later than any can was given before the clock was set back.
        vacant = self._member is None or not now_ms < self._until_ms <= now_ms + TIMEKEEPER_MS
        if not (vacant or self.wanted or self._member == member):
            return False
        if vacant or self.wanted or self._until_ms - now_ms < TIMEKEEPER_MS - RENEWAL_MS:
            self._member = member
            self._until_ms = now_ms + TIMEKEEPER_MS
        self.wanted = False
        return True

    def remove(self, member: str) -> bool:
        """End the role of a member that goes.

        Returns:
            Whether it was the timekeeper.
        """
        if self._member != member:
            return False
        self._member = None
        return True
