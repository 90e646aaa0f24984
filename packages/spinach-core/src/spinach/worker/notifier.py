"""The result notifier: reports outcomes to the broker, many at a time.

1. It waits until an outcome is handed in.
2. It reports all there are. Meanwhile further ones collect, and leave together. Reports begin
   some ms apart for that, unless a job may wait for one of the outcomes.
3. It sends again what got no answer, after a wait of its own for each queue.

It ends when told to and nothing is left, or when told to give up.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from spinach.backoff import CallBackoff
from spinach.const import REPORT_CHUNK
from spinach.record.ids import job_id_of
from spinach.support.forks import leave_child
from spinach.support.log import JOB_LOGGER, WORKER_LOGGER
from spinach.support.realtime import time
from spinach.support.shield import SHIELD
from spinach.worker.early_end import send_cancelled

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable
    from threading import Event

    from spinach.backoff import RandomSource
    from spinach.brokers.working import WorkingRole
    from spinach.exc import BrokerError
    from spinach.outcome import Outcome
    from spinach.worker.in_flight import InFlight
    from spinach.worker.wake_up import WakeUp

__all__ = ["ResultNotifier"]


#: The notifier looks this often although it was not woken, in seconds.
_IDLE_WAIT_SECONDS = 60.0

#: Reports begin so far apart, in seconds: a call costs as much as dozens of outcomes in it.
_REPORT_INTERVAL_SECONDS: Final = 0.002


class ResultNotifier:
    """What the result notifier thread does; `run` is its function.

    Args:
        broker: to report to.
        in_flight: holds the outcomes.
        wake_up: set when an outcome waits, and when `ending` is.
        ending: set when the thread should end.
        source: of randomness for the backoff.
        hurry: set for an outcome that frees a slot of a limited task, or whose result someone
            may wait for, and when `ending` is; on the machine's clock, since a clock that a test
            turns must not stop a report.
    """

    def __init__(
        self,
        broker: WorkingRole,
        in_flight: InFlight,
        wake_up: WakeUp,
        ending: Event,
        source: RandomSource | None = None,
        *,
        hurry: WakeUp,
    ) -> None:
        self._broker = broker
        self._clock = broker.clock
        self._in_flight = in_flight
        self._wake_up = wake_up
        self._ending = ending
        self._source = source
        self._hurry = hurry
        self._backoffs: dict[str, CallBackoff] = {}
        self._not_before: dict[str, float] = {}

    def run(self) -> None:
        """Report until told to end."""
        while not self._ending.is_set():
            began = time.monotonic()
            reported = self.report_once()
            leave_child()
            if not reported:
                self._wake_up.wait(self._wait_seconds())
            else:
                self._hurry.wait(began + _REPORT_INTERVAL_SECONDS - time.monotonic())
        # What was handed in while the pool wound up; nothing is added any more. A queue
        # that does not answer is blocked for a while, which ends this.
        while self.report_once():
            pass

    def report_once(self) -> bool:
        """Report what can be reported now.

        Returns:
            Whether there was anything.
        """
        blocked: Collection[str] = ()
        if self._not_before:
            now = self._clock.monotonic()
            blocked = {queue for queue, at in self._not_before.items() if now < at}
        outcomes = self._in_flight.collect(blocked, REPORT_CHUNK)
        if not outcomes:
            return False
        reply = self._broker.report(outcomes)
        leave_child()
        for position in reply.cancelled:
            self._tell_cancelled(outcomes[position])
        refused, unanswered = self._in_flight.answered(reply.verdicts)
        for outcome in refused:
            WORKER_LOGGER.warning(
                "Outcome of job %s does not count, since its lease expired: %s",
                job_id_of(outcome.lease.stored_id),
                outcome.kind.value,
                extra={"job_id": job_id_of(outcome.lease.stored_id), "task": outcome.task},
            )
        if unanswered or self._backoffs:
            self._note({outcome.lease.queue for outcome in outcomes}, unanswered, reply.error)
        return True

    def _tell_cancelled(self, outcome: Outcome) -> None:
        """A job ended that its attempt would have sent back to a queue."""
        job_id = job_id_of(outcome.lease.stored_id)
        with SHIELD:
            JOB_LOGGER.info(
                "Job cancelled, not sent back to its queue: %s %s", outcome.task, job_id,
                extra={"job_id": job_id, "task": outcome.task, "queue": outcome.lease.queue},
            )  # fmt: skip
        # Receivers may take long, or hang. A stop does not wait for them.
        tell = functools.partial(send_cancelled, self._broker.namespace, outcome.lease)
        self._in_flight.run_callback(tell)

    def _note(
        self, reported: Iterable[str], unanswered: Container[str], error: BrokerError | None
    ) -> None:
        """Let queues that did not answer wait, and those that do no longer."""
        now = self._clock.monotonic()
        for queue in reported:
            if queue in unanswered:
                backoff = self._backoffs.setdefault(queue, CallBackoff(self._source))
                if not backoff.failing:
                    WORKER_LOGGER.warning(
                        "Outcomes of queue %s cannot be reported, retrying: %s", queue, error,
                        extra={"queue": queue},
                    )  # fmt: skip
                self._not_before[queue] = now + backoff.failed()
            elif self._backoffs.pop(queue, None) is not None:
                del self._not_before[queue]
                WORKER_LOGGER.info(
                    "Outcomes of queue %s are reported again", queue, extra={"queue": queue}
                )

    def _wait_seconds(self) -> float:
        if not self._not_before:
            return _IDLE_WAIT_SECONDS
        return max(0.0, min(self._not_before.values()) - self._clock.monotonic())
