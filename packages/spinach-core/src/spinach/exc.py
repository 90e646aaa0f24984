"""Every exception that Spinach raises.

::

    SpinachError
    ├── UnknownTask                (LookupError)            no such task on this engine
    ├── UnknownQueue               (LookupError)            no such queue in this namespace
    ├── InvalidJobSignatureError   (TypeError)              arguments do not fit the task
    ├── InvalidTask                (TypeError, ValueError)  this cannot be a task
    ├── DuplicateTask              (ValueError)             the name is taken
    ├── InvalidName                (ValueError)             bad task, queue or namespace name
    ├── InvalidArgument            (TypeError, ValueError)  a value that cannot be used or stored
    ├── PayloadTooLarge            (ValueError)             encoded arguments beyond the limit
    ├── TasksNotAttached           (RuntimeError)           a registry that no engine knows
    ├── WorkersRunning             (RuntimeError)           not while workers run
    ├── NestedCall                 (RuntimeError)           not in the middle of another call
    ├── NotInJob                   (RuntimeError)           no job runs where it was asked for
    ├── BrokerInUse                (RuntimeError)           the broker belongs to another engine
    ├── BrokerError                                         the broker could not do it
    │   ├── BrokerUnavailable                               not reachable; nothing is unknown
    │   ├── BrokerFull                                      its memory is full
    │   └── ScheduleUncertain                               some jobs have an unknown fate
    ├── WorkerLost                                          the worker process of a job died
    ├── WaitTimeout                (TimeoutError)           a job has not ended yet
    ├── JobFailed                  (RuntimeError)           the job of the result failed
    ├── NoResult                   (RuntimeError)           it was cancelled, or expired
    ├── ResultExpired              (LookupError)            its result is not kept, or no longer
    ├── ResultTimeout              (TimeoutError)           it has not ended yet
    └── WaitInWorker               (RuntimeError)           a worker thread may not wait for a job

Two of them are TypeErrors and ValueErrors at once, because one check refuses both a wrong type
and a value out of range, and a caller may expect either.

`RetryException`, `AbortException`, `JobCancelled` and `JobReleased` are raised by tasks, for
Spinach to catch; they are signals of intent rather than errors and stand outside the tree.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal
    from uuid import UUID

__all__ = [
    "AbortException",
    "BrokerError",
    "BrokerFull",
    "BrokerInUse",
    "BrokerUnavailable",
    "DuplicateTask",
    "InvalidArgument",
    "InvalidJobSignatureError",
    "InvalidName",
    "InvalidTask",
    "JobCancelled",
    "JobFailed",
    "JobReleased",
    "NestedCall",
    "NoResult",
    "NotInJob",
    "PayloadTooLarge",
    "ResultExpired",
    "ResultTimeout",
    "RetryException",
    "ScheduleUncertain",
    "SpinachError",
    "TasksNotAttached",
    "UnknownQueue",
    "UnknownTask",
    "WaitInWorker",
    "WaitTimeout",
    "WorkerLost",
    "WorkersRunning",
]


class SpinachError(Exception):
    """Base of every error that Spinach raises; catch it to catch them all."""


class UnknownTask(SpinachError, LookupError):
    """The task is not registered on this engine; attach its registry first."""


class UnknownQueue(SpinachError, LookupError):
    """No job, worker or attached task ever named this queue; look for a misspelled name."""


class InvalidJobSignatureError(SpinachError, TypeError):
    """The arguments do not fit the task's signature; nothing was scheduled."""


class InvalidTask(SpinachError, TypeError, ValueError):
    """This object cannot be a task; register a plain callable under a name."""


class DuplicateTask(SpinachError, ValueError):
    """A task of that name exists already; give each task a name of its own."""


class InvalidName(SpinachError, ValueError):
    """A task, queue or namespace name with characters or a length not allowed."""


class InvalidArgument(SpinachError, TypeError, ValueError):
    """A value that cannot be used here; the message says where it stands."""


class PayloadTooLarge(SpinachError, ValueError):
    """The encoded arguments exceed the limit; store them and send a reference."""


class TasksNotAttached(SpinachError, RuntimeError):
    """The registry belongs to no engine; call engine.attach_tasks(tasks) first."""


class WorkersRunning(SpinachError, RuntimeError):
    """Not possible while workers run; call engine.stop_workers() first."""


class NestedCall(SpinachError, RuntimeError):
    """Not possible where a signal handler, finalizer or log handler interrupted another call.

    Nothing was done. Scheduling is possible there, and never raises it.
    """


class NotInJob(SpinachError, RuntimeError):
    """No job runs here; call it in a task, or in a copy of the task's context."""


