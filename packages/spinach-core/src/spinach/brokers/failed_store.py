"""The failed store: the role of looking at failed jobs, running them again, forgetting them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import msgspec

from spinach.brokers.role import Role
from spinach.outcome import Failure  # noqa: TC001 - fields are read at run time
from spinach.record.ids import StoredId  # noqa: TC001 - fields are read at run time

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cursor", "FailedJob", "FailedStoreRole"]


class Cursor(msgspec.Struct, frozen=True, order=True):
    """Where a job stands among those that are ordered by an instant.

    Compares as the jobs stand, also across queues, and tells the place of a job that is there
    no longer.
    """

    at_ms: int
    #: Among the jobs of one ms.
    order: int
    #: Decides where nothing else does.
    stored_id: str


class FailedJob(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the failed store."""

    stored_id: StoredId
    record: bytes
    retries: int
    losses: int
    #: When it failed, in ms since 1970 on the store's clock.
    failed_at_ms: int
    #: Grows with the failures of one ms, as far as the store tells them apart.
    order: int = 0
    failure: Failure

    @property
    def cursor(self) -> Cursor:
        """Where it stands in the failed store."""
        return Cursor(self.failed_at_ms, self.order, self.stored_id)


class FailedStoreRole(Role):
    """Keeps the jobs that ended in failure, for people to look at."""

    @abstractmethod
    def failed_jobs(
        self, queue: str, *, offset: int = 0, limit: int = 100, after: Cursor | None = None
    ) -> list[FailedJob]:
        """Failed jobs of a queue, the newest first: in the falling order of their cursors.

        Args:
            queue: to look into.
            offset: how many to pass over.
            limit: how many to return.
            after: begin behind this place, whether a job stands there or not; None
                begins with the newest.

        Raises:
            BrokerError: see `enqueue`.
        """

    @abstractmethod
    def retry_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        """Make failed jobs ready again, with all their retries before them.

        An at-most-once job is run again because a person asked for it.

        Returns:
            How many of the ids were in the failed store.

        Raises:
            BrokerError: see `enqueue`.
        """

    @abstractmethod
    def discard_failed(self, queue: str, stored_ids: Sequence[str]) -> int:
        """Forget failed jobs.

        Returns:
            How many of the ids were in the failed store.

        Raises:
            BrokerError: see `enqueue`.
        """
