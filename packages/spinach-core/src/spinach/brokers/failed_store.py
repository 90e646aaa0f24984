"""The failed store: the role of looking at failed jobs, running them again, forgetting them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import msgspec

from spinach.brokers.role import Role
from spinach.outcome import Failure  # noqa: TC001 - fields are read at run time
from spinach.record.header import UnreadableRecord, read_header
from spinach.record.ids import StoredId  # noqa: TC001 - fields are read at run time

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Cursor",
    "FailedFilter",
    "FailedJob",
    "FailedPortion",
    "FailedStoreRole",
    "PortionReply",
]


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


class FailedFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which failed jobs are meant: those that all of this is true of. None asks for nothing."""

    task: str | None = None
    #: Qualified name of the exception's class, as `Failure.error` has it.
    error: str | None = None
    #: Failed at this instant or later, in ms since 1970 on the store's clock.
    since_ms: int | None = None

    def admits(self, job: FailedJob) -> bool:
        """Whether a job is one of them. A record that cannot be read is of no task."""
        if self.since_ms is not None and job.failed_at_ms < self.since_ms:
            return False
        if self.error is not None and job.failure.error != self.error:
            return False
        if self.task is None:
            return True
        try:
            return read_header(job.record).task == self.task
        except UnreadableRecord:
            return False


class FailedPortion(msgspec.Struct, frozen=True, kw_only=True):
    """One of several calls that take failed jobs out, from the oldest to the newest.

    `until` stays the same in all of them. So a job that runs again and fails meanwhile stands
    behind it, and is not taken a second time.
    """

    matching: FailedFilter
    #: The newest place that counts.
    until: Cursor
    #: Begin behind this place, whether a job stands there or not; None begins with the oldest.
    after: Cursor | None = None


class PortionReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a portion took out."""

    #: How many jobs.
    count: int
    #: Where the next portion begins; None: there is nothing left up to `until`.
    after: Cursor | None


class FailedStoreRole(Role):
    """Keeps the jobs that ended in failure, for people to look at.

    What a queue keeps is said by the `failed_retention` of the worker process that joined it
    last; before the first one has, it is `FailedRetention()`. For these calls what is too old
    is there no more, whether it was removed or not.
    """

    @abstractmethod
    def failed_jobs(
        self,
        queue: str,
        *,
        offset: int = 0,
        limit: int = 100,
        after: Cursor | None = None,
        matching: FailedFilter | None = None,
    ) -> list[FailedJob]:
        """Failed jobs of a queue, the newest first: in the falling order of their cursors.

        Args:
            queue: to look into.
            offset: how many to pass over, of those that match.
            limit: how many to return; fewer only where there are no more.
            after: begin behind this place, whether a job stands there or not; None
                begins with the newest.
            matching: which ones; None: all. To find them a broker looks at `FAILED_CHUNK` jobs at
                a time, and lets other calls pass in between.

        Raises:
            BrokerError: see `enqueue`.
        """

    @abstractmethod
    def find_failed(self, queues: Sequence[str], stored_ids: Sequence[str]) -> list[FailedJob]:
        """Failed jobs by their ids; it costs the same however many others there are.

        Args:
            queues: to look into.
            stored_ids: of a few jobs, each of them perhaps in any of the queues.

        Returns:
            Those that are in the failed store of a queue; queue by queue.

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

    @abstractmethod
    def retry_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        """Make a portion of the failed jobs ready again, as `retry_failed` does.

        It looks at `FAILED_CHUNK` jobs at most, and at `MAX_FETCH_BYTES` of records and reasons;
        one larger job is a portion of its own. It is applied once, whole or not at all.

        Raises:
            BrokerError: see `enqueue`. Whether the portion was applied is unknown then. It may
                be asked for again, and finds what is left of it.
        """

    @abstractmethod
    def discard_matching(self, queue: str, portion: FailedPortion) -> PortionReply:
        """Forget a portion of the failed jobs; bounded as `retry_matching` is.

        Raises:
            BrokerError: see `retry_matching`.
        """
