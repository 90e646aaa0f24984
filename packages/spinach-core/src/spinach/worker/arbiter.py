"""The arbiter: fetches jobs for the worker threads and keeps the process alive in
the eyes of the broker.

1. What is due goes first: a beat, a reconciliation, a recovery, due jobs, and news of tasks
   that came or went, for which it ends the subscriber's wait.
2. Threads idle or buffer low, and jobs known to be there: it fetches, over a distant line
   after a moment for threads that are about to be idle.
3. Threads idle and nothing known: it hands its turn to the subscriber.
4. Nothing to do: it waits for its wake_up or for the next thing that is due.
5. Told to stop: it gives the buffer back, keeps beating while jobs run and
   outcomes are on their way, and leaves (I20).

It never sleeps in a backoff, and no user code runs on it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from spinach.brokers.calls import Verdict
from spinach.const import BLOCK_SECONDS
from spinach.support.forks import leave_child
from spinach.support.log import WORKER_LOGGER
from spinach.support.realtime import time

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from spinach.brokers.base import Broker
    from spinach.worker.consumer import Consumer
    from spinach.worker.in_flight import InFlight
    from spinach.worker.leased_job import LeasedJob
    from spinach.worker.subscriber import Subscriber
    from spinach.worker.wake_up import WakeUp

__all__ = ["STOP_FLUSH_SECONDS", "Arbiter"]


#: The arbiter looks up this often although nothing is due, in seconds.
_IDLE_WAIT_SECONDS = 60.0

#: How often an empty process looks whether other processes are done, in seconds.
_EMPTY_POLL_SECONDS = 1.0

#: How long a stop tries to reach a broker that does not answer, in seconds.
STOP_FLUSH_SECONDS = 10.0


class Arbiter:
    """What the arbiter thread does; `run` is its function.

    Args:
        broker: for its clock, and for counts.
        consumer: makes the calls.
        in_flight: between this thread and the workers.
        subscriber: waits in this thread's place.
        wake_up: this thread waits at it.
        stop_when_empty: stop by itself when the queues are empty.
        grace: how long a stop waits for running jobs; None waits for them all.
        reporting: tells whether outcomes can still be reported.
    """

    def __init__(
        self,
        broker: Broker,
        consumer: Consumer,
        in_flight: InFlight,
        subscriber: Subscriber,
        wake_up: WakeUp,
        *,
        stop_when_empty: bool,
        grace: timedelta | None,
        reporting: Callable[[], bool],
    ) -> None:
        self._broker = broker
        self._clock = broker.clock
        self._consumer = consumer
        self._in_flight = in_flight
        self._subscriber = subscriber
        self._wake_up = wake_up
        self._stop_when_empty = stop_when_empty
        self._grace = grace
        self._reporting = reporting
        # Written by any thread, each once, from False to True.
        self._stopping = False
        self._hurry = False
        # The last fetch brought nothing for the buffer; the next one waits for an idle
        # thread, since what is first in line is for those only. Asking all the same
        # made every second fetch of at-most-once jobs an empty one.
        self._barren = False
        # When the buffer gets stale, as of the last wait; monotonic seconds.
        self._stale_at = 0.0
        # This process has nothing left and was told to stop when all have.
        self._empty = False
        # The subscriber's fetch was broken off, and has not ended yet.
        self._broken_off = False

    def stop(self) -> None:
        """Ask for the stop; from any thread, again is fine."""
        self._stopping = True
        self._wake_up.set()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop, or stops by itself."""
        return self._stopping

    def hurry(self) -> None:
        """End the grace of a stop now; from any thread, again is fine."""
        self._hurry = True
        self._wake_up.set()

    def look(self) -> None:
        """Look at once what there is to do; from any thread."""
        self._wake_up.set()

    def run(self) -> None:
        """Serve until told to stop, then wind up."""
        try:
            while not self._stopping:
                again = self.step()
                leave_child()
                if not again:
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
                self._in_flight.dissolve()

    def step(self) -> bool:
        """Do what is due.

        Returns:
            Whether to look again at once.
        """
        my_turn = not self._subscriber.has_turn
        if my_turn:
            self._broken_off = False
        elif not self._broken_off and (
            self._consumer.news or self._consumer.beat_overdue_in() == 0.0
        ):
            self._broken_off = True
            self._broker.interrupt()
        self._consumer.upkeep(may_sequence=my_turn)
        if self._clock.monotonic() >= self._stale_at:
            self._in_flight.withdraw_stale()
        self._empty = self._stop_when_empty and self._looks_empty()
        if self._empty and self._queues_empty():
            WORKER_LOGGER.info(
                "Queues are empty, stopping the workers", extra={"queues": self._consumer.queues}
            )
            self._stopping = True
            return True
        return my_turn and self._consumer.can_fetch and self._fetch()

    def _fetch(self) -> bool:
        size = self._in_flight.fetch_size()
        if size.idle:
            barren, self._barren = self._barren, False
            if self._consumer.backlog:
                if barren and size.gather:
                    # Not on the broker's clock, which a test may have stopped.
                    time.sleep(size.gather)
                    if self._stopping:
                        return True
                    size = self._in_flight.fetch_size()
                came = self._consumer.fetch(idle=size.idle, extra=size.extra)
                self._barren = size.extra > 0 and came <= size.idle
                # Else each thread has a job, and rings when it wants the next one.
                return came < size.idle
            most = _EMPTY_POLL_SECONDS if self._stop_when_empty else BLOCK_SECONDS
            self._subscriber.take_turn(
                idle=size.idle,
                extra=size.extra,
                block_seconds=self._consumer.prepare_wait(most),
            )
        elif size.low and not self._barren and self._consumer.backlog:
            self._barren = self._consumer.fetch(idle=0, extra=size.extra) == 0
            return not self._barren
        return False

    def _looks_empty(self) -> bool:
        """Whether it is worth asking the broker if all is done.

        A fetch must have said so before: it also tells of parked jobs that this
        process can run, which the counts do not distinguish from others.
        """
        return self._consumer.joined and not self._consumer.backlog and self._in_flight.empty

    def _queues_empty(self) -> bool:
        """Whether the consumed queues hold nothing to do, over all processes.

        Queues are counted twice where there are several, because a job may have
        scheduled one into a queue that was counted before it.
        """
        queues = self._consumer.queues
        before: tuple[int, ...] | None = None
        for _ in range(1 if len(queues) == 1 else 2):
            counts = self._broker.counts(queues)
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
        return self._consumer.settled and self._in_flight.empty

    def _wait_seconds(self) -> float:
        their_turn = self._subscriber.has_turn
        wait = _EMPTY_POLL_SECONDS if self._empty else _IDLE_WAIT_SECONDS
        event_in = self._consumer.next_event_in(may_sequence=not their_turn)
        if event_in is not None and event_in < wait:
            wait = event_in
        if their_turn and not self._broken_off:
            overdue_in = self._consumer.beat_overdue_in()
            if overdue_in is not None and overdue_in < wait:
                wait = overdue_in
        stale_in = self._in_flight.stale_in()
        if stale_in is None:
            self._stale_at = math.inf
            return wait
        self._stale_at = self._clock.monotonic() + stale_in
        return min(wait, stale_in)

    # -- stop --------------------------------------------------------------

    def _wind_up(self) -> None:
        self._consumer.close()
        self._in_flight.close()
        if self._subscriber.has_turn:
            self._broker.interrupt()
        grace = None if self._grace is None else self._grace.total_seconds()
        self._beat_while(lambda: self._in_flight.running > 0 and not self._hurry, grace)
        for item in self._in_flight.abandon():
            self._tell_of_grace(item)
        self._beat_while(self._unsettled, STOP_FLUSH_SECONDS)
        self._consumer.leave()

    def _tell_of_grace(self, item: LeasedJob) -> None:
        """Log that the stop goes on without a job that still runs."""
        lease, seconds = item.lease, self._clock.monotonic() - item.started
        WORKER_LOGGER.warning(
            "Grace is over, and task %s still runs: job %s, for %.1f s. %s",
            item.task.name,
            lease.stored_id[1:],
            seconds,
            "It is given back, and another worker runs it again"
            if lease.repeatable
            else "Unless it ends before its lease does, it goes to the failed store",
            extra={
                "job_id": lease.stored_id[1:],
                "task": item.task.name,
                "queue": lease.queue,
                "attempt": lease.retries + 1,
                "duration_ms": seconds * 1000,
            },
        )

    def _unsettled(self) -> bool:
        if not self._reporting():
            return False
        return (
            self._in_flight.unanswered > 0
            or self._subscriber.has_turn
            or not self._consumer.settled
        )

    def _beat_while(self, busy: Callable[[], bool], most_seconds: float | None) -> None:
        """Keep the leases alive while something is going on."""
        end = None if most_seconds is None else self._clock.monotonic() + most_seconds
        while True:
            my_turn = not self._subscriber.has_turn
            self._consumer.upkeep(may_sequence=my_turn)
            leave_child()
            left = _IDLE_WAIT_SECONDS if end is None else end - self._clock.monotonic()
            if left <= 0 or not busy():
                return
            due = self._consumer.next_event_in(may_sequence=my_turn)
            self._wake_up.wait(left if due is None else min(left, due))
