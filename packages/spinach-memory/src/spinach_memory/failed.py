"""The failed store: jobs that ended in failure, bounded by number, age and bytes."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from spinach.brokers.calls import FailedJob
from spinach.const import MAX_ERROR_BYTES, MAX_FAILED, MAX_FAILED_AGE
from spinach.outcome import Failure

if TYPE_CHECKING:
    from .jobs import StoredJob

__all__ = ["FailedStore", "cut"]

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
            failure=cut(failure or _UNSTATED),
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


def cut(failure: Failure) -> Failure:
    """The failure with at most `MAX_ERROR_BYTES` of text.

    Of a traceback the end is kept, where the error was raised; it has half of the
    room to itself, since a long message tends to stand in it once more.
    """
    error = _head(failure.error, MAX_ERROR_BYTES)
    room = MAX_ERROR_BYTES - _size(error)
    message = _head(failure.message, room - min(_size(failure.traceback), room // 2))
    traceback = _tail(failure.traceback, room - _size(message))
    if (error, message, traceback) == (failure.error, failure.message, failure.traceback):
        return failure
    return Failure(error=error, message=message, traceback=traceback)


def _encode(text: str) -> bytes:
    # Lone surrogates occur in messages about undecodable input.
    return text.encode("utf-8", "surrogatepass")


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(_encode(text))


def _head(text: str, limit: int) -> str:
    if _size(text) <= limit:
        return text
    data = _encode(text)
    while _inside_letter(data, limit):
        limit -= 1
    return data[:limit].decode("utf-8", "surrogatepass")


def _tail(text: str, limit: int) -> str:
    if _size(text) <= limit:
        return text
    data = _encode(text)
    start = len(data) - limit
    while _inside_letter(data, start):
        start += 1
    return data[start:].decode("utf-8", "surrogatepass")


def _inside_letter(data: bytes, index: int) -> bool:
    """Whether a cut before this byte would split a letter."""
    return index < len(data) and data[index] & 0xC0 == 0x80
