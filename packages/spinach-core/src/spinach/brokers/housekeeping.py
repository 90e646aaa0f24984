"""Housekeeping: the role that moves due jobs, fires periodic tasks and recovers dead members.

Any member of a queue may make these calls, at any time; they carry no number.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping  # noqa: TC003 - fields are read at run time
from typing import TYPE_CHECKING

import msgspec

from spinach.brokers.role import Role
from spinach.brokers.verdict import TurnReply
from spinach.record.ids import StoredId  # noqa: TC001 - fields are read at run time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.storing import Deposit

__all__ = [
    "FireReply",
    "HousekeepingRole",
    "LostJob",
    "PeriodicDue",
    "RecoverReply",
    "TickReply",
]


class PeriodicDue(msgspec.Struct, frozen=True, kw_only=True):
    """A periodic task that is due."""

    task: str
    #: The tick's instant, in ms since 1970 on the store's clock.
    due_ms: int


class TickReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `tick`."""

    #: Declared tasks that are due now.
    due: tuple[PeriodicDue, ...] = ()
    #: Ms until a waiting job or a declared task is due next, those in `due`
    #: left out; 0 when more jobs are due than one call promotes. None: nothing.
    next_due_in_ms: float | None = None
    #: The same for declared tasks alone: what a process has to know that does not
    #: keep the time of the waiting jobs.
    next_periodic_in_ms: float | None = None


class FireReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `fire`: APPLIED, or REFUSED when another member was first."""

    #: Ms until the task is due next; None when the store does not know it.
    next_due_in_ms: float | None = None


class LostJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that recovery put into the failed store."""

    stored_id: StoredId
    record: bytes
    retries: int
    losses: int


class RecoverReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `recover`; of several calls for one member each tells its own part."""

    #: What the dead member brought along when it joined (`Enrolment.info`); empty when that
    #: is not known any more.
    info: Mapping[str, str] = {}
    #: Jobs that were put back to the front of the queue, since they had not begun.
    ready: int = 0
    #: Jobs that run again after a delay.
    retrying: int = 0
    #: Jobs that are gone, since their cancel was asked for.
    cancelled: int = 0
    #: Jobs that are failed now, with `WorkerLost` as the reason.
    lost: tuple[LostJob, ...] = ()
    #: The dead member has more leases; call again.
    more: bool = False


class HousekeepingRole(Role):
    """Keeps a queue in order."""

    @abstractmethod
    def tick(self, queue: str, periodic: Sequence[str]) -> TickReply:
        """Make due jobs ready, a bounded number, in the order of their instants.

        Args:
            queue: where to look.
            periodic: tasks of this queue that the caller declares; the reply says
                which of them are due.
        """

    @abstractmethod
    def fire(self, queue: str, task: str, due_ms: int, deposit: Deposit) -> FireReply:
        """Enqueue the job of one periodic tick, unless another member has (I15).

        Applies only while the task is due at exactly `due_ms`, and moves it to
        the first instant on the same grid that is after now.
        """

    @abstractmethod
    def recover(self, queue: str, dead: str) -> RecoverReply:
        """Take back a bounded number of leases of a member whose lease is over (I11).

        A direct lease spends an attempt and counts a loss, a buffered one marks
        the job direct-only. A job that runs at most once, that has no retries left,
        or that lost its worker for the third time goes to the failed store (I12), and one
        whose cancel was asked for is gone (I22). The others become due after a random delay.
        The reply tells which member died and how many jobs went where. Answers REFUSED when
        the member is alive or unknown, or while no member may be declared dead.
        """
