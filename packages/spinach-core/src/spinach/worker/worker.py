"""A worker thread: runs one job after the other and says what became of each.

1. It hands in the outcome of its last job and gets the next one, in one exchange.
2. It reads the arguments, sends `job_started`, calls the task's function. A job that would start
   too late is done with instead (see `spinach.worker.expiry`).
3. It decides whether the job succeeded, has a retry, failed, or ended early (see
   `spinach.worker.early_end`). It logs that and sends the signals.

2 and 3 run in a `contextvars.Context` that each attempt has to itself. The thread talks to no
broker; the result notifier reports what it hands in. Where code of the user's comes back in
another process than it began in, that process ends (see `spinach.support.forks`).
"""

from __future__ import annotations

import logging
import threading
from contextvars import Context
from typing import TYPE_CHECKING, cast

from spinach import signals
from spinach.backoff import CallBackoff
from spinach.brokers.calls import Verdict
from spinach.clock import as_utc, from_ms, to_ms
from spinach.const import MAX_SHOWN
from spinach.current import RUNNING, is_overdue
from spinach.exc import AbortException, BrokerError, RetryException, SpinachError
from spinach.job import Job, JobStatus, job_from_lease, log_fields
from spinach.outcome import Failure, Outcome, OutcomeKind, cut_failure
from spinach.record.header import UnreadableRecord, read_header
from spinach.record.ids import job_id_of
from spinach.record.payload import decode_payload, encode_result
from spinach.support.checks import refuse_unfinished
from spinach.support.exception_text import class_name, message_of, trace_of, traceback_of
from spinach.support.forks import PROCESS, end_child, leave_child
from spinach.support.log import JOB_LOGGER, WORKER_LOGGER
from spinach.support.shield import SHIELD
from spinach.worker.buffer import LeasedJob
from spinach.worker.early_end import early_outcome, tell_early_end
from spinach.worker.expiry import has_expired, tell_expired
from spinach.worker.retry_delay import retry_delay_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from spinach.backoff import RandomSource
    from spinach.brokers.working import WorkingRole
    from spinach.clock import Clock
    from spinach.outcome import Lease
    from spinach.worker.in_flight import InFlight

__all__ = ["Worker", "describe"]

#: Outcomes of an attempt that was cancelled or given back.
_EARLY = frozenset({OutcomeKind.CANCELLED, OutcomeKind.RELEASE})

#: How often an outcome that came after the stop is reported before it is given up.
_LATE_TRIES = 5


