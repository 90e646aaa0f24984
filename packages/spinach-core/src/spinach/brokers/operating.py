"""Operating: the role of operators, who look at queues, workers, limits and periodic tasks, and
steer them.

What is set here is kept by the store: it holds for all processes, and until it is taken back.
All methods raise `BrokerError` where the store could not do it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping  # noqa: TC003 - fields are read at run time
from typing import Literal, TypeAlias

import msgspec

from spinach.brokers.role import Role
from spinach.record.ids import StoredId  # noqa: TC001 - fields are read at run time

__all__ = [
    "FlowSample",
    "LimitState",
    "MemberLease",
    "MemberState",
    "OperatingRole",
    "PeriodicState",
    "PurgeReply",
    "QueueMembers",
    "QueueSurvey",
]

#: The jobs that a purge takes: those that are ready, held or parked; those that wait for their
#: instant; those in the failed store.
Purgeable: TypeAlias = Literal["queued", "waiting", "failed"]


class FlowSample(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs had come into a queue, and how many had ended, at an instant.

    Joins and beats take one where the last one is of an earlier span: see `FINE_SAMPLE_MS` and
    its neighbours in `spinach.const`. Only differences of two samples mean something.
    """

    #: In ms since 1970 on the store's clock.
    at_ms: int
    #: Jobs that were enqueued, or run again out of the failed store.
    came: int
    #: Those of them that are over or failed.
    ended: int


class QueueSurvey(msgspec.Struct, frozen=True, kw_only=True):
    """What the counts do not tell of a queue."""

    queue: str
    #: The store's clock, in ms since 1970.
    now_ms: int
    #: An operator has paused it: nothing is handed out.
    paused: bool = False
    #: Record of the ready job that is first in line; None without any.
    first_ready: bytes | None = None
    #: As in a `FlowSample`, now.
    came: int = 0
    ended: int = 0
    #: In any order.
    samples: tuple[FlowSample, ...] = ()


class PurgeReply(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `purge`."""

    #: Jobs that were forgotten.
    removed: int
    #: There are others of that status.
    more: bool


class MemberLease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease of a member."""

    stored_id: StoredId
    #: None where the record cannot be read, or was not, since there are too many.
    task: str | None
    #: Attempts spent before.
    retries: int
    #: It was given for an idle thread; else the job waits in the buffer of the process, or did.
    direct: bool
    #: When it was given, in ms since 1970 on the store's clock; None where the store does not know.
    leased_ms: int | None


class MemberState(msgspec.Struct, frozen=True, kw_only=True):
    """A membership, as the store knows it."""

    member: str
    #: What the process said of itself; see `Enrolment.info`.
    info: Mapping[str, str]
    #: Its last proof of life, in ms since 1970 on the store's clock.
    seen_ms: int
    #: False: its lease is over, and its jobs are being taken back, or will be.
    alive: bool
    #: How many leases it has, and a bounded number of them: those for idle threads first.
    lease_count: int
    leases: tuple[MemberLease, ...] = ()


class QueueMembers(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `members`."""

    #: The store's clock, in ms since 1970.
    now_ms: int
    members: tuple[MemberState, ...] = ()


class LimitState(msgspec.Struct, frozen=True, kw_only=True):
    """A limited task of a queue (I10)."""

    task: str
    #: What an operator set; None leaves it to the members.
    override: int | None
    #: The lowest limit that a member declares; None without any.
    declared: int | None
    #: How many members declare one.
    members: int
    #: Slots that are occupied, and the stored ids of a bounded number of the jobs in them.
    taken: int
    holders: tuple[StoredId, ...]
    #: Jobs that found no slot.
    held: int

    @property
    def limit(self) -> int | None:
        """The limit in force; None: there is none any more."""
        return self.declared if self.override is None else self.override


class PeriodicState(msgspec.Struct, frozen=True, kw_only=True):
    """A periodic task of a queue (I15)."""

    task: str
    interval_ms: int
    #: When it is due, in ms since 1970 on the store's clock; of one that is paused, when it
    #: would be.
    due_ms: int
    paused: bool


class OperatingRole(Role):
    """Shows queues in detail, and steers them."""

    @abstractmethod
    def survey(self, queue: str) -> QueueSurvey:
        """Whether a queue is paused, its first ready job, and how many jobs came and ended.

        Costs the same however long the queue is.
        """

    @abstractmethod
    def set_paused(self, queue: str, *, paused: bool) -> bool:
        """Pause a queue, or let it go on; puts it on the list of queues.

        Nothing is handed out of a queue that is paused, parks included: a fetch answers `paused`.
        What is leased runs on and is reported, due jobs become ready, periodic tasks are fired,
        and new jobs are taken. Where it goes on, a process that waits is woken as by a new job
        (I14).

        Returns:
            Whether it was not so before.
        """

    @abstractmethod
    def purge(self, queue: str, status: Purgeable, limit: int) -> PurgeReply:
        """Forget jobs of one status, up to `limit`, the first in line first.

        Atomic: a job is forgotten whole, or left where it was. Leased jobs are not touched.
        """

    @abstractmethod
    def members(self, queue: str) -> QueueMembers:
        """The members of a queue, those that are dead and not recovered included."""

    @abstractmethod
    def set_limit(self, queue: str, task: str, limit: int | None) -> None:
        """Set the limit in force of a task, in the place of what members declare (I10).

        It takes effect as that of a member does: jobs that are leased already occupy slots, held
        ones come to the front where slots are free, a lower limit waits for jobs to end.

        Args:
            queue: of the task.
            task: its name; no member has to know it.
            limit: at least 1; None leaves it to what members declare.
        """

    @abstractmethod
    def limits(self, queue: str) -> list[LimitState]:
        """The limited tasks of a queue, in any order."""

    @abstractmethod
    def periodic_tasks(self, queue: str) -> list[PeriodicState]:
        """The periodic tasks of a queue that a member declared, in any order."""

    @abstractmethod
    def set_periodic_paused(self, queue: str, task: str, *, paused: bool) -> bool | None:
        """Pause a periodic task, or let it go on with the next instant of its grid (I15).

        While it is paused `tick` does not name it as due and `fire` answers REFUSED; both tell
        its instants all the same, so that its members look again. What would have been due
        meanwhile is left out. Members that join or declare it anew change nothing of it.

        Returns:
            Whether it was not so before; None: no member declared such a task.
        """
