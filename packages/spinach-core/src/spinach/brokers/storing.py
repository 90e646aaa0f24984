"""Storing jobs: the role that producers call."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import msgspec

from spinach.brokers.role import Role
from spinach.record.ids import StoredId  # noqa: TC001 - fields are read at run time

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Deposit", "StoringRole"]


class Deposit(msgspec.Struct, frozen=True, gc=False):
    """A job to store."""

    queue: str
    #: Kind character (`0` at most once, `1` may repeat) and the job's id.
    stored_id: StoredId
    #: Opaque but for its first line; see `spinach.record`.
    record: bytes
    #: Instant it becomes ready, in ms since 1970; None is now.
    due_ms: int | None = None


class StoringRole(Role):
    """Takes new jobs."""

    @abstractmethod
    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        """Store jobs, each exactly once (I2).

        Jobs of one queue become ready in the order given. The order between
        queues, and atomicity beyond one chunk of one queue, are not promised. A
        job whose instant is not after the store's now is ready at once.

        Args:
            deposits: may span queues; empty does nothing.

        Returns:
            For each deposit whether it is ready (True) or waits for its instant.

        Raises:
            BrokerUnavailable: nothing is unknown: each job was stored, or not sent.
            BrokerFull: the store refused some because its memory is full.
            ScheduleUncertain: the fate of some is unknown.
                Each carries the ids as stored, unknown and not sent.
        """
