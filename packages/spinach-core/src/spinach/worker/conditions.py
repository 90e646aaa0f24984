"""Conditions that a worker process logs once when they begin, and once when they are over.

A queue is paused, a store is full, or jobs are parked that this process cannot run. Nothing is
broken then, but nothing goes on until a person acts. The answers to fetches and beats tell of all
three. One call is made for this alone: it counts parked jobs when those of another task appear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spinach.brokers.calls import Verdict
from spinach.const import HOUSEKEEPING_CHUNK
from spinach.exc import BrokerError
from spinach.record.header import READABLE_PARKS
from spinach.support.log import WORKER_LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spinach.brokers.calls import BeatReply, FetchReply, Turn
    from spinach.brokers.management import ManagementRole

__all__ = ["Conditions"]

#: What comes and goes, as parks do while old and new releases run, is over when it was not
#: seen for this time, in seconds. Parked jobs are counted once in a third of it at most.
_STEADY_SECONDS: Final = 30.0
_COUNT_SECONDS: Final = _STEADY_SECONDS / 3


class Conditions:
    """What was told of the queues of one process.

    The arbiter calls `beaten`, the subscriber all else; they share no data.

    Instants are the local monotonic clock's, in seconds.

    Args:
        broker: bound to the engine.
        knows: whether this process has a task of that name.
    """

    def __init__(self, broker: ManagementRole, knows: Callable[[str], bool]) -> None:
        self._broker = broker
        self._clock = broker.clock
        self._knows = knows
        # Queues that were paused when last fetched from.
        self._paused: set[str] = set()
        # When a beat last said that the store is full; None: that is over, or never was.
        self._full_at: float | None = None
        # (queue, park) → when a fetch last named it, of the parks that the log was told of.
        self._parked_at: dict[tuple[str, str], float] = {}
        # Queues where a fetch named a park that the log was not told of, and when each queue was
        # last counted.
        self._uncounted: set[str] = set()
        self._counted_at: dict[str, float] = {}

    def beaten(self, turns: Sequence[Turn], replies: Sequence[BeatReply]) -> None:
        """Read the answers of a beat."""
        full = [turn.queue for turn, reply in zip(turns, replies, strict=True) if reply.full]
        if not full and self._full_at is None:
            return
        now = self._clock.monotonic()
        if full:
            before, self._full_at = self._full_at, now
            if before is None:
                WORKER_LOGGER.warning(
                    "Broker is full: it refuses new jobs, and workers go on. Give it memory, or "
                    "let them drain queue %s", full[0], extra={"queue": full[0]},
                )  # fmt: skip
        elif (
            self._full_at is not None
            and now - self._full_at >= _STEADY_SECONDS
            # One that was not answered tells nothing.
            and any(reply.verdict is Verdict.APPLIED for reply in replies)
        ):
            self._full_at = None
            WORKER_LOGGER.info("Broker is no longer full, it takes new jobs again")

    def fetched(self, queue: str, reply: FetchReply) -> None:
        """Read the answer of a fetch that was carried out."""
        if reply.paused or self._paused:
            self._note_pause(queue, paused=reply.paused)
        if reply.paused or not (reply.parks or self._parked_at):
            return
        now = self._clock.monotonic()
        news = False
        for park in reply.parks:
            if (queue, park) in self._parked_at:
                self._parked_at[queue, park] = now
            elif not self._runs(park):
                news = True
        if len(reply.parks) < HOUSEKEEPING_CHUNK:  # else these are some of them
            self._note_end_of_parks(queue, now)
        if news and now - self._counted_at.get(queue, -_COUNT_SECONDS) >= _COUNT_SECONDS:
            self._uncounted.add(queue)

    def count(self) -> None:
        """Count what is parked where a fetch named other parks, and tell of it."""
        if not self._uncounted:
            return
        queues, now = sorted(self._uncounted), self._clock.monotonic()
        self._uncounted.clear()
        self._counted_at.update(dict.fromkeys(queues, now))
        try:
            counts = self._broker.counts(queues)
        except BrokerError:
            return  # Fetches meet it, too, and it is theirs to tell.
        for each in counts:
            news = {
                park: jobs
                for park, jobs in each.parks.items()
                if (each.queue, park) not in self._parked_at and not self._runs(park)
            }
            if not news:
                continue
            self._parked_at.update(dict.fromkeys(((each.queue, park) for park in news), now))
            WORKER_LOGGER.warning(
                "Jobs are parked in queue %s, since this process does not know their task: %s. "
                "They wait for a worker that has it attached",
                each.queue,
                ", ".join(f"{park} ({jobs})" for park, jobs in sorted(news.items())),
                extra={"queue": each.queue, "parked": news},
            )

    def _runs(self, park: str) -> bool:
        """Whether this process can run the jobs of a park."""
        return self._knows(park) or park in READABLE_PARKS

    def _note_pause(self, queue: str, *, paused: bool) -> None:
        if paused is (queue in self._paused):
            return
        if paused:
            self._paused.add(queue)
            WORKER_LOGGER.warning(
                "Queue %s is paused, workers take no job of it until it is resumed",
                queue, extra={"queue": queue},
            )  # fmt: skip
        else:
            self._paused.discard(queue)
            WORKER_LOGGER.info("Queue %s is resumed", queue, extra={"queue": queue})

    def _note_end_of_parks(self, queue: str, now: float) -> None:
        over = [
            park
            for (name, park), seen_at in self._parked_at.items()
            if name == queue and now - seen_at >= _STEADY_SECONDS
        ]
        if over:
            for park in over:
                del self._parked_at[queue, park]
            WORKER_LOGGER.info(
                "No jobs are parked in queue %s any more of: %s", queue, ", ".join(sorted(over)),
                extra={"queue": queue, "tasks": over},
            )  # fmt: skip
