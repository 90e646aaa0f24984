"""Asking for what jobs returned.

The broker keeps how a job ended, and waits; here that becomes the value or an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from spinach.brokers.calls import Ending, JobEnd
from spinach.exc import InvalidArgument, JobFailed, NoResult, ResultExpired, ResultTimeout
from spinach.job import Job
from spinach.record.payload import decode_result
from spinach.support.checks import require_timedelta
from spinach.wanted import stored_id_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.results import ResultsRole
    from spinach.record.ids import StoredId

__all__ = ["require_wait", "result_of", "results_of"]

R = TypeVar("R")


def require_wait(timeout: Any) -> float:
    """The seconds of a timeout; infinite for None.

    Raises:
        InvalidArgument: neither a timedelta nor None, or negative.
    """
    if timeout is None:
        return math.inf
    return require_timedelta(timeout, "timeout", timedelta(0)).total_seconds()


def result_of(broker: ResultsRole, namespace: str, job: Job[R], seconds: float) -> R:
    """What a job returned; see `Engine.result`."""
    [wanted] = _wanted([job], namespace)
    return _value(job, broker.await_end(*wanted, _End(broker, seconds).left()), seconds)


def results_of(
    broker: ResultsRole, namespace: str, jobs: Iterable[Job[R]], seconds: float
) -> list[R]:
    """What jobs returned; see `Engine.results`."""
    asked = [*jobs] if _is_iterable(jobs) else _refuse(jobs)
    wanted = _wanted(asked, namespace)
    end = _End(broker, seconds)
    ends: list[JobEnd] = [_PENDING] * len(asked)
    open_ = [*range(len(asked))]
    values: dict[int, R] = {}
    while open_:
        for position, found in _look(broker, wanted, open_):
            ends[position] = found
        for position in open_:
            if ends[position].ending is not Ending.PENDING:
                values[position] = _value(asked[position], ends[position], seconds)
        open_ = [i for i in open_ if i not in values]
        if not open_:
            break
        # Jobs end about in the order they came: when the last one has, so have most others. But no
        # result must be over before it was looked at.
        last = open_[-1]
        (queue, stored), left = wanted[last], end.left()
        wait = min(left, *(_half_the_keep(asked[position]) for position in open_))
        ends[last] = broker.await_end(queue, stored, wait)
        if ends[last].ending is not Ending.PENDING or wait == left:
            values[last] = _value(asked[last], ends[last], seconds)
            open_.pop()
    return [values[i] for i in range(len(asked))]


def _half_the_keep(job: Job[Any]) -> float:
    """Half the seconds for which the result of a job is kept."""
    keep_ms = None if job.options is None else job.options.keep_ms
    return math.inf if keep_ms is None else keep_ms / 2000


_PENDING: Final = JobEnd(ending=Ending.PENDING)


class _End:
    """When a call has waited for long enough, on the broker's clock."""

    def __init__(self, broker: ResultsRole, seconds: float) -> None:
        self._clock = broker.clock
        # Most calls find what they ask for, and look at no clock.
        self._at = self._clock.monotonic() + seconds if seconds > 0 else None

    def left(self) -> float:
        """Seconds that are left; infinite where there is no end."""
        return 0.0 if self._at is None else max(0.0, self._at - self._clock.monotonic())


def _wanted(jobs: Sequence[Any], namespace: str) -> list[tuple[str, StoredId]]:
    """Queue and stored id of each job.

    Raises:
        InvalidArgument: no job, or one of another namespace.
        ResultExpired: its task keeps no results.
    """
    wanted = []
    for job in jobs:
        stored = stored_id_of(job, namespace)
        if not job.keeps_result:
            raise ResultExpired(
                f"Job {job.id_text} keeps no result, since its task {job.task_name!r} asked for "
                "none when it was scheduled. Write @tasks.task(name=..., "
                "keep_result=timedelta(hours=1)), and schedule a new job."
            )
        wanted.append((job.queue, stored))
    return wanted


def _look(
    broker: ResultsRole, wanted: Sequence[tuple[str, StoredId]], positions: Sequence[int]
) -> list[tuple[int, JobEnd]]:
    """How the jobs at these positions ended by now."""
    by_queue: dict[str, list[int]] = {}
    for position in positions:
        by_queue.setdefault(wanted[position][0], []).append(position)
    found: list[tuple[int, JobEnd]] = []
    for queue, places in by_queue.items():
        ends = broker.job_ends(queue, [wanted[place][1] for place in places])
        found += zip(places, ends, strict=True)
    return found


def _value(job: Job[R], found: JobEnd, seconds: float) -> R:
    """What a job returned, or the error that says why there is nothing."""
    named = f"Job {job.id_text} ({job.task_name})"
    match found.ending:
        case Ending.SUCCEEDED:
            value: R = decode_result(found.result or b"null")
            return value
        case Ending.FAILED:
            raise _failed(job, named, found)
        case Ending.CANCELLED:
            raise _no_result(job, f"{named} was cancelled, so it has no result.", "cancelled")
        case Ending.EXPIRED:
            text = f"{named} expired before its next attempt began, so it has no result."
            raise _no_result(job, text, "expired")
        case Ending.PENDING:
            raise ResultTimeout(
                f"{named} has not ended after {seconds:g} s. It goes on: ask again, or with a "
                "longer timeout."
            )
        case Ending.ABSENT:
            raise ResultExpired(
                f"The result of job {job.id_text} ({job.task_name}) is not kept any more, or the "
                "job was removed before it ran. Ask sooner, or let the task keep its results for "
                "longer: @tasks.task(name=..., keep_result=...)."
            )


def _failed(job: Job[Any], named: str, found: JobEnd) -> JobFailed:
    failure = found.failure
    error, reason, trace = (
        ("", "", "") if failure is None else (failure.error, failure.message, failure.traceback)
    )
    return JobFailed(
        f"{named} failed: {error}: {reason}",
        job_id=job.id,
        error=error,
        reason=reason,
        traceback=trace,
    )


def _no_result(job: Job[Any], text: str, reason: Literal["cancelled", "expired"]) -> NoResult:
    return NoResult(text, job_id=job.id, reason=reason)


def _is_iterable(jobs: Any) -> bool:
    # A text is one of letters, not of jobs; an id is no job either.
    return isinstance(jobs, Iterable) and not isinstance(jobs, (Job, str, bytes, bytearray))


def _refuse(jobs: Any) -> Any:
    raise InvalidArgument(
        f"jobs is {jobs!r} of type {type(jobs).__name__}, expected jobs, such as a list of them. "
        "For a single one call result()."
    )
