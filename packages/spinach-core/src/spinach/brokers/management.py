"""Management: the role of looking at queues and steering them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping  # noqa: TC003 - fields are read at run time
from typing import TYPE_CHECKING

from spinach.brokers.role import Role
from spinach.brokers.verdict import TurnReply

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ManagementRole", "QueueCounts"]


class QueueCounts(TurnReply, frozen=True, kw_only=True):
    """How many jobs a queue holds in each place."""

    queue: str
    #: Ready to be taken.
    ready: int = 0
    #: Held until a slot of their task is free.
    held: int = 0
    #: Leased to memberships that are alive, and to ones that are not.
    leased: int = 0
    leased_by_dead: int = 0
    #: Waiting for their first instant, and for a retry.
    future: int = 0
    retrying: int = 0
    #: Parked because no process that asked knew the task.
    parked: int = 0
    #: The same by task; a record that could not be read counts under the name of its park.
    #: Tasks without any are left out.
    parks: Mapping[str, int] = {}
    failed: int = 0
    #: Live memberships.
    members: int = 0
    #: Jobs ever enqueued; grows only.
    enqueued: int = 0
    #: Ms until the first waiting job or periodic task that a live member declares
    #: is due, rounded up; negative or 0 when it is overdue; None when nothing waits.
    next_due_in_ms: int | None = None

    @property
    def unfinished(self) -> int:
        """Jobs that workers still have to do before the queue counts as empty."""
        return self.ready + self.held + self.leased + self.leased_by_dead + self.retrying


class ManagementRole(Role):
    """Tells which queues there are and what they hold."""

    @abstractmethod
    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        """How many jobs each queue holds in each place.

        One atomic snapshot where the store can give one; otherwise the
        `enqueued` counters tell whether anything came in between.
        """

    @abstractmethod
    def queues(self) -> list[str]:
        """The queues of the namespace: those that took a job or a member once, in any order.

        Raises:
            BrokerError: see `enqueue`.
        """
