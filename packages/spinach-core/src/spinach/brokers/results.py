"""Results: the role that keeps how a job ended, for those who scheduled it and ask.

Only jobs whose outcome has a `keep_ms` leave anything here, and those that end without an outcome
of their own, whose record has the flag `r`.
"""

from __future__ import annotations

import enum
from abc import abstractmethod
from typing import TYPE_CHECKING

import msgspec

from spinach.brokers.role import Role
from spinach.outcome import Failure  # noqa: TC001 - fields are read at run time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.record.ids import StoredId

__all__ = ["Ending", "JobEnd", "ResultsRole"]


class Ending(enum.Enum):
    """How a job ended, as far as its result tells."""

    #: It returned.
    SUCCEEDED = "succeeded"
    #: It is, or was, in the failed store.
    FAILED = "failed"
    #: It was cancelled.
    CANCELLED = "cancelled"
    #: It expired before an attempt began.
    EXPIRED = "expired"
    #: It has not ended.
    PENDING = "pending"
    #: The store knows nothing of it: what was kept is gone, or nothing was ever kept.
    ABSENT = "absent"


class JobEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says of the end of a job."""

    ending: Ending
    #: SUCCEEDED only: what the function returned, byte for byte as the outcome had it.
    result: bytes | None = None
    #: FAILED only.
    failure: Failure | None = None


class ResultsRole(Role):
    """Keeps how jobs ended, for as long as each of them asked for.

    The end of a job is kept by the same step that ends the job: it is there, or the job has not
    ended. A job that is retried from the failed store has not ended any more. What is kept passes
    on a full store, too.
    """

    @abstractmethod
    def job_ends(self, queue: str, stored_ids: Sequence[StoredId]) -> list[JobEnd]:
        """How jobs of a queue ended, without a wait.

        Args:
            queue: of the jobs.
            stored_ids: of the jobs; any number.

        Returns:
            For each id, in order.

        Raises:
            BrokerError: see `enqueue`.
        """

    @abstractmethod
    def await_end(self, queue: str, stored_id: StoredId, wait_seconds: float) -> JobEnd:
        """Wait for the end of a job.

        It returns at once where the job ended, or is not known. Any number of callers may wait
        for one job, in any process, and all of them get its end. While it waits it makes one call
        after the other, seconds apart, so that it hears of a job that ended in a way that wakes
        nobody. An exception that breaks off the wait, such as KeyboardInterrupt, leaves nothing
        behind.

        Args:
            queue: of the job.
            stored_id: of the job.
            wait_seconds: longest wait; 0 looks once, infinity waits without an end.

        Returns:
            The end of the job; PENDING where it did not end in that time.

        Raises:
            BrokerError: see `enqueue`. A store that does not answer is asked again for as long as
                any call of a client.
        """
