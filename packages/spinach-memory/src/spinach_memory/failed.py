"""The failed store: jobs that ended in failure, bounded by number, age and bytes."""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from spinach import const
from spinach.brokers.calls import Cursor, FailedJob
from spinach.outcome import Failure, cut_failure

if TYPE_CHECKING:
    from .jobs import StoredJob

__all__ = ["FailedStore"]

_MAX_AGE_MS: Final = const.MAX_FAILED_AGE // timedelta(milliseconds=1)
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

    def trim(self, now_ms: int) -> list[str]:
        """Drop what is too old or too much (I19). The newest stays, however large it is.

        Returns:
            The stored ids that were dropped.
        """
        dropped: list[str] = []
        left, size = len(self._cursors), self.size
        for cursor in self._cursors:
            crowded = left > const.MAX_FAILED or (size > const.MAX_FAILED_BYTES and left > 1)
            if not crowded and cursor.at_ms >= now_ms - _MAX_AGE_MS:
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
        self, now_ms: int, offset: int, limit: int, after: Cursor | None = None
    ) -> list[FailedJob]:
        """A page of the entries that are not too old, the newest first.

        Args:
            now_ms: the store's now.
            offset: number of entries to leave out first.
            limit: number of entries to return at most.
            after: begin behind this cursor; None begins with the newest.
        """
        oldest = bisect_left(self._cursors, Cursor(now_ms - _MAX_AGE_MS, 0, ""))
        end = len(self._cursors) if after is None else bisect_left(self._cursors, after)
        end -= max(0, offset)
        page = self._cursors[max(oldest, end - max(0, limit)) : max(oldest, end)]
        return [self._entries[cursor.stored_id] for cursor in reversed(page)]