class BrokerInUse(SpinachError, RuntimeError):
    """One broker serves one engine for life; create another broker."""


class BrokerError(SpinachError):
    """The broker could not do what was asked.

    When it ends a `schedule`, `schedule_at` or `schedule_batch`, three tuples
    tell the fate of each job by its id; elsewhere they are empty.
    """

    def __init__(
        self,
        message: str,
        *,
        stored: Sequence[UUID] = (),
        unknown: Sequence[UUID] = (),
        not_sent: Sequence[UUID] = (),
    ) -> None:
        super().__init__(message)
        #: Jobs that the broker accepted; they will run.
        self.stored: tuple[UUID, ...] = tuple(stored)
        #: Jobs that the broker may or may not have accepted.
        self.unknown: tuple[UUID, ...] = tuple(unknown)
        #: Jobs that the broker has certainly not accepted.
        self.not_sent: tuple[UUID, ...] = tuple(not_sent)


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached; workers go on trying, producers may retry."""


class BrokerFull(BrokerError):
    """The broker has no memory left; what it refused was not stored."""


class ScheduleUncertain(BrokerError):
    """The broker stopped answering while jobs were on their way to it."""

    @property
    def job_ids(self) -> tuple[UUID, ...]:
        """Ids of the jobs whose fate is unknown."""
        return self.unknown


class WorkerLost(SpinachError):
    """The worker process died while it owned the job."""


class WaitTimeout(SpinachError, TimeoutError):
    """The jobs have not ended in the time that was given; they go on, and may be waited for."""


def _made_again(
    kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]
) -> BaseException:
    """An error that was pickled, with attributes that its `__init__` requires."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class JobFailed(SpinachError, RuntimeError):
    """The job whose result was asked for failed; `error`, `message` and `traceback` say why."""

    def __init__(
        self, message: str, *, job_id: UUID, error: str, reason: str, traceback: str
    ) -> None:
        super().__init__(message)
        #: Of the job.
        self.job_id = job_id
        #: Qualified name of the exception's class, in the last attempt.
        self.error = error
        #: The exception as text.
        self.message = reason
        #: Formatted; empty when the worker was lost. Long ones were cut.
        self.traceback = traceback

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self.args, self.__dict__)


class NoResult(SpinachError, RuntimeError):
    """The job whose result was asked for was cancelled, or it expired."""

    def __init__(
        self, message: str, *, job_id: UUID, reason: Literal["cancelled", "expired"]
    ) -> None:
        super().__init__(message)
        #: Of the job.
        self.job_id = job_id
        #: What ended it.
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self.args, self.__dict__)


class ResultExpired(SpinachError, LookupError):
    """The result is not kept any more, or never was asked for; the message says which."""


class ResultTimeout(SpinachError, TimeoutError):
    """The job has not ended in the time that was given; it goes on, and may be asked for again."""


class WaitInWorker(SpinachError, RuntimeError):
    """A worker thread would wait for a job that may need that very thread; let a job follow."""


class RetryException(Exception):
    """Raised by a task to be run again, as long as it has retries left.

    Args:
        message: for the log, where it is no error but a planned retry.
        at: when to run again; a naive datetime is UTC, the past means now.
            None leaves the choice to the backoff.

    Raises:
        InvalidArgument: `at` is neither a datetime nor None.
    """

    #: When to run again. The class has it as well, for subclasses that do not call this
    #: `__init__`. One that cannot be used is logged, and the backoff chooses.
    at: datetime | None = None

    def __init__(self, message: str = "", at: datetime | None = None) -> None:
        if at is not None and not isinstance(at, datetime):
            raise InvalidArgument(
                f"RetryException got at={at!r} of type {type(at).__name__}, expected a datetime "
                "or None. Pass datetime.now(timezone.utc) + timedelta(...)."
            )
        super().__init__(message)
        self.at = at


class AbortException(Exception):
    """Raised by a task to fail for good, whatever retries it has left."""


class JobCancelled(Exception):
    """Raised in a task that should stop, by `check` of the running job; or by the task itself.

    If the cancel of the job was asked for, it ends as cancelled. If its time limit has passed, the
    attempt has failed. If the worker is told to stop, a job that may run again is given back
    without an attempt; one that runs at most once has started, so it fails. Without any of these
    reasons it is a failure like others.
    """


class JobReleased(Exception):
    """Raised by a task to give its job back, as `release` of the running job does.

    A job that may run again is the first in its queue then, and no attempt is spent. One that runs
    at most once has started, so it cannot be given back: it fails, and the reason says so.
    """
