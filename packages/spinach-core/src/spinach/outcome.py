"""Leases and their outcomes: what a worker process gets from a broker, and what it reports.

These are the records only; `spinach.worker` decides on an outcome. Several of them are made
for each job, so they are msgspec structs: frozen like a frozen dataclass, and ten times as
fast to make.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec

from spinach.const import MAX_ERROR_BYTES
from spinach.record.ids import StoredId, may_repeat

__all__ = ["Failure", "Lease", "Outcome", "OutcomeKind", "cut_failure"]


class Lease(msgspec.Struct, frozen=True, gc=False):
    """A job that a membership owns until its outcome is answered.

    The broker makes it. The pair (stored_id, token) names this lease and no other, since a
    job that is leased again gets a new token.
    """

    #: The queue whose membership holds the job.
    queue: str
    #: The membership that fetched the job; outcomes go out under its name.
    member: str
    stored_id: StoredId
    #: Opaque; differs at each lease of the same job.
    token: str
    #: Given for an idle thread (True) or for the buffer.
    direct: bool
    #: The job as it was enqueued, byte for byte.
    record: bytes
    #: Attempts that were spent before this one.
    retries: int
    #: Worker processes that were lost while they ran this job.
    losses: int = 0

    @property
    def repeatable(self) -> bool:
        """Whether the job may run more than once."""
        return may_repeat(self.stored_id)


class OutcomeKind(enum.Enum):
    """The ways a lease ends."""

    #: The job is done; it disappears.
    SUCCEEDED = "succeeded"
    #: The job ended in failure; it moves to the failed store.
    FAILED = "failed"
    #: The attempt failed and is spent; the job becomes due again.
    RETRY = "retry"
    #: Given back, mostly without having run; first in its queue, no attempt spent.
    RELEASE = "release"
    #: This process does not know the task or the record's version; the job is parked, and no
    #: attempt is spent.
    PARK = "park"
    #: It did not start in time; it disappears unrun.
    EXPIRED = "expired"
    #: It was taken back; it disappears.
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job is in the failed store."""

    #: Qualified name of the exception's class.
    error: str
    #: The exception as text.
    message: str
    #: The formatted traceback; empty when there is none.
    traceback: str = ""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one lease."""

    kind: OutcomeKind
    lease: Lease
    #: Task of the job: the limit whose slot is freed, or the park it goes to.
    #: Empty when the record could not be read.
    task: str
    #: RETRY only: due this many ms from the broker's now; None when `at_ms` says it.
    delay_ms: int | None = None
    #: RETRY only: the instant it is due, in ms since 1970; the past means now.
    at_ms: int | None = None
    #: FAILED: why. RETRY: why this attempt failed, shortly and without a traceback, to be shown
    #: until the next one ends; None shows nothing.
    failure: Failure | None = None
    #: How long the store keeps the end of the job for those who ask for its result, in ms; None:
    #: not at all. After RETRY, RELEASE and PARK the job goes on, unless its cancel was asked for.
    keep_ms: int | None = None
    #: SUCCEEDED with a `keep_ms` only: what the function returned, encoded.
    result: bytes | None = None


def cut_failure(failure: Failure) -> Failure:
    """The failure with at most `MAX_ERROR_BYTES` of text, as failed stores keep it.

    Of the message the beginning is kept. Of the traceback it is the end, where the
    error was raised; it has half of the room to itself, since a long message tends to
    stand in it once more. Room that one of them does not need is the other's.

    Bytes are those of UTF-8 that lets lone surrogates pass, which occur in messages
    about undecodable input: cutting drops none from what is kept.

    Returns:
        The same object where nothing had to be cut.
    """
    error = _head(failure.error, MAX_ERROR_BYTES)
    room = MAX_ERROR_BYTES - _size(error)
    message = _head(failure.message, room - min(_size(failure.traceback), room // 2))
    traceback = _tail(failure.traceback, room - _size(message))
    if (error, message, traceback) == (failure.error, failure.message, failure.traceback):
        return failure
    return Failure(error=error, message=message, traceback=traceback)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(_encode(text))


def _head(text: str, limit: int) -> str:
    if _size(text) <= limit:
        return text
    data = _encode(text)
    while _inside_character(data, limit):
        limit -= 1
    return data[:limit].decode("utf-8", "surrogatepass")


def _tail(text: str, limit: int) -> str:
    if _size(text) <= limit:
        return text
    data = _encode(text)
    start = len(data) - limit
    while _inside_character(data, start):
        start += 1
    return data[start:].decode("utf-8", "surrogatepass")


def _inside_character(data: bytes, index: int) -> bool:
    """Whether a cut before this byte would split a character."""
    return index < len(data) and data[index] & 0xC0 == 0x80
