"""What stands in a queue of the model: jobs, leases of them, and members."""

from __future__ import annotations

import json
from dataclasses import dataclass

from spinach.brokers.calls import Cursor, Enrolment
from spinach.outcome import Failure, OutcomeKind
from spinach.record.header import read_header
from spinach.record.options import keep_ms_of

__all__ = ["End", "Failed", "Job", "Leased", "Member", "take_out"]


@dataclass(kw_only=True, eq=False)
class Job:
    """One accepted job."""

    stored_id: str
    record: bytes
    retries: int = 0
    losses: int = 0
    direct_only: bool = False
    #: Order among those that stood at the head of the queue and found no slot; 0: never.
    turn: int = 0

    @property
    def once(self) -> bool:
        return self.stored_id[0] == "0"

    @property
    def task(self) -> str:
        return read_header(self.record).task

    @property
    def max_retries(self) -> int:
        return read_header(self.record).max_retries

    @property
    def keep_ms(self) -> int | None:
        """For how long its end is kept; None: it is not."""
        return keep_ms_of(self.record)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A job in the failed store."""

    at_ms: int
    #: Among those of this ms.
    order: int
    job: Job
    failure: Failure

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.at_ms, self.order, self.job.stored_id)

    @property
    def size(self) -> int:
        """What it counts for, in bytes."""
        reason = [self.failure.error, self.failure.message, self.failure.traceback]
        return len(self.job.record) + len(json.dumps(reason))


@dataclass(frozen=True, kw_only=True)
class End:
    """An outcome that a process reports; `serial` stands for its lease."""

    kind: OutcomeKind
    serial: int
    #: RETRY only.
    due_ms: int = 0
    #: FAILED only.
    failure: Failure | None = None
    #: SUCCEEDED only, if it is to be kept.
    result: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Leased:
    """A lease; `serial` stands for its token."""

    serial: int
    member: str
    job: Job
    direct: bool


@dataclass(kw_only=True, eq=False)
class Member:
    """A membership."""

    enrolment: Enrolment
    ends_ms: int
    #: Last number used; None once its recovery began.
    number: int | None = 0
    claimed_until_ms: int = 0


def take_out(failed: list[Failed], stored_ids: list[str]) -> list[Job]:
    """Take these jobs out of those that failed, in this order, and return them."""
    found = []
    for stored_id in stored_ids:
        for entry in failed:
            if entry.job.stored_id == stored_id:
                failed.remove(entry)
                found.append(entry.job)
                break
    return found
