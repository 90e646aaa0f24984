"""A worker thread: runs one job after the other and says what became of each.

1. It hands in the outcome of its last job and gets the next one, in one exchange.
2. It reads the arguments, sends `job_started`, calls the task's function.
3. It decides: succeeded, retry, or failed; logs it; sends the signals.

It talks to no broker; the result notifier reports what it hands in.
"""

from __future__ import annotations

import logging
import threading
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from . import signals, wire
from .assignment import Assignment
from .backoff import CallBackoff
from .brokers.calls import Verdict
from .clock import as_utc, from_ms, to_ms
from .exc import AbortException, BrokerError, RetryException
from .job import Job, JobStatus, job_from_record
from .log import JOB_LOGGER, WORKER_LOGGER
from .outcome import Failure, Outcome, OutcomeKind, cut_failure
from .retry_delay import retry_delay_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .backoff import RandomSource
    from .brokers.base import Broker
    from .clock import Clock
    from .handover import HandOver
    from .outcome import Lease

__all__ = ["Worker", "describe"]

#: How often an outcome that came after the stop is reported before it is given up.
_LATE_TRIES = 5


class Worker:
    """What one worker thread does; `run` is the thread's function.

    Args:
        number: tells the threads of a crew apart.
        name: of the thread.
        namespace: sender of the signals.
        broker: for an outcome that comes after the crew is gone.
        handover: gives the jobs.
        source: of randomness for the backoff; None takes the `random` module.
    """

    def __init__(
        self,
        number: int,
        name: str,
        namespace: str,
        broker: Broker,
        handover: HandOver,
        source: RandomSource | None = None,
    ) -> None:
        self._number = number
        self._name = name
        self._namespace = namespace
        self._broker = broker
        self._clock: Clock = broker.clock
        self._handover = handover
        self._source = source

    def run(self) -> None:
        """Run jobs until the hand-over says to end."""
        WORKER_LOGGER.debug("Worker thread %s started", self._name)
        signals.worker_started.send(self._namespace, worker_name=self._name)
        outcome: Outcome | None = None
        try:
            while (work := self._handover.exchange(self._number, outcome)) is not None:
                if isinstance(work, Assignment):
                    outcome = self._execute(work)
                else:
                    outcome = None
                    self._run_errand(work)
                # An idle thread must not keep the last job's arguments alive.
                del work
        except BaseException:
            self._handover.forget(self._number)
            raise
        late = self._handover.late(self._number)
        if late is not None:
            self._report_late(late)
        signals.worker_terminated.send(self._namespace, worker_name=self._name)
        WORKER_LOGGER.debug("Worker thread %s ended", self._name)

    def _report_late(self, outcome: Outcome) -> None:
        """Report without the notifier, which is gone: it counts if the lease still stands."""
        backoff, error = CallBackoff(self._source), None
        pause = threading.Condition()
        for _ in range(_LATE_TRIES):
            try:
                reply = self._broker.report([outcome])
            except BrokerError as exc:
                error = exc
                break
            if reply.verdicts[0] is not Verdict.UNKNOWN:
                return
            error = reply.error
            with pause:
                self._clock.wait(pause, backoff.failed())
        WORKER_LOGGER.warning(
            "Job %s ended after the stop, and its outcome could not be reported; recovery takes it "
            "over: %s",
            outcome.lease.stored_id[1:], error, extra={"job_id": outcome.lease.stored_id[1:]},
        )  # fmt: skip

    def _run_errand(self, errand: Callable[[], None]) -> None:
        with self._shielded():
            errand()

    @contextmanager
    def _shielded(self) -> Iterator[None]:
        """Log what goes wrong in logging and signals: it must not harm the job."""
        try:
            yield
        except BaseException:  # noqa: BLE001 - a thread must outlive what it runs
            # If it was logging that failed, this may fail as well.
            with suppress(BaseException):
                WORKER_LOGGER.exception(
                    "A signal receiver or log handler raised; the job is unaffected"
                )

    def _execute(self, work: Assignment) -> Outcome:
        lease, task = work.lease, work.task
        try:
            args, kwargs, _ = wire.decode_payload(lease.record)
            # Only who listens or reads needs a snapshot; most jobs pass unseen.
            watched = signals.job_started.receivers or JOB_LOGGER.isEnabledFor(logging.INFO)
            job = _snapshot(lease) if watched else None
        except wire.UnreadableRecord as exc:
            with self._shielded():
                JOB_LOGGER.error(
                    "Job failed: %s %s, its record cannot be read: %s",
                    task.name, lease.stored_id[1:], exc,
                    extra={"job_id": lease.stored_id[1:], "task": task.name, "queue": lease.queue},
                )  # fmt: skip
            return Outcome(OutcomeKind.FAILED, lease, task.name, failure=describe(exc))
        if job is not None:
            with self._shielded():
                JOB_LOGGER.info("Job started: %s %s", job.task_name, job.id_text, extra=_extra(job))
                signals.job_started.send(self._namespace, job=job)
        started = self._clock.monotonic()
        try:
            # On threads like these SystemExit and KeyboardInterrupt are a task's
            # doing, so they fail the job; the thread goes on.
            task.func(*args, **kwargs)
        except BaseException as exc:  # noqa: BLE001 - whatever a task raises fails the job only
            return self._failed(work, exc, self._clock.monotonic() - started)
        if job is not None or signals.job_finished.receivers:
            with self._shielded():
                self._tell_success(job or _snapshot(lease), self._clock.monotonic() - started)
        return Outcome(OutcomeKind.SUCCEEDED, lease, task.name)

    def _tell_success(self, job: Job, seconds: float) -> None:
        JOB_LOGGER.info(
            "Job succeeded: %s %s, %.1f ms",
            job.task_name,
            job.id_text,
            seconds * 1000,
            extra=_extra(job, seconds),
        )
        signals.job_finished.send(self._namespace, job=job.with_status(JobStatus.SUCCEEDED))

    def _failed(self, work: Assignment, err: BaseException, seconds: float) -> Outcome:
        """Decide what a failed attempt means, and tell of it."""
        lease = work.lease
        header = wire.read_header(lease.record)
        if isinstance(err, AbortException) or lease.retries >= header.max_retries:
            outcome = Outcome(OutcomeKind.FAILED, lease, header.task, failure=describe(err))
        else:
            outcome = self._retry(work, err)
        with self._shielded():
            self._tell_failure(outcome, err, seconds)
        return outcome

    def _retry(self, work: Assignment, err: BaseException) -> Outcome:
        lease, task = work.lease, work.task
        if isinstance(err, RetryException):
            # The class may be the user's own: without an instant, with one that no clock
            # shows, or one that raises when asked. Then the backoff chooses.
            with suppress(BaseException):
                if err.at is not None:
                    return Outcome(OutcomeKind.RETRY, lease, task.name, at_ms=to_ms(as_utc(err.at)))
        delay_ms = retry_delay_ms(task, lease, self._source)
        return Outcome(OutcomeKind.RETRY, lease, task.name, delay_ms=delay_ms)

    def _tell_failure(self, outcome: Outcome, err: BaseException, seconds: float) -> None:
        job = _snapshot(outcome.lease)
        extra = _extra(job, seconds)
        # The frame of `_execute` says nothing to the reader of a traceback.
        info = (type(err), err, err.__traceback__.tb_next if err.__traceback__ else None)
        if outcome.kind is OutcomeKind.FAILED:
            JOB_LOGGER.error(
                "Job failed: %s %s, attempt %d", job.task_name, job.id_text, job.attempt,
                exc_info=info, extra=extra,
            )  # fmt: skip
            job = job.with_status(JobStatus.FAILED)
            signals.job_failed.send(self._namespace, job=job, err=err)
        else:
            if outcome.at_ms is not None:
                when = f"at {from_ms(outcome.at_ms).isoformat()}"
            else:
                when = f"in {(outcome.delay_ms or 0) / 1000:.1f} s"
            if isinstance(err, RetryException):
                JOB_LOGGER.info(
                    "Job will be retried as it asked: %s %s, attempt %d, again %s: %s",
                    job.task_name, job.id_text, job.attempt, when, err, extra=extra,
                )  # fmt: skip
            else:
                JOB_LOGGER.warning(
                    "Job will be retried: %s %s, attempt %d, again %s",
                    job.task_name, job.id_text, job.attempt, when, exc_info=info, extra=extra,
                )  # fmt: skip
            job = job.with_status(JobStatus.WAITING)
            signals.job_schedule_retry.send(self._namespace, job=job, err=err)
        signals.job_finished.send(self._namespace, job=job)


