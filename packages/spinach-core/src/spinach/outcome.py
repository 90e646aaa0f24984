"""What became of a leased job, as a worker process tells the broker.

The record only; how a worker comes to it is in `spinach.worker`. Several of these are
made for each job, so they are msgspec structs: frozen like a frozen dataclass, and ten
times as fast to make.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec

__all__ = ["Failure", "Lease", "Outcome", "OutcomeKind"]


class Lease(msgspec.Struct, frozen=True, gc=False):
    """A job in the hands of a membership, until its outcome is answered.

    The broker makes it; the pair (stored_id, token) names it for ever, since a
    job that is leased again gets a new token.
    """

    #: The queue whose membership holds the job.
    queue: str
    #: The membership that fetched the job; outcomes go out under its name.
    member: str
    #: Kind character (`0` at most once, `1` may repeat) and the job's id.
    stored_id: str
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
        return self.stored_id[0] == "1"


class OutcomeKind(enum.Enum):
    """The ways a lease ends."""

    #: The job is done; it disappears.
    SUCCEEDED = "succeeded"
    #: The job ended in failure; it moves to the failed store.
    FAILED = "failed"
    #: The attempt failed and is spent; the job becomes due again.
    RETRY = "retry"
    #: Given back without having run; first in its queue, no attempt spent.
    RELEASE = "release"
    #: Nobody here knows the task or the record's version; put aside, no attempt spent.
    PARK = "park"


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
    #: FAILED only.
    failure: Failure | None = None
