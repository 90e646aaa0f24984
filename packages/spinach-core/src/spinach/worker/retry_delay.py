"""When a failed job runs again: what the backoff of its task says, or the default instead.

The backoff may be a function of the user's. Whatever it does, the job has its next attempt
and the thread goes on.
"""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from spinach.backoff import DEFAULT_BACKOFF, MAX_WAIT, Backoff
from spinach.record.ids import job_id_of
from spinach.support.exception_text import class_name
from spinach.support.forks import leave_child
from spinach.support.log import JOB_LOGGER
from spinach.support.shield import SHIELD

if TYPE_CHECKING:
    from spinach.backoff import RandomSource
    from spinach.outcome import Lease
    from spinach.task import Task

__all__ = ["retry_delay_ms"]

_MILLISECOND: Final = timedelta(milliseconds=1)

# As `timedelta` has them. A subclass may put its own in their place.
_FIELDS: Final = tuple(vars(timedelta)[name] for name in ("days", "seconds", "microseconds"))

#: How many characters of a value that is no wait are shown.
_MOST_SHOWN: Final = 200


def retry_delay_ms(task: Task[..., Any], lease: Lease, source: RandomSource | None = None) -> int:
    """Ms from a failed attempt to the next one, rounded up.

    Args:
        task: of the job; its backoff is called on the calling thread.
        lease: of the job, as it ran.
        source: of randomness; None takes the `random` module.
    """
    attempt, policy = lease.retries + 1, task.backoff
    error: BaseException | None = None
    try:
        # A subclass of Backoff may have an `after` of its own.
        wait = policy.after(attempt, source) if isinstance(policy, Backoff) else policy(attempt)
        plain = _plain(wait)
        if plain is not None:
            return _in_ms(plain)
        problem = f"returned {_shown(wait)}, expected a timedelta from 0 to {MAX_WAIT.days} days"
    except BaseException as exc:  # noqa: BLE001 - a user's function must not cost job or thread
        leave_child(exc)
        error, problem = exc, f"raised {class_name(type(exc)).removeprefix('builtins.')}"
    leave_child()
    instead = DEFAULT_BACKOFF.after(attempt, source)
    with SHIELD:
        JOB_LOGGER.warning(
            "Backoff of task %s cannot be used: it %s. Job %s waits %.1f s after attempt %d, "
            "as the default backoff chose",
            task.name, problem, job_id_of(lease.stored_id), instead.total_seconds(), attempt,
            exc_info=error,
            extra={
                "job_id": job_id_of(lease.stored_id),
                "task": task.name,
                "queue": lease.queue,
                "attempt": attempt,
            },
        )  # fmt: skip
    return _in_ms(instead)


def _plain(wait: Any) -> timedelta | None:
    """The wait, if a job can wait that long; what a user's function returns may be anything.

    One of a subclass is made anew: other libraries have arithmetic of their own.
    """
    if inspect.iscoroutine(wait):
        wait.close()  # or Python warns that it was never awaited
    if not issubclass(type(wait), timedelta):
        return None
    plain = timedelta(*(field.__get__(wait) for field in _FIELDS))
    return plain if timedelta(0) <= plain <= MAX_WAIT else None


def _shown(value: Any) -> str:
    text = repr(value)
    if len(text) > _MOST_SHOWN:
        text = f"{text[:_MOST_SHOWN]}..."
    return f"{text} of type {type(value).__name__}"


def _in_ms(wait: timedelta) -> int:
    return -(-wait // _MILLISECOND)