def _snapshot(lease: Lease) -> Job:
    return job_from_record(
        lease.stored_id, lease.record, retries=lease.retries, status=JobStatus.RUNNING
    )


def describe(err: BaseException) -> Failure:
    """An exception as the failed store keeps it, cut to its bounds."""
    kind = type(err)
    trace = err.__traceback__
    try:
        message = str(err)
        text = "".join(traceback.format_exception(kind, err, trace.tb_next if trace else None))
    except BaseException as exc:  # noqa: BLE001 - an exception whose __str__ raises must not lose the job
        message = text = f"<unprintable {kind.__qualname__}: {type(exc).__name__}>"
    # Lone surrogates, as in names of files, would stand in the way of storing the text.
    message, text = (
        part.encode("utf-8", "backslashreplace").decode("utf-8") for part in (message, text)
    )
    return cut_failure(
        Failure(error=f"{kind.__module__}.{kind.__qualname__}", message=message, traceback=text)
    )


def _extra(job: Job, seconds: float | None = None) -> dict[str, object]:
    """Data of a log record; never arguments, which may be secret."""
    extra: dict[str, object] = {
        "job_id": job.id_text,
        "task": job.task_name,
        "queue": job.queue,
        "attempt": job.attempt,
    }
    if seconds is not None:
        extra["duration_ms"] = seconds * 1000
    return extra
