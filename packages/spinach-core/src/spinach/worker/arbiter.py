"""The arbiter: keeps the process alive in the eyes of the broker, and its queues in order.

1. It makes the calls that are due: it beats, recovers a dead member, makes due jobs ready, fires
   periodic tasks, and joins the queue of a new task. None of them has a number.
2. When tasks came or went, it ends the wait of the subscriber, which has to know them.
3. It stops the workers when the queues are empty, if it was told to.
4. It finds jobs that run for longer than their time limit.
5. Nothing to do: it waits for its wake-up or for the next thing that is due.
6. Told to stop: it lets the subscriber end, keeps beating while jobs run and outcomes are on
   their way, and leaves (I20).

It never sleeps in a backoff, and calls neither tasks nor receivers of signals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinach.brokers.calls import Verdict
from spinach.record.ids import job_id_of
from spinach.support.forks import leave_child
from spinach.support.log import WORKER_LOGGER
from spinach.support.shield import SHIELD

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from spinach.brokers.base import Broker
    from spinach.worker.buffer import LeasedJob
    from spinach.worker.fetching import Fetching
    from spinach.worker.in_flight import InFlight
    from spinach.worker.keep_alive import KeepAlive
    from spinach.worker.memberships import Memberships
    from spinach.worker.overdue import Overdue
    from spinach.worker.subscriber import Subscriber
    from spinach.worker.wake_up import WakeUp

__all__ = ["STOP_FLUSH_SECONDS", "Arbiter"]


#: The arbiter looks this often although nothing is due, in seconds.
_IDLE_WAIT_SECONDS = 60.0

#: How long a stop tries to reach a broker that does not answer, in seconds.
STOP_FLUSH_SECONDS = 10.0


class Arbiter:
    """What the arbiter thread does; `run` is its function.

    Args:
        broker: for its clock, for counts, and to end a wait.
        memberships: of the pool.
        keep_alive: makes the calls.
        fetching: tells what the subscriber knows of the queues.
        in_flight: the jobs that this process holds.
        subscriber: to be ended by a stop.
        overdue: tells of jobs that take too long.
        wake_up: this thread waits at it.
        stop_when_empty: stop by itself when the queues are empty.
        grace: how long a stop waits for running jobs; None waits for them all.
        reporting: tells whether outcomes can still be reported.
    """

    def __init__(
        self,
        broker: Broker,
        memberships: Memberships,
        keep_alive: KeepAlive,
        fetching: Fetching,
        in_flight: InFlight,
        subscriber: Subscriber,
        overdue: Overdue,
        wake_up: WakeUp,
        *,
        stop_when_empty: bool,
        grace: timedelta | None,
        reporting: Callable[[], bool],
    ) -> None:
        self._broker = broker
        self._clock = broker.clock
        self._memberships = memberships
        self._keep_alive = keep_alive
        self._fetching = fetching
        self._in_flight = in_flight
        self._subscriber = subscriber
        self._overdue = overdue
        self._wake_up = wake_up
        self._stop_when_empty = stop_when_empty
        self._grace = grace
        self._reporting = reporting
        # Written by any thread, each once, from False to True.
        self._stopping = False
        self._hurry = False
        # Written by any thread: the subscriber should not wait on what it knows now.
        self._outdated = False

    def stop(self) -> None:
        """Ask for the stop; from any thread, again is fine."""
        self._stopping = True
        # At once: no further job is fetched.
        self._subscriber.close()
        self._wake_up.set()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop, or stops by itself."""
        return self._stopping

    def hurry(self) -> None:
        """End the grace of a stop now; from any thread, again is fine."""
        self._hurry = True
        self._wake_up.set()

    def tasks_changed(self) -> None:
        """Tasks have come or gone, and the memberships know; from any thread."""
        self._outdated = True
        self._wake_up.set()

    def run(self) -> None:
        """Serve until told to stop, then wind up."""
        try:
            while not self._stopping:
                self.step()
                leave_child()
                if not self._stopping:
                    self._wake_up.wait(self._wait_seconds())
        except BaseException as exc:
            # Before it winds up, which would be in the parent's name.
            leave_child(exc)
            raise
        finally:
            try:
                self._wind_up()
                leave_child()
            except BaseException as exc:
                leave_child(exc)
                raise
            finally:
                self._in_flight.close()
                self._in_flight.give_back()
                self._in_flight.dissolve()

    def step(self) -> None:
        """Do what is due."""
        joined = self._keep_alive.step()
        self._overdue.step()
        if joined or self._outdated:
            self._outdated = False
            # It may be waiting without the new queue, or by the former tasks.
            self._subscriber.look()
            self._broker.interrupt()
        if self._stop_when_empty and self._looks_empty() and self._queues_empty():
            WORKER_LOGGER.info(
                "Queues are empty, stopping the workers",
                extra={"queues": self._memberships.queues},
            )
            self._stopping = True

    def _looks_empty(self) -> bool:
        """Whether it is worth asking the broker if all is done.

        A fetch must have said so before: it also tells of parked jobs that this
        process can run, which the counts do not distinguish from others.
        """
        return self._memberships.declared and not self._fetching.backlog and self._in_flight.empty

    def _queues_empty(self) -> bool:
        """Whether the consumed queues hold nothing to do, over all processes.

        Queues are counted twice where there are several, because a job may have
        scheduled one into a queue that was counted before it.
        """
        queues = self._memberships.queues
        before: tuple[int, ...] | None = None
        for _ in range(1 if len(queues) == 1 else 2):
            counts = self._broker.counts(queues)
            # Before anything is logged, should a provider of credentials have forked.
            leave_child()
            if any(count.verdict is not Verdict.APPLIED or count.unfinished for count in counts):
                return False
            if any(
                count.next_due_in_ms is not None and count.next_due_in_ms <= 0 for count in counts
            ):
                return False  # A job is due that nobody has made ready yet.
            enqueued = tuple(count.enqueued for count in counts)
            if before is not None and enqueued != before:
                return False
            before = enqueued
        return self._fetching.settled and self._in_flight.empty

    def _wait_seconds(self) -> float:
        return min(_IDLE_WAIT_SECONDS, self._keep_alive.next_call_in(), self._overdue.next_in())

    # -- stop --------------------------------------------------------------

    def _wind_up(self) -> None:
        self._keep_alive.close()
        self._in_flight.close()
        self._subscriber.close()
        # It may wait for jobs, or be about to.
        self._broker.interrupt()
        grace = None if self._grace is None else self._grace.total_seconds()
        self._beat_while(lambda: self._in_flight.running > 0 and not self._hurry, grace)
        for item in self._in_flight.abandon():
            with SHIELD:
                self._tell_of_grace(item)
        self._keep_alive.end_by(self._clock.monotonic() + STOP_FLUSH_SECONDS)
        self._beat_while(self._unsettled, STOP_FLUSH_SECONDS)
        if self._subscriber.ended:
            self._keep_alive.leave()

    def _tell_of_grace(self, item: LeasedJob) -> None:
        """Log that the stop goes on without a job that still runs."""
        lease, seconds = item.lease, self._clock.monotonic() - item.started
        WORKER_LOGGER.warning(
            "Grace is over, and task %s still runs: job %s, for %.1f s. %s",
            item.task.name,
            job_id_of(lease.stored_id),
            seconds,
            "It is given back, and another worker runs it again"
            if lease.repeatable
            else "Unless it ends before its lease does, it goes to the failed store",
            extra={
                "job_id": job_id_of(lease.stored_id),
                "task": item.task.name,
                "queue": lease.queue,
                "attempt": lease.retries + 1,
                "duration_ms": seconds * 1000,
            },
        )

    def _unsettled(self) -> bool:
        if not self._subscriber.ended:
            return True
        return self._reporting() and self._in_flight.unanswered > 0

    def _beat_while(self, busy: Callable[[], bool], most_seconds: float | None) -> None:
        """Keep the leases alive while something is going on."""
        end = None if most_seconds is None else self._clock.monotonic() + most_seconds
        while True:
            self._keep_alive.step()
            self._overdue.step()
            leave_child()
            left = _IDLE_WAIT_SECONDS if end is None else end - self._clock.monotonic()
            if left <= 0 or not busy():
                return
            due = min(self._keep_alive.next_call_in(), self._overdue.next_in())
            self._wake_up.wait(min(left, due))
