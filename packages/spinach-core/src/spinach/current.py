"""The running job, as its own code sees it.

A worker thread sets one context variable for each attempt, inside the context that the attempt
has to itself. So code that the task calls finds its job without being handed it, also in
`asyncio` and on threads that run in a copy of that context; the next job finds its own.
"""

from __future__ import annotations

import types
import uuid
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

from spinach.const import TOLERANCE_SECONDS
from spinach.exc import JobCancelled, JobReleased, NotInJob
from spinach.progress import progress_of
from spinach.record.ids import job_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from spinach.clock import Clock
    from spinach.definition.task import Task
    from spinach.outcome import Lease
    from spinach.progress import Progress
    from spinach.record.options import RecordOptions

__all__ = ["RUNNING", "Attempt", "CurrentJob", "Host", "current_job", "is_overdue"]

_NO_HEADERS: Final[Mapping[str, str]] = types.MappingProxyType({})


class Attempt(Protocol):
    """What is asked of a job that runs; a `spinach.worker.buffer.LeasedJob` has it."""

    lease: Lease
    task: Task[..., Any]
    options: RecordOptions | None
    cancelled: bool
    deadline: float | None
    progress: Progress | None


class Host(Protocol):
    """What is asked of the worker thread that runs the job."""

    @property
    def clock(self) -> Clock:
        """The broker's."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        ...


#: What runs in this context, and the thread that started it. Set by worker threads.
RUNNING: Final[ContextVar[tuple[Attempt, Host]]] = ContextVar("spinach.running")


def current_job() -> CurrentJob:
    """The job that the calling code is part of.

    It is known in the task, in all that the task calls, in receivers of the attempt's signals,
    and wherever the context of the task was copied to, as `asyncio` does.

    Raises:
        NotInJob: no job runs here.
    """
    try:
        return CurrentJob(*RUNNING.get())
    except LookupError:
        raise NotInJob(
            "current_job() was called where no job runs. Call it in a task that a worker runs, or "
            "on a thread that runs in a copy of the task's context: "
            "contextvars.copy_context().run(...)."
        ) from None


def is_overdue(attempt: Attempt, clock: Clock) -> bool:
    """Whether the time limit of an attempt has passed; False without one."""
    deadline = attempt.deadline
    return deadline is not None and clock.monotonic() + TOLERANCE_SECONDS >= deadline


class CurrentJob:
    """A running job, seen from inside; thread safe. Get it from `current_job`.

    Args:
        attempt: that runs.
        host: that runs it.
    """

    __slots__ = ("_attempt", "_host")

    def __init__(self, attempt: Attempt, host: Host) -> None:
        self._attempt = attempt
        self._host = host

    def __repr__(self) -> str:
        task = self._attempt.task.name
        return f"<CurrentJob {task} {self._id_text}, attempt {self.attempt}>"

    @property
    def id(self) -> uuid.UUID:
        """Id of the job, the same at each attempt."""
        return uuid.UUID(self._id_text)

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""
        return self._attempt.lease.retries + 1

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that the job was scheduled with; empty without any. Read only."""
        options = self._attempt.options
        if options is None or options.headers is None:
            return _NO_HEADERS
        return types.MappingProxyType(options.headers)

    @property
    def deadline(self) -> datetime | None:
        """When the time limit of this attempt passes; aware, UTC, on the broker's clock.

        None: its task has no time limit.
        """
        deadline, clock = self._attempt.deadline, self._host.clock
        if deadline is None:
            return None
        return clock.now() + timedelta(seconds=deadline - clock.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the cancel of this job was asked for."""
        return self._attempt.cancelled

    @property
    def should_stop(self) -> bool:
        """Whether the task should come to an end.

        So it is once the cancel of the job was asked for, its time limit has passed, or its worker
        was told to stop. It costs no call to the broker, so ask as often as you like.
        """
        return (
            self._attempt.cancelled
            or self._host.stopping
            or is_overdue(self._attempt, self._host.clock)
        )

    def check(self) -> None:
        """Raise `JobCancelled` if the task should stop; do nothing otherwise.

        Raises:
            JobCancelled: `should_stop` is True. What becomes of the job depends on why; see there.
        """
        if not self.should_stop:
            return
        attempt, who = self._attempt, f"job {self._id_text} ({self._attempt.task.name})"
        if attempt.cancelled:
            raise JobCancelled(f"The cancel of {who} was asked for.")
        limit = attempt.task.time_limit
        if limit is not None and is_overdue(attempt, self._host.clock):
            seconds = limit.total_seconds()
            raise JobCancelled(f"The time limit of {who}, {seconds:g} s, has passed.")
        raise JobCancelled(f"The worker of {who} was told to stop.")

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Say how far the task has come; the last word counts.

        It is kept here and sent along with what the worker process tells the broker anyway. So it
        makes no call, and may be said for each row of a file.

        Args:
            done: steps that are done, from 0 to the total.
            total: steps in all.
            note: what it is busy with; 200 characters of it are kept.

        Raises:
            InvalidArgument: more done than the total, or no numbers.
        """
        self._attempt.progress = progress_of(done, total, note)

    def release(self) -> NoReturn:
        """Give the job back by raising `JobReleased`; code behind it does not run.

        Raises:
            JobReleased: always. What becomes of the job is said there.
        """
        raise JobReleased(f"The task {self._attempt.task.name} gave its job back.")

    @property
    def _id_text(self) -> str:
        return job_id_of(self._attempt.lease.stored_id)
