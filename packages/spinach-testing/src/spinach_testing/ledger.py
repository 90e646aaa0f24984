"""The state of each job of a test, taken from the calls of the broker and their answers.

It depends on the broker's contract only, so it is the same for every broker. It does not see what
another process on the same store does to a job.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spinach.brokers.calls import CancelVerdict, Verdict
from spinach.job import Job, JobStatus, job_from_record
from spinach.outcome import OutcomeKind
from spinach.record.header import UnreadableRecord, read_header
from spinach.record.options import read_options
from spinach.record.payload import decode_payload

from .awaited import AwaitedJobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from spinach.brokers.calls import CancelReply, Deposit, LostJob
    from spinach.current import Attempt
    from spinach.outcome import Lease, Outcome
    from spinach.progress import Progress
    from spinach.record.ids import StoredId

__all__ = ["Entry", "Ledger"]

#: Outcomes after which a job would be handed out once more.
_BACK_TO_THE_QUEUE = (OutcomeKind.RETRY, OutcomeKind.RELEASE, OutcomeKind.PARK)


@dataclass(slots=True)
class Entry:
    """One job; changes as the job does, under the ledger's lock."""

    stored_id: StoredId
    record: bytes
    status: JobStatus
    #: When it is due, in ms since 1970; None: now, or it is not waiting.
    due_ms: int | None = None
    #: It waits for an instant that only the store knows.
    due_unknown: bool = False
    #: Attempts spent.
    retries: int = 0
    #: Parked, because no worker that fetched it knew its task.
    parked: bool = False
    #: Under which it runs.
    lease: Lease | None = None
    #: Its cancel was asked for while a worker had it.
    cancel_requested: bool = False
    #: What the last failed attempt raised, or why it was cancelled where no call names the job.
    error: str = ""
    #: The last attempt that began here, which may be over.
    attempt: Attempt | None = None
    #: Its place in the order they were scheduled; never given again, from 0.
    number: int = 0
    #: A periodic task's own, made when its time came.
    fired: bool = False
    #: Of the engine that it was scheduled with.
    namespace: str = ""

    def job(self) -> Job:
        """A snapshot.

        Raises:
            spinach.record.header.UnreadableRecord: written by a newer release, or damaged.
        """
        return job_from_record(
            self.stored_id,
            self.record,
            retries=self.retries,
            status=self.status,
            namespace=self.namespace,
        )

    @property
    def task(self) -> str:
        """Name of its task; `?` when the record cannot be read."""
        try:
            return read_header(self.record).task
        except UnreadableRecord:
            return "?"

    @property
    def in_line(self) -> bool:
        """Whether it is in the store, and no worker has it."""
        return self.status in (JobStatus.QUEUED, JobStatus.WAITING)

    @property
    def queue(self) -> str:
        """Name of its queue; `?` when the record cannot be read."""
        try:
            return read_header(self.record).queue
        except UnreadableRecord:
            return "?"

    @property
    def progress(self) -> Progress | None:
        """What its last attempt said last of its progress; None: nothing."""
        return None if self.attempt is None else self.attempt.progress

    @property
    def expires_ms(self) -> int | None:
        """The instant from which on it is not started, in ms since 1970.

        None: it never expires, or its record cannot be read.
        """
        try:
            if not read_header(self.record).flags:
                return None
            return read_options(self.record).expires_ms
        except UnreadableRecord:
            return None

    @property
    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments as a worker gets them.

        Raises:
            spinach.record.header.UnreadableRecord: see `job`.
        """
        args, kwargs, _ = decode_payload(self.record)
        return args, kwargs


class Ledger:
    """The jobs of one test in the order they were scheduled; thread safe.

    Args:
        namespace: of the engine that they are scheduled with.
    """

    def __init__(self, namespace: str = "") -> None:
        self._namespace = namespace
        #: Threads that wait for the end of jobs.
        self.awaited = AwaitedJobs()
        self._lock = threading.Lock()  # guards the entries, what is in them, and the numbers
        self._entries: dict[str, Entry] = {}
        self._next_number = 0
        self._calls = 0

    @property
    def next_number(self) -> int:
        """The number that the next job gets."""
        with self._lock:
            return self._next_number

    def entries(self) -> list[Entry]:
        """All jobs, the first first."""
        with self._lock:
            return list(self._entries.values())

    def find(self, job: Job) -> Entry | None:
        """The entry of a job, whatever snapshot of it is given."""
        with self._lock:
            for kind in "01":
                entry = self._entries.get(f"{kind}{job.id_text}")
                if entry is not None:
                    return entry
            return None

    def held_by(self, member: str) -> int:
        """How many jobs a member of a queue holds."""
        with self._lock:
            return len(self._of(member))

    # -- calls that change the store -------------------------------------------

    @property
    def up_to_date(self) -> bool:
        """Whether everything is recorded here that the store has done.

        A store has no more work as soon as it has carried out a report, but its answer is
        recorded here a moment later. So ask this after the store, and both again if it is False.
        """
        with self._lock:
            return self._calls == 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call, from before it is made until its answer is recorded."""
        with self._lock:
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1

    # -- what the broker was told, and answered --------------------------------

    def announce(self, deposits: Sequence[Deposit], *, fired: bool = False) -> list[Deposit]:
        """Record jobs before the broker gets them: a worker may be faster than its answer.

        Args:
            deposits: what it is given.
            fired: runs of a periodic task, made by the clock.

        Returns:
            Those that are new here.
        """
        with self._lock:
            new = [each for each in deposits if each.stored_id not in self._entries]
            for each in new:
                entry = self._add(each.stored_id, each.record, JobStatus.NOT_SET)
                entry.due_ms, entry.fired = each.due_ms, fired
            return new

    def stored(self, deposits: Sequence[Deposit], ready: Sequence[bool]) -> None:
        """The broker has them, ready or waiting."""
        with self._lock:
            for deposit, is_ready in zip(deposits, ready, strict=True):
                entry = self._entries[deposit.stored_id]
                if entry.status is JobStatus.NOT_SET:
                    entry.status = JobStatus.QUEUED if is_ready else JobStatus.WAITING
                    entry.due_ms = None if is_ready else deposit.due_ms

    def withdraw(self, deposits: Iterable[Deposit]) -> None:
        """The broker does not have them."""
        with self._lock:
            for deposit in deposits:
                self._entries.pop(deposit.stored_id, None)

    def leased(self, leases: Iterable[Lease]) -> None:
        """A worker process holds them."""
        with self._lock:
            for lease in leases:
                entry = self._entries.get(lease.stored_id)
                if entry is None:  # scheduled before the recording began
                    entry = self._add(lease.stored_id, lease.record, JobStatus.RUNNING)
                entry.status, entry.lease, entry.retries = JobStatus.RUNNING, lease, lease.retries
                entry.due_ms, entry.due_unknown, entry.parked = None, False, False

    def reported(
        self, outcomes: Sequence[Outcome], verdicts: Sequence[Verdict], now_ms: int
    ) -> None:
        """Outcomes that the broker applied count, the others do not."""
        with self._lock:
            for outcome, verdict in zip(outcomes, verdicts, strict=True):
                entry = self._entries.get(outcome.lease.stored_id)
                if verdict is Verdict.APPLIED and entry is not None:
                    entry.lease = None
                    if entry.cancel_requested:
                        # What would go back to the queue ends in the store.
                        entry.cancel_requested = False
                        if outcome.kind in _BACK_TO_THE_QUEUE:
                            entry.status = JobStatus.CANCELLED
                            continue
                    _apply(entry, outcome, now_ms)

    def recovered(self, member: str, lost: Iterable[LostJob], *, more: bool = False) -> None:
        """A dead member's jobs were taken back: some for the failed store, the rest to run.

        Args:
            member: the dead one.
            lost: those for the failed store.
            more: it has further jobs, which another call will take back.
        """
        with self._lock:
            for each in lost:
                entry = self._entries.get(each.stored_id)
                if entry is None:  # another process scheduled it
                    entry = self._add(each.stored_id, each.record, JobStatus.FAILED)
                entry.status, entry.error, entry.lease = JobStatus.FAILED, "WorkerLost", None
                entry.retries = each.retries
            if more:
                return
            for entry in self._of(member):
                direct = entry.lease is not None and entry.lease.direct
                entry.lease = None
                if entry.cancel_requested:
                    entry.status, entry.cancel_requested = JobStatus.CANCELLED, False
                elif direct:
                    entry.status, entry.due_unknown = JobStatus.WAITING, True
                    entry.retries += 1
                else:
                    entry.status = JobStatus.QUEUED

    def cancelled(self, stored_ids: Iterable[str], replies: Iterable[CancelReply]) -> None:
        """They were taken back, or their workers are to hear of it."""
        with self._lock:
            for stored_id, reply in zip(stored_ids, replies, strict=True):
                entry = self._entries.get(stored_id)
                if entry is None:
                    continue
                if reply.verdict is CancelVerdict.CANCELLED:
                    entry.status, entry.parked, entry.retries = (
                        JobStatus.CANCELLED, False, reply.retries,
                    )  # fmt: skip
                    entry.due_ms, entry.due_unknown = None, False
                elif reply.verdict is CancelVerdict.REQUESTED and entry.lease is not None:
                    entry.cancel_requested = True

    def purged(self, candidates: Iterable[StoredId]) -> None:
        """The store has forgotten these of the jobs that no worker had."""
        with self._lock:
            for stored_id in candidates:
                entry = self._entries.get(stored_id)
                if entry is not None and entry.in_line:
                    entry.status, entry.parked, entry.error = JobStatus.CANCELLED, False, "purged"
                    entry.due_ms, entry.due_unknown = None, False

    def run_again(self, stored_ids: Iterable[str]) -> Callable[[], None]:
        """They are to be run again from the failed store.

        Returns:
            A function that undoes it, except for jobs that a worker has taken meanwhile.
        """
        before: list[tuple[Entry, int, str]] = []
        with self._lock:
            for stored_id in stored_ids:
                entry = self._entries.get(stored_id)
                if entry is not None and entry.status is JobStatus.FAILED:
                    before.append((entry, entry.retries, entry.error))
                    entry.status, entry.retries, entry.error = JobStatus.QUEUED, 0, ""

        def undo() -> None:
            with self._lock:
                for entry, retries, error in before:
                    if entry.status is JobStatus.QUEUED:
                        entry.status, entry.retries, entry.error = JobStatus.FAILED, retries, error

        return undo

    def _add(self, stored_id: StoredId, record: bytes, status: JobStatus) -> Entry:
        entry = Entry(
            stored_id, record, status, number=self._next_number, namespace=self._namespace
        )
        self._next_number += 1
        self._entries[stored_id] = entry
        return entry

    def _of(self, member: str) -> list[Entry]:
        return [
            entry
            for entry in self._entries.values()
            if entry.lease is not None and entry.lease.member == member
        ]


def _apply(entry: Entry, outcome: Outcome, now_ms: int) -> None:
    match outcome.kind:
        case OutcomeKind.SUCCEEDED:
            entry.status, entry.error = JobStatus.SUCCEEDED, ""
        case OutcomeKind.FAILED:
            entry.status = JobStatus.FAILED
            if outcome.failure is not None:
                name = outcome.failure.error.removeprefix("builtins.")
                message = outcome.failure.message.partition("\n")[0]
                entry.error = f"{name}: {message}" if message else name
        case OutcomeKind.RETRY:
            entry.status = JobStatus.WAITING
            entry.retries += 1
            entry.due_ms = (
                now_ms + (outcome.delay_ms or 0) if outcome.at_ms is None else outcome.at_ms
            )
        case OutcomeKind.RELEASE:
            entry.status = JobStatus.QUEUED
        case OutcomeKind.PARK:
            entry.status, entry.parked = JobStatus.QUEUED, True
        case OutcomeKind.EXPIRED:
            entry.status = JobStatus.EXPIRED
        case OutcomeKind.CANCELLED:
            entry.status = JobStatus.CANCELLED
