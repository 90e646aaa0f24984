"""What stands in a queue of the model: jobs, leases of them, and members."""

from __future__ import annotations

from dataclasses import dataclass

from spinach.brokers.calls import Enrolment
from spinach.record.header import read_header

__all__ = ["Job", "Leased", "Member", "take_out"]


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


def take_out(failed: list[tuple[int, Job]], stored_ids: list[str]) -> list[Job]:
    """Take these jobs out of those that failed, in this order, and return them."""
    found = []
    for stored_id in stored_ids:
        for entry in failed:
            if entry[1].stored_id == stored_id:
                failed.remove(entry)
                found.append(entry[1])
                break
    return found
