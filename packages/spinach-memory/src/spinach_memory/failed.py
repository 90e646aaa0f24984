"""The failed store: jobs that ended in failure, bounded by number, age and bytes."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from spinach.brokers.calls import Cursor, FailedJob
from spinach.const import FAILED_CHUNK, MAX_FETCH_BYTES
from spinach.outcome import Failure, cut_failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spinach.brokers.calls import FailedFilter, FailedPortion
    from spinach.retention import FailedRetention

    from .jobs import StoredJob

__all__ = ["FailedStore"]

_RANK: Final = attrgetter("at_ms", "order")

_UNSTATED: Final = Failure(error="", message="")


class FailedStore:
    """Failed jobs, ordered by the instants at which they failed.

    `trim` drops the oldest and returns their ids, so that the queue forgets these jobs, too.
    """

    __slots__ = ("_cursors", "_entries", "_sizes", "size")

    def __init__(self) -> None:
        self._entries: dict[str, FailedJob] = {}
        #: In order, the oldest first.
        self._cursors: list[Cursor] = []
        #: Stored id → bytes that it counts for.
        self._sizes: dict[str, int] = {}
        #: Records and reasons of all of them, in bytes.
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, stored_id: str) -> bool:
        return stored_id in self._entries

    def get(self, stored_id: str) -> FailedJob | None:
        """The entry of a job; None where there is none."""
        return self._entries.get(stored_id)

    def add(self, job: StoredJob, failure: Failure | None, now_ms: int) -> None:
        """Keep a job that failed now."""
        kept = cut_failure(failure or _UNSTATED)
        entry = FailedJob(
            stored_id=job.stored_id,
            record=job.record,
            retries=job.retries,
            losses=job.losses,
            failed_at_ms=now_ms,
            order=self._next_order(now_ms),
            failure=kept,
        )
        self._entries[job.stored_id] = entry
        insort(self._cursors, entry.cursor)
        # A reason counts for what a server would keep of it.
        reason = json.dumps([kept.error, kept.message, kept.traceback])
        self._sizes[job.stored_id] = len(job.record) + len(reason)
        self.size += self._sizes[job.stored_id]

    def _next_order(self, now_ms: int) -> int:
        behind = bisect_left(self._cursors, Cursor(now_ms + 1, 0, ""))
        if not behind or self._cursors[behind - 1].at_ms != now_ms:
            return 0
        return self._cursors[behind - 1].order + 1

    def trim(self, now_ms: int, retention: FailedRetention) -> list[str]:
        """Drop what is too old or too much (I19). The newest stays, however large it is.

        Args:
            now_ms: the store's now.
            retention: what may stay.

        Returns:
            The stored ids that were dropped.
        """
        dropped: list[str] = []
        left, size = len(self._cursors), self.size
        for cursor in self._cursors:
            crowded = left > retention.number or (size > retention.size and left > 1)
            if not crowded and cursor.at_ms >= now_ms - retention.age_ms:
                break
            left, size = left - 1, size - self._sizes[cursor.stored_id]
            dropped.append(cursor.stored_id)
        if dropped:
            del self._cursors[: len(dropped)]
            for stored_id in dropped:
                self._forget(stored_id)
        return dropped

    def oldest(self, limit: int) -> list[str]:
        """The stored ids of the oldest ones."""
        return [cursor.stored_id for cursor in self._cursors[:limit]]

    def remove(self, stored_id: str) -> bool:
        """Take a job out; whether it was there."""
        entry = self._entries.get(stored_id)
        if entry is None:
            return False
        del self._cursors[bisect_left(self._cursors, entry.cursor)]
        self._forget(stored_id)
        return True

    def _forget(self, stored_id: str) -> None:
        del self._entries[stored_id]
        self.size -= self._sizes.pop(stored_id)

    def newest(
        self, oldest_ms: int, offset: int, limit: int, after: Cursor | None, matching: FailedFilter
    ) -> list[FailedJob]:
        """A page of the entries that match and are not too old, the newest first.

        Args:
            oldest_ms: the instant before which entries are too old.
            offset: number of entries to leave out first.
            limit: number of entries to return at most.
            after: begin behind this cursor; None begins with the newest.
            matching: which ones.
        """
        oldest = self._first(oldest_ms)
        end = len(self._cursors) if after is None else bisect_left(self._cursors, after)
        entries = (
            self._entries[self._cursors[at].stored_id] for at in range(end - 1, oldest - 1, -1)
        )
        found = (entry for entry in entries if matching.admits(entry))
        first = max(0, offset)
        return [*islice(found, first, first + max(0, limit))]

    def behind(self, after: tuple[int, int] | None) -> Iterator[Cursor]:
        """The cursors behind an instant and order, the oldest first."""
        first = 0 if after is None else bisect_right(self._cursors, after, key=_RANK)
        return islice(self._cursors, first, None)

    def find(self, oldest_ms: int, stored_ids: Iterable[str]) -> list[FailedJob]:
        """The entries of some jobs, but for those that are too old."""
        entries = (self._entries.get(stored_id) for stored_id in dict.fromkeys(stored_ids))
        return [each for each in entries if each is not None and each.failed_at_ms >= oldest_ms]

    def portion(self, oldest_ms: int, portion: FailedPortion) -> tuple[list[str], Cursor | None]:
        """The next entries that match, the oldest first.

        Args:
            oldest_ms: the instant before which entries are too old.
            portion: which ones.

        Returns:
            Their stored ids, and where the next portion begins; None: nothing is left.
        """
        first = self._first(max(oldest_ms, portion.matching.since_ms or 0))
        if portion.after is not None:
            first = max(first, bisect_right(self._cursors, portion.after))
        cursors = self._cursors[first : bisect_right(self._cursors, portion.until)]
        found: list[str] = []
        size = 0
        for number, cursor in enumerate(cursors):
            size += self._sizes[cursor.stored_id]
            if number >= FAILED_CHUNK or (size > MAX_FETCH_BYTES and number):
                return found, cursors[number - 1]
            if portion.matching.admits(self._entries[cursor.stored_id]):
                found.append(cursor.stored_id)
        return found, None

    def _first(self, oldest_ms: int) -> int:
        """The position of the first entry of an instant or later."""
        return bisect_left(self._cursors, Cursor(oldest_ms, 0, ""))