class Worker:
    """What one worker thread does; `run` is the thread's function.

    Args:
        number: tells the threads of a pool apart.
        name: of the thread.
        namespace: sender of the signals.
        broker: for an outcome that comes after the pool is gone.
        in_flight: gives the jobs.
        source: of randomness for the backoff; None takes the `random` module.
        stopping: tells whether a stop was asked for.
    """

    def __init__(
        self,
        number: int,
        name: str,
        namespace: str,
        broker: WorkingRole,
        in_flight: InFlight,
        source: RandomSource | None = None,
        *,
        stopping: Callable[[], bool],
    ) -> None:
        self._number = number
        self._name = name
        self._namespace = namespace
        self._broker = broker
        #: The broker's.
        self.clock: Clock = broker.clock
        self._in_flight = in_flight
        self._source = source
        self._stopping = stopping
        self._process = PROCESS.number

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for; jobs that run may ask."""
        return self._stopping()

    def run(self) -> None:
        """Run jobs until told to end."""
        with SHIELD:
            WORKER_LOGGER.debug("Worker thread %s started", self._name)
        signals.worker_started.send(self._namespace, worker_name=self._name)
        outcome: Outcome | None = None
        try:
            while (work := self._in_flight.exchange(self._number, outcome)) is not None:
                # A context of its own, empty: what one job leaves there is not the next one's.
                if isinstance(work, LeasedJob):
                    outcome = Context().run(self._execute, work)
                else:
                    outcome = None
                    Context().run(self._run_callback, work)
                # An idle thread must not keep the last job's arguments alive.
                del work
        except BaseException as exc:
            leave_child(exc)
            self._in_flight.forget(self._number)
            raise
        late = self._in_flight.late(self._number)
        if late is not None:
            self._report_late(late)
        signals.worker_terminated.send(self._namespace, worker_name=self._name)
        with SHIELD:
            WORKER_LOGGER.debug("Worker thread %s ended", self._name)

    def _report_late(self, outcome: Outcome) -> None:
        """Report without the notifier, which is gone: it counts if the lease still stands."""
        backoff, error = CallBackoff(self._source), None
        pause = threading.Condition()
        for _ in range(_LATE_TRIES):
            try:
                reply = self._broker.report([outcome])
                leave_child()
            except BrokerError as exc:
                error = exc
                break
            if reply.verdicts[0] is not Verdict.UNKNOWN:
                return
            error = reply.error
            with pause:
                self.clock.wait(pause, backoff.failed())
        job_id = job_id_of(outcome.lease.stored_id)
        WORKER_LOGGER.warning(
            "Job %s ended after the stop, and its outcome could not be reported; recovery takes it "
            "over: %s",
            job_id, error, extra={"job_id": job_id},
        )  # fmt: skip

    def _run_callback(self, callback: Callable[[], None]) -> None:
        with SHIELD:
            callback()

    def _execute(self, work: LeasedJob) -> Outcome:
        # For `current_job`, which makes of it what is asked for.
        RUNNING.set((work, self))
        lease, task, options = work.lease, work.task, work.options
        try:
            if options is not None and has_expired(options, self.clock):
                tell_expired(lease, self._namespace)
                return Outcome(OutcomeKind.EXPIRED, lease, task.name, keep_ms=options.keep_ms)
            args, kwargs, _ = decode_payload(lease.record)
            # Only a receiver or a log handler needs a snapshot; most jobs have neither.
            watched = signals.job_started.receivers or JOB_LOGGER.isEnabledFor(logging.INFO)
            job = self._snapshot(lease) if watched else None
        except UnreadableRecord as exc:
            job_id = job_id_of(lease.stored_id)
            with SHIELD:
                JOB_LOGGER.error(
                    "Job failed: %s %s, its record cannot be read: %s",
                    task.name, job_id, exc,
                    extra={"job_id": job_id, "task": task.name, "queue": lease.queue},
                )  # fmt: skip
            return Outcome(
                OutcomeKind.FAILED, lease, task.name, failure=describe(exc), keep_ms=work.keep_ms
            )
        if job is not None:
            with SHIELD:
                JOB_LOGGER.info(
                    "Job started: %s %s", job.task_name, job.id_text, extra=log_fields(job)
                )
            with SHIELD:
                signals.job_started.send(self._namespace, job=job)
        started = self.clock.monotonic()
        kept: bytes | None = None
        refusal: SpinachError | None
        try:
            # On threads like these SystemExit and KeyboardInterrupt are a task's
            # doing, so they fail the job; the thread goes on.
            result = task.func(*args, **kwargs)
            refusal = None if result is None else refuse_unfinished(task.func, result)
            if options is not None and refusal is None:
                kept, refusal = self._encoded(work, result)
            del result
        except BaseException as exc:  # noqa: BLE001 - whatever a task raises fails the job only
            if PROCESS.number != self._process:
                end_child(exc)
            return self._failed(work, exc, self.clock.monotonic() - started)
        if PROCESS.number != self._process:
            end_child(None)
        if refusal is not None:
            seconds = self.clock.monotonic() - started
            return self._failed(work, refusal, seconds, may_pass=False)
        if job is not None or signals.job_finished.receivers:
            with SHIELD:
                self._tell_success(job or self._snapshot(lease), self.clock.monotonic() - started)
        if options is None:
            return Outcome(OutcomeKind.SUCCEEDED, lease, task.name)
        return Outcome(
            OutcomeKind.SUCCEEDED, lease, task.name, keep_ms=options.keep_ms, result=kept
        )

    def _snapshot(self, lease: Lease) -> Job:
        return job_from_lease(lease, JobStatus.RUNNING, self._namespace)

    def _encoded(self, work: LeasedJob, result: object) -> tuple[bytes | None, SpinachError | None]:
        """What a job returned, where it is to be kept, or why it cannot be."""
        if work.keep_ms is None:
            return None, None
        limit_bytes = self._broker.max_payload_bytes
        try:
            return encode_result(result, limit_bytes=limit_bytes, task=work.task.name), None
        except SpinachError as exc:
            return None, exc

    def _tell_success(self, job: Job, seconds: float) -> None:
        with SHIELD:
            JOB_LOGGER.info(
                "Job succeeded: %s %s, %.1f ms",
                job.task_name,
                job.id_text,
                seconds * 1000,
                extra=log_fields(job, seconds),
            )
        signals.job_finished.send(self._namespace, job=job.with_status(JobStatus.SUCCEEDED))

    def _failed(
        self, work: LeasedJob, err: BaseException, seconds: float, *, may_pass: bool = True
    ) -> Outcome:
        """Decide what a failed attempt means, and tell of it.

        Args:
            work: the job that ran.
            err: why it failed. Only its class is asked what it is: an object may lie, or raise.
            seconds: how long it took.
            may_pass: False: another attempt would end in the same way.
        """
        lease = work.lease
        header = read_header(lease.record)
        final = not may_pass or issubclass(type(err), AbortException)
        stopping = self.stopping and not is_overdue(work, self.clock)
        if (early := early_outcome(work, err, stopping=stopping)) is not None:
            outcome = early
        elif final or lease.retries >= header.max_retries:
            outcome = Outcome(
                OutcomeKind.FAILED,
                lease,
                header.task,
                failure=describe(err),
                keep_ms=work.keep_ms,
            )
        else:
            outcome = self._retry(work, err)
        leave_child()
        with SHIELD:
            self._tell_failure(outcome, err, seconds)
        return outcome

    def _retry(self, work: LeasedJob, err: BaseException) -> Outcome:
        lease, task = work.lease, work.task
        # Shown to who looks for the job, until its next attempt ends.
        why = Failure(error=class_name(type(err)), message=message_of(err)[:MAX_SHOWN])
        at_ms: int | None = None
        if issubclass(type(err), RetryException):
            at_ms = self._wanted_at(lease, task.name, cast("RetryException", err))
        return Outcome(
            OutcomeKind.RETRY,
            lease,
            task.name,
            delay_ms=retry_delay_ms(task, lease, self._source) if at_ms is None else None,
            at_ms=at_ms,
            failure=why,
            keep_ms=work.keep_ms,
        )

    def _wanted_at(self, lease: Lease, task: str, err: RetryException) -> int | None:
        """The instant that a `RetryException` asks for, in ms since 1970.

        None: the backoff chooses. The class may be the user's own: with an instant that no clock
        shows, or one that raises when asked.
        """
        try:
            at = err.at
            return None if at is None else to_ms(as_utc(at))
        except BaseException as exc:  # noqa: BLE001 - see above
            leave_child(exc)
            job_id, reason = job_id_of(lease.stored_id), message_of(exc)
        with SHIELD:
            JOB_LOGGER.warning(
                "Job asks for a retry at an instant that cannot be used, the backoff chooses one: "
                "%s %s, %s", task, job_id, reason,
                extra={"job_id": job_id, "task": task, "queue": lease.queue},
            )  # fmt: skip
        return None

    def _tell_failure(self, outcome: Outcome, err: BaseException, seconds: float) -> None:
        job = self._snapshot(outcome.lease)
        if outcome.kind in _EARLY:
            tell_early_end(self._namespace, job, outcome, err, log_fields(job, seconds))
            return
        with SHIELD:
            self._log_failure(job, outcome, err, seconds)
        if outcome.kind is OutcomeKind.FAILED:
            job = job.with_status(JobStatus.FAILED)
            signals.job_failed.send(self._namespace, job=job, err=err)
        else:
            at_ms = outcome.at_ms
            if at_ms is None:
                at_ms = to_ms(self.clock.now()) + (outcome.delay_ms or 0)
            job = job.retried_at(from_ms(at_ms))
            signals.job_schedule_retry.send(self._namespace, job=job, err=err)
        signals.job_finished.send(self._namespace, job=job)

    def _log_failure(self, job: Job, outcome: Outcome, err: BaseException, seconds: float) -> None:
        extra = log_fields(job, seconds)
        info = (type(err), err, trace_of(err))
        if outcome.kind is OutcomeKind.FAILED:
            JOB_LOGGER.error(
                "Job failed: %s %s, attempt %d", job.task_name, job.id_text, job.attempt,
                exc_info=info, extra=extra,
            )  # fmt: skip
        else:
            if outcome.at_ms is not None:
                when = f"at {from_ms(outcome.at_ms).isoformat()}"
            else:
                when = f"in {(outcome.delay_ms or 0) / 1000:.1f} s"
            if issubclass(type(err), RetryException):
                JOB_LOGGER.info(
                    "Job will be retried as it asked: %s %s, attempt %d, again %s: %s",
                    job.task_name, job.id_text, job.attempt, when, message_of(err),
                    extra=extra,
                )  # fmt: skip
            else:
                JOB_LOGGER.warning(
                    "Job will be retried: %s %s, attempt %d, again %s",
                    job.task_name, job.id_text, job.attempt, when, exc_info=info, extra=extra,
                )  # fmt: skip


def describe(err: BaseException) -> Failure:
    """An exception as the failed store keeps it, cut to its bounds."""
    return cut_failure(
        Failure(error=class_name(type(err)), message=message_of(err), traceback=traceback_of(err))
    )
