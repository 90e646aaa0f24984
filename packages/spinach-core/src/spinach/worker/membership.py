"""One worker process in one queue, as the process itself keeps it.

Two threads make calls about a membership. Each attribute has one that writes it:

- the subscriber: the number of the last call, `uncertain`, `forgotten`, `counted_at`, `parks`,
  `more`, `due_at`, `fetching`, and what was declared with `tasks` and `schedule`,
- the arbiter: `joined`, `tick_at`, `periodic_at`, `fire_backoff`, `keeping`,
- both: `safe_until` and `beat_at`, see `renewed`; `dead`; `fenced`, from False to True.

Until `joined` is set all of it is the arbiter's, and the number is again once the subscriber has
ended. Other threads read `safe_until` only.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
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

__all__ = ["Calls", "Membership"]


class _Outage:
    """Logs once that the broker of a queue does not answer, and once that it does again.

    Args:
        queue: named in the log.
    """

    __slots__ = ("_closed", "_lock", "_queue", "_threads")

    def __init__(self, queue: str) -> None:
        self._queue = queue
        # Guards what follows.
        self._lock = threading.Lock()
        # Threads of which a call is without an answer.
        self._threads = 0
        self._closed = False

    def begins(self, error: BrokerError | None) -> None:
        """A first call of a thread got no answer."""
        with self._lock:
            self._threads += 1
            if self._threads > 1 or self._closed:
                return
        WORKER_LOGGER.warning(
            "Broker of queue %s is unavailable, retrying: %s", self._queue, error,
            extra={"queue": self._queue},
        )  # fmt: skip

    def ends(self) -> None:
        """The calls of a thread are answered again."""
        with self._lock:
            self._threads -= 1
            if self._threads or self._closed:
                return
        self._tell_end()

    def close(self) -> None:
        """The membership is fenced, which the store has answered: log nothing after this."""
        with self._lock:
            lasts, self._closed = self._threads > 0, True
        if lasts:
            self._tell_end()

    def _tell_end(self) -> None:
        WORKER_LOGGER.info(
            "Broker of queue %s is available again", self._queue, extra={"queue": self._queue}
        )


class Calls:
    """The calls of one thread about a membership: which got no answer, and the pause after it.

    Args:
        outage: shared by the threads.
        source: of randomness for the backoff.
    """

    __slots__ = ("_backoff", "_outage", "failing", "not_before")

    def __init__(self, outage: _Outage, source: RandomSource | None) -> None:
        self._outage = outage
        self._backoff = CallBackoff(source)
        #: No call before this instant, because the last one got no answer.
        self.not_before = 0.0
        #: Calls whose last answer did not come; an answer to another one does not
        #: mean that these would be answered.
        self.failing: set[str] = set()

    def failed(self, call: str, error: BrokerError | None, now: float) -> None:
        """A call got no answer: wait before the next one."""
        if not self.failing:
            self._outage.begins(error)
        self.failing.add(call)
        self.not_before = now + self._backoff.failed()

    def answered(self, call: str) -> None:
        """A call got an answer."""
        if call in self.failing:
            self.failing.remove(call)
            if not self.failing:
                self._outage.ends()
                self._backoff.succeeded()
                self.not_before = 0.0


class Membership:
    """A membership of the store and what this process knows about it.

    Once fenced it is replaced by a new one, since outcomes of what it fetched still go out under
    its name. All instants are the local monotonic clock's, in seconds.

    Args:
        queue: it consumes.
        lease_seconds: that the store grants.
        source: of randomness for the backoff.
    """

    __slots__ = (
        "_noted_due",
        "_noted_periodic",
        "_number",
        "_outage",
        "_periodic_told",
        "beat_at",
        "beat_seconds",
        "counted_at",
        "dead",
        "declare_at",
        "declared",
        "due_at",
        "fenced",
        "fetching",
        "fire_backoff",
        "forgotten",
        "joined",
        "keeping",
        "lease_seconds",
        "limits",
        "member",
        "more",
        "outdated",
        "parks",
        "periodic_at",
        "planned",
        "queue",
        "safe_until",
        "schedule",
        "tasks",
        "tick_at",
        "uncertain",
    )

    def __init__(
        self, queue: str, lease_seconds: float, source: RandomSource | None = None
    ) -> None:
        self.queue = queue
        self.member = uuid.uuid4().hex
        self.lease_seconds = lease_seconds
        #: From one beat to the next.
        self.beat_seconds = lease_seconds / BEATS_PER_LEASE

        # -- both threads'
        #: A thread starts a job only before this instant (I16).
        self.safe_until = 0.0
        #: When proof of life is due.
        self.beat_at = 0.0
        #: A dead member that the store asked this process to recover, if there is one. Of two
        #: the later counts, as the store names the other one again.
        self.dead: deque[str] = deque(maxlen=1)
        #: The store knows this membership no more.
        self.fenced = False

        # Shared by the calls of both.
        self._outage = _Outage(queue)

        # -- the arbiter's
        self.joined = False
        #: Its calls: to join, to beat, to recover, to tick.
        self.keeping = Calls(self._outage, source)
        #: Of firing alone: a full store refuses it, and all else goes on.
        self.fire_backoff = CallBackoff(source)
        #: When the first waiting job is due, if this process keeps the time.
        self.tick_at: float | None = None
        #: When the first periodic task declared here is due.
        self.periodic_at: float | None = None
        # What the arbiter has seen of the two that follow.
        self._noted_due: float | None = None
        self._noted_periodic: tuple[float | None] | None = None

        # -- the subscriber's
        #: When the first waiting job is due, as the last fetch told. A new object each time.
        self.due_at: float | None = None
        self._periodic_told: tuple[float | None] | None = None
        #: Its calls: to fetch, to reconcile, to declare anew.
        self.fetching = Calls(self._outage, source)
        # Of the last sequenced call.
        self._number = 0
        #: A sequenced call ended without an answer; the next one reconciles (I6).
        self.uncertain = False
        #: It reconciles although each call was answered: the store forgot outcomes.
        self.forgotten = False
        #: When the store last told how many leases it has.
        self.counted_at = 0.0
        #: Takeable jobs were left behind by the last fetch.
        self.more = True
        #: Known tasks with parked jobs.
        self.parks: tuple[str, ...] = ()
        #: What the store was told last; None before the first join.
        self.declared: Enrolment | None = None
        #: The declaration that all that follows is made of.
        self.planned: Declaration | None = None
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

    # -- what is declared ----------------------------------------------------

    def plan(self, declaration: Declaration) -> None:
        """Tasks have come, changed or gone: what needs no answer of the store counts at once."""
        self.planned = declaration
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
        self.planned = declaration
        told = declaration.enrolments[self.queue]
        self.declared, self.limits = told, told.limits
        self.outdated, self.declare_at = False, 0.0
        self.tasks = declaration.tasks
        self.schedule = {name: declaration.tasks[name] for name in told.periodic}
        self.more = True

    def declaration_lost(self, enrolment: Enrolment, now: float) -> None:
        """A further declaration got no answer: the store has the former one, or this one."""
        # After a longer pause than other calls: a declaration that never gets an answer must not
        # keep jobs from being fetched.
        not_before = self.fetching.not_before
        self.declare_at = not_before + (not_before - now)
        self.limits = {
            task: max(limit, enrolment.limits[task])
            for task, limit in self.limits.items()
            if task in enrolment.limits
        }

    # -- both threads' -------------------------------------------------------

    def end_outage(self) -> None:
        """It was found to be fenced, so the store answers; the log hears of no further outage."""
        self._outage.close()

    # -- the subscriber's calls ----------------------------------------------

    def turn(self) -> Turn:
        """A turn under the next number."""
        self._number += 1
        return Turn(self.queue, self.member, self._number)

    def fetch_turn(self) -> FetchTurn:
        """A turn that takes jobs, under the next number."""
        self._number += 1
        return FetchTurn(self.queue, self.member, self._number, self.parks)

    def may_fetch(self, now: float) -> bool:
        """Whether it can be fetched from now."""
        free = self.joined and not self.fenced and not self.uncertain
        return free and now >= self.fetching.not_before

    def tell_periodic(self, at: float | None) -> None:
        """The subscriber has declared anew: when the first periodic task is due."""
        self._periodic_told = (at,)

    # -- the arbiter's calls -------------------------------------------------

    def may_keep(self, now: float) -> bool:
        """Whether a beat, a recovery or a tick may be sent."""
        return self.joined and not self.fenced and now >= self.keeping.not_before

    def note(self) -> bool:
        """Take over the instants that the subscriber's calls told; whether there are new ones."""
        due_at, told = self.due_at, self._periodic_told
        news = due_at is not self._noted_due
        if news:
            self._noted_due = self.tick_at = due_at
        if told is not None and told is not self._noted_periodic:
            self._noted_periodic = told
            (self.periodic_at,) = told
        return news

    @property
    def next_due(self) -> float | None:
        """When `tick` has to be called; None: not at all."""
        if self.tick_at is None or self.periodic_at is None:
            return self.periodic_at if self.tick_at is None else self.tick_at
        return min(self.tick_at, self.periodic_at)

    def renewed(self, sent_at: float) -> None:
        """The store answered a proof of life that was sent at this instant."""
        # Two threads may do this at once, and the earlier instant may overwrite the later one.
        # It is true as well: threads stop to start jobs sooner, and the next beat goes out sooner.
        self.safe_until = max(self.safe_until, sent_at + self.lease_seconds - LEASE_MARGIN_SECONDS)
        self.beat_at = max(self.beat_at, sent_at + self.beat_seconds)
