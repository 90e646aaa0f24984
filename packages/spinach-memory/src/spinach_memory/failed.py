"""The failed store: jobs that ended in failure, bounded by number and age."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from spinach.brokers.calls import FailedJob
from spinach.const import MAX_FAILED, MAX_FAILED_AGE
from spinach.outcome import Failure, cut_failure

if TYPE_CHECKING:
    from .jobs import StoredJob

__all__ = ["FailedStore"]

_MAX_AGE_MS: Final = MAX_FAILED_AGE // timedelta(milliseconds=1)
_UNSTATED: Final = Failure(error="", message="")


class FailedStore:
    """Failed jobs by id, the oldest first.

    Whatever falls out at the old end is named to the caller, who forgets the job.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[str, FailedJob] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, job: StoredJob, failure: Failure | None, now_ms: int) -> None:
        """Keep a job that failed now."""
        self._entries[job.stored_id] = FailedJob(
            stored_id=job.stored_id,
            record=job.record,
            retries=job.retries,
            losses=job.losses,
            failed_at_ms=now_ms,
            failure=cut_failure(failure or _UNSTATED),
        )

    def trim(self, now_ms: int) -> list[str]:
        """Drop what is too old or too much (I19).

        Returns:
            The stored ids that were dropped.
        """
        dropped: list[str] = []
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if len(self._entries) <= MAX_FAILED and oldest.failed_at_ms >= now_ms - _MAX_AGE_MS:
                break
            del self._entries[oldest.stored_id]
            dropped.append(oldest.stored_id)
        return dropped

    def remove(self, stored_id: str) -> bool:
        """Take a job out; whether it was there."""
        return self._entries.pop(stored_id, None) is not None

    def newest(self, offset: int, limit: int) -> list[FailedJob]:
        """A page of the entries, the newest first."""
        first = max(0, offset)
        return list(islice(reversed(self._entries.values()), first, first + max(0, limit)))
