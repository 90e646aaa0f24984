"""One worker process in one queue, as the process itself keeps it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from spinach.backoff import CallBackoff
from spinach.brokers.calls import FetchTurn, Turn
from spinach.const import BEATS_PER_LEASE, LEASE_MARGIN_SECONDS
from spinach.record.header import READABLE_PARKS
from spinach.support.log import WORKER_LOGGER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spinach.backoff import RandomSource
    from spinach.brokers.calls import Enrolment
    from spinach.exc import BrokerError
    from spinach.task import Task
    from spinach.worker.declaration import Declaration

__all__ = ["Membership"]


class Membership:
    """A membership of the store and what this process knows about it.

    Belongs to whichever of arbiter and subscriber has the turn; other threads read
    `safe_until` only. Once fenced it is replaced by a new one, since outcomes of
    what it fetched still go out under its name. All instants are the local
    monotonic clock's, in seconds.

    Args:
        queue: it consumes.
        lease_seconds: that the store grants.
        source: of randomness for the backoff.
    """

    __slots__ = (
        "backoff",
        "beat_at",
        "beat_seconds",
        "dead",
        "declare_at",
        "declared",
        "failing",
        "fire_backoff",
        "forgotten",
        "joined",
        "lease_seconds",
        "limits",
        "member",
        "more",
        "not_before",
        "number",
        "outdated",
        "parks",
        "periodic_at",
        "queue",
        "safe_until",
        "schedule",
        "tasks",
        "tick_at",
        "uncertain",
        "withheld",
    )

    def __init__(
        self, queue: str, lease_seconds: float, source: RandomSource | None = None
    ) -> None:
        self.queue = queue
        self.member = uuid.uuid4().hex
        self.lease_seconds = lease_seconds
        #: From one beat to the next.
        self.beat_seconds = lease_seconds / BEATS_PER_LEASE
        #: Of the last sequenced call.
        self.number = 0
        self.joined = False
        #: A sequenced call ended without an answer; the next one reconciles (I6).
        self.uncertain = False
        #: The store answered, and keeps leases back for now: it reconciles again, and beats.
        self.withheld = False
        #: It reconciles although each call was answered: the store forgot outcomes.
        self.forgotten = False
        #: No call before this instant, because the last one failed.
        self.not_before = 0.0
        self.backoff = CallBackoff(source)
        #: Calls whose last answer did not come; an answer to another one does not
        #: mean that these would be answered.
        self.failing: set[str] = set()
        #: Of firing alone: a full store refuses it, and all else goes on.
        self.fire_backoff = CallBackoff(source)
        #: A thread starts a job only before this instant (I16).
        self.safe_until = 0.0
        #: When proof of life is due.
        self.beat_at = 0.0
        #: When the first waiting job is due, if this process keeps the time.
        self.tick_at: float | None = None
        #: When the first periodic task declared here is due.
        self.periodic_at: float | None = None
        #: A dead member that the store asked us to recover.
        self.dead: str | None = None
        #: Takeable jobs were left behind by the last fetch.
        self.more = True
        #: Known tasks with parked jobs.
        self.parks: tuple[str, ...] = ()
        #: What the store was told last; None before the first join.
        self.declared: Enrolment | None = None
        #: The store is to be told anew: it declares something else by now.
        self.outdated = False
        #: Not before this instant, because the last time got no answer.
        self.declare_at = 0.0
        #: Task → limit that the store is sure to have from here, or a lower one.
        self.limits: Mapping[str, int] = {}
        #: Name → task for the jobs that come from this queue.
        self.tasks: Mapping[str, Task[..., object]] = {}
        #: Periodic tasks to fire here, by name.
        self.schedule: Mapping[str, Task[..., object]] = {}

    def plan(self, declaration: Declaration) -> None:
        """Tasks have come, changed or gone: what needs no answer of the store counts at once."""
        wanted = declaration.enrolments[self.queue]
        self.outdated = self.outdated or wanted != self.declared
        self.tasks = declaration.runnable(self.queue, self.limits, self.tasks)
        self.schedule = {
            name: declaration.tasks[name] for name in self.schedule if name in wanted.periodic
        }
        self.parks = tuple(
            park for park in self.parks if park in self.tasks or park in READABLE_PARKS
        )
        # Parks may hold jobs of what is known now; the next fetch tells.
        self.more = True

    def declares(self, declaration: Declaration) -> None:
        """The store answered the join that told it of this declaration: all of it counts."""
        told = declaration.enrolments[self.queue]
        self.declared, self.limits = told, told.limits
        self.outdated, self.declare_at = False, 0.0
        self.tasks = declaration.tasks
        self.schedule = {name: declaration.tasks[name] for name in told.periodic}
        self.more = True

    def may_declare(self, enrolment: Enrolment, now: float) -> None:
        """A join of a member got no answer: the store has what it had, or this."""
        # Later than the others: what is refused for ever may not keep jobs from being fetched.
        self.declare_at = self.not_before + (self.not_before - now)
        self.limits = {
            task: max(limit, enrolment.limits[task])
            for task, limit in self.limits.items()
            if task in enrolment.limits
        }

    def turn(self) -> Turn:
        """A turn under the next number."""
        self.number += 1
        return Turn(self.queue, self.member, self.number)

    def fetch_turn(self) -> FetchTurn:
        """A turn that takes jobs, under the next number."""
        self.number += 1
        return FetchTurn(self.queue, self.member, self.number, self.parks)

    def join_due(self, now: float) -> bool:
        """Whether the store is to be told what it declares."""
        return not self.joined or (self.outdated and now >= self.declare_at)

    def usable(self, now: float) -> bool:
        """Whether a fetch or a beat may be sent."""
        return self.joined and not self.uncertain and now >= self.not_before

    def beat_due(self, now: float, ahead: float) -> bool:
        """Whether a beat may be sent, and is due within `ahead` seconds.

        Of those half the time between two beats counts at most, so that none follows another
        at once. While an answer is withheld, a beat is all that may be sent.
        """
        if not self.joined or not (self.withheld or self.usable(now)):
            return False
        return now + min(ahead, self.beat_seconds / 2) >= self.beat_at

    def renewed(self, sent_at: float) -> None:
        """The store answered a proof of life that was sent at this instant."""
        self.safe_until = sent_at + self.lease_seconds - LEASE_MARGIN_SECONDS
        self.beat_at = sent_at + self.beat_seconds

    def failed(self, call: str, error: BrokerError | None, now: float) -> None:
        """A call got no answer: wait before the next one."""
        if not self.failing:
            WORKER_LOGGER.warning(
                "Broker of queue %s is unavailable, retrying: %s", self.queue, error,
                extra={"queue": self.queue},
            )  # fmt: skip
        self.failing.add(call)
        self.not_before = now + self.backoff.failed()

    def answered(self, call: str) -> None:
        """A call got an answer."""
        if call in self.failing:
            self.failing.remove(call)
            if not self.failing:
                WORKER_LOGGER.info(
                    "Broker of queue %s is available again", self.queue, extra={"queue": self.queue}
                )
                self.backoff.succeeded()
                self.not_before = 0.0

    @property
    def next_due(self) -> float | None:
        """When `tick` has to be called; None: not at all."""
        if self.tick_at is None or self.periodic_at is None:
            return self.periodic_at if self.tick_at is None else self.tick_at
        return min(self.tick_at, self.periodic_at)
