"""Jobs: the role of looking for a job, and of taking it back."""

from __future__ import annotations

import enum
import threading
from abc import abstractmethod
from collections.abc import Mapping  # noqa: TC003 - fields are read at run time
from typing import TYPE_CHECKING, Final

import msgspec

from spinach.brokers.role import Role
from spinach.outcome import Failure  # noqa: TC001 - fields are read at run time
from spinach.progress import Progress  # noqa: TC001 - fields are read at run time
from spinach.record.ids import StoredId  # noqa: TC001 - fields are read at run time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = [
    "CancelReply",
    "CancelVerdict",
    "FoundJob",
    "FoundPage",
    "JobsRole",
    "Place",
]

#: Pauses between two looks of a wait, in seconds: the first, and the longest.
_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 1.0


class Place(enum.Enum):
    """Where in its queue a job is; docs/design/states.md has a table of them."""

    #: Can be taken; first in, first out.
    READY = "ready"
    #: Waits for a slot of its task.
    HELD = "held"
    #: Waits for a process that knows its task.
    PARKED = "parked"
    #: In the hands of a worker process.
    LEASED = "leased"
    #: Waits for its instant, the first one or that of a retry.
    FUTURE = "future"
    #: In the failed store.
    FAILED = "failed"


class CancelVerdict(enum.Enum):
    """What a cancel came to."""

    #: The job was in no worker's hands: it is gone, and will not start any more.
    CANCELLED = "cancelled"
    #: A worker process has it. It hears of the cancel with its next beat at the latest.
    REQUESTED = "requested"
    #: The job was over before.
    FINISHED = "finished"
    #: The store has no such job: it is over, or there never was one.
    UNKNOWN = "unknown"


class FoundJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job, and where it is."""

    queue: str
    stored_id: StoredId
    record: bytes
    place: Place
    #: Attempts that were spent.
    retries: int = 0
    #: Worker processes that were lost while they ran it.
    losses: int = 0
    #: Jobs that come before it in its place; None where that was not looked at, and in the
    #: hands of a worker or in the failed store.
    ahead: int | None = None
    #: Whether `ahead` is the number. Otherwise it is the least that it can be.
    ahead_exact: bool = True
    #: HELD: the task whose slots are taken. PARKED: the name of the park.
    lane: str = ""
    #: FUTURE: when it becomes ready, in ms since 1970 on the store's clock.
    due_ms: int | None = None
    #: LEASED: the membership that has it, and what that brought along when it joined
    #: (`Enrolment.info`).
    member: str = ""
    info: Mapping[str, str] = {}
    #: LEASED: since when, in ms since 1970 on the store's clock; None where the store does
    #: not know.
    leased_ms: int | None = None
    #: LEASED: whether it was given to an idle thread. Otherwise it may still wait in the buffer
    #: of the process.
    direct: bool = True
    #: LEASED: its cancel was asked for.
    cancel_requested: bool = False
    #: LEASED: as the last beat that carried some had it.
    progress: Progress | None = None
    #: FAILED: when, in ms since 1970 on the store's clock.
    failed_ms: int | None = None
    #: Why the last attempt failed; None where none did, or the store does not keep it.
    failure: Failure | None = None


class FoundPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the jobs of a queue."""

    jobs: tuple[FoundJob, ...]
    #: To go on with; None: there are no further ones. A broker makes it for itself alone.
    cursor: str | None


class CancelReply(msgspec.Struct, frozen=True, kw_only=True):
    """What the cancel of one job came to."""

    verdict: CancelVerdict
    #: CANCELLED only: the record of the job, and the attempts that were spent.
    record: bytes = b""
    retries: int = 0


class JobsRole(Role):
    """Tells where jobs are, and takes them back."""

    @abstractmethod
    def find_jobs(self, queues: Sequence[str], stored_ids: Sequence[str]) -> list[FoundJob]:
        """Look for jobs in some queues.

        What it costs does not depend on how many jobs the queues hold. So `ahead` of a ready
        job that stands far behind is not exact.

        Args:
            queues: to look into; one without jobs is fine.
            stored_ids: of the jobs.

        Returns:
            Those that are there, in the order of the queues, then of the ids.

        Raises:
            BrokerError: see `enqueue`.
        """

    @abstractmethod
    def list_jobs(
        self,
        queue: str,
        *,
        places: Collection[Place] = (),
        task: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> FoundPage:
        """A page of the jobs of a queue.

        A job that is there from the first page to the last is on one of them, wherever it moves
        meanwhile, as long as it stays in the places that were asked for. One call looks at a
        bounded number of jobs. So a page may be shorter than `limit`, even empty, although others
        follow. FUTURE and FAILED alone are in the order of their instants, LEASED alone in that of
        the fetches; otherwise the order is the store's own.

        Args:
            queue: to look into.
            places: where the jobs are; empty: anywhere.
            task: of the jobs; None: any.
            cursor: of the page before, with the same arguments; None begins.
            limit: how many to return at most.

        Raises:
            InvalidArgument: a cursor that this broker did not make.
            BrokerError: see `enqueue`.
        """

    def watch(
        self,
        stored_ids: Sequence[str],  # noqa: ARG002 - for those who override it
        over: Callable[[], bool],
        wait_seconds: float,
    ) -> bool:
        """Look again and again whether jobs are over, after pauses that grow to a second.

        No store has to know of it. A broker of tests, whose time stands still, has a way of its
        own.

        Args:
            stored_ids: of the jobs.
            over: looks; True ends the wait.
            wait_seconds: longest wait, on the broker's clock; 0 looks once, infinity waits
                without an end.

        Returns:
            Whether they are over.
        """
        end = self.clock.monotonic() + wait_seconds
        pause = _FIRST_PAUSE_SECONDS
        nobody = threading.Condition()
        while not over():
            remaining = end - self.clock.monotonic()
            if remaining <= 0:
                return False
            with nobody:
                self.clock.wait(nobody, min(pause, remaining))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return True

    @abstractmethod
    def cancel_jobs(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        """Take jobs back.

        A job in the hands of no worker is gone at once, and is not handed out any more (I22).
        Where a worker has it, the cancel is noted: each beat of that member names the lease, and
        a job that would go back to the queue ends as cancelled instead. A job in the failed store
        stays there: FINISHED.

        Args:
            queue: where to look.
            stored_ids: of the jobs; one that is named twice is answered twice.

        Returns:
            For each id a reply, in order.

        Raises:
            BrokerError: see `enqueue`; it may be unknown which were cancelled.
        """
