"""Requests and replies of the broker contract; records, no code.

They are msgspec structs, for the reason that `spinach.outcome` gives.

`spinach.brokers.base.Broker` says what each call does with them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping  # noqa: TC003 - fields are read at run time

import msgspec

from spinach.exc import BrokerError  # noqa: TC001 - fields are read at run time
from spinach.outcome import Failure, Lease  # noqa: TC001 - fields are read at run time

__all__ = [
    "BeatReply",
    "Cursor",
    "Deposit",
    "Enrolment",
    "FailedJob",
    "FetchReply",
    "FetchTurn",
    "FireReply",
    "JoinReply",
    "LostJob",
    "PeriodicDue",
    "QueueCounts",
    "ReconcileReply",
    "RecoverReply",
    "ReportReply",
    "TickReply",
    "Turn",
    "TurnReply",
    "Verdict",
]


class Verdict(enum.Enum):
    """How a call ended."""

    #: Carried out.
    APPLIED = "applied"
    #: Not carried out, by the rules of the call.
    REFUSED = "refused"
    #: The store does not know this membership; join under a new name.
    FENCED = "fenced"
    #: The number was used before; nothing was done.
    STALE = "stale"
    #: No answer: it may have been carried out or not.
    UNKNOWN = "unknown"


class Deposit(msgspec.Struct, frozen=True, gc=False):
    """A job to store."""

    queue: str
    #: Kind character (`0` at most once, `1` may repeat) and the job's id.
    stored_id: str
    #: Opaque but for its first line; see `spinach.record.wire`.
    record: bytes
    #: Instant it becomes ready, in ms since 1970; None is now.
    due_ms: int | None = None


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What a membership brings along."""

    lease_ms: int
    #: Task → most jobs of it that may be leased at once, over all processes.
    limits: Mapping[str, int] = {}
    #: Task → period in ms.
    periodic: Mapping[str, int] = {}
    #: For people who look at the store: host, process id, version.
    info: Mapping[str, str] = {}
    #: 0 to join. A member that declares something else from now on gives its next number, as in
    #: a `Turn`.
    number: int = 0


class Turn(msgspec.Struct, frozen=True):
    """One sequenced call of one membership."""

    queue: str
    member: str
    #: Above that of its last call; a beat has none, and 0 does for it.
    number: int


class FetchTurn(Turn, frozen=True):
    """A turn that takes jobs."""

    #: Tasks that this process knows and whose parks may hold jobs.
    parks: tuple[str, ...] = ()


class TurnReply(msgspec.Struct, frozen=True, kw_only=True):
    """What every call about one membership or queue answers."""

    verdict: Verdict
    #: With UNKNOWN: what went wrong.
    error: BrokerError | None = None


class JoinReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `join`."""

    #: Ms until a periodic task of the enrolment is due; None without any.
    next_due_in_ms: float | None = None


class BeatReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `beat`."""

    #: A member of the queue to recover; named to one caller at a time.
    dead: str | None = None
    #: The store has no memory left, so that it refuses new jobs.
    full: bool = False


class FetchReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `fetch` for one turn."""

    leases: tuple[Lease, ...] = ()
    #: How many leases the membership has; None in an answer that brings some.
    lease_count: int | None = None
    #: Takeable jobs remain in the queue: ready, or in a park that the turn named.
    more: bool = False
    #: Tasks with parked jobs, a bounded number.
    parks: tuple[str, ...] = ()
    #: Ms until the queue's next waiting job is due, with the fraction where the
    #: store's clock has one; told to one member of the queue at a time, its
    #: timekeeper, which then calls `tick`. Never less than is left, so that one
    #: call does. None: nothing waits, or another member keeps the time.
    next_due_in_ms: float | None = None
    #: A member of the queue to recover; named to one caller at a time.
    dead: str | None = None
    #: A person has paused the queue: nothing is taken, and `parks` tells nothing.
    paused: bool = False


class ReconcileReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `reconcile`."""

    #: Leases of this membership that the process does not hold.
    missing: tuple[Lease, ...] = ()
    #: (stored id, token) that the process holds and this membership does not own.
    strays: tuple[tuple[str, str], ...] = ()
    #: Further leases are missing: too many for one reply or, where `error` tells why, not to
    #: be handed out yet. It is to be asked again.
    more: bool = False


class ReportReply(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `report`."""

    #: For each outcome APPLIED, REFUSED or UNKNOWN, in order.
    verdicts: tuple[Verdict, ...]
    #: When any is UNKNOWN: what went wrong.
    error: BrokerError | None = None


class PeriodicDue(msgspec.Struct, frozen=True, kw_only=True):
    """A periodic task that is due."""

    task: str
    #: The tick's instant, in ms since 1970 on the store's clock.
    due_ms: int


class TickReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `tick`."""

    #: Declared tasks that are due now.
    due: tuple[PeriodicDue, ...] = ()
    #: Ms until a waiting job or a declared task is due next, those in `due`
    #: left out; 0 when more jobs are due than one call promotes. None: nothing.
    next_due_in_ms: float | None = None
    #: The same for declared tasks alone: what a process has to know that does not
    #: keep the time of the waiting jobs.
    next_periodic_in_ms: float | None = None


class FireReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `fire`: APPLIED, or REFUSED when another member was first."""

    #: Ms until the task is due next; None when the store does not know it.
    next_due_in_ms: float | None = None


class LostJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that recovery put into the failed store."""

    stored_id: str
    record: bytes
    retries: int
    losses: int


class RecoverReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `recover`; of several calls for one member each tells its own part."""

    #: What the dead member brought along when it joined (`Enrolment.info`); empty when that
    #: is not known any more.
    info: Mapping[str, str] = {}
    #: Jobs that were put back to the front of the queue, since they had not begun.
    ready: int = 0
    #: Jobs that run again after a delay.
    retrying: int = 0
    #: Jobs that are failed now, with `WorkerLost` as the reason.
    lost: tuple[LostJob, ...] = ()
    #: The dead member has more leases; call again.
    more: bool = False


class QueueCounts(TurnReply, frozen=True, kw_only=True):
    """How many jobs a queue holds in each place."""

    queue: str
    #: Ready to be taken.
    ready: int = 0
    #: Set aside until a slot of their task is free.
    held: int = 0
    #: Leased to memberships that are alive, and to ones that are not.
    leased: int = 0
    leased_by_dead: int = 0
    #: Waiting for their first instant, and for a retry.
    future: int = 0
    retrying: int = 0
    #: Put aside because nobody who asked knew the task.
    parked: int = 0
    #: The same by task; of a record that nobody could read by the name of its park. Tasks
    #: without any are left out.
    parks: Mapping[str, int] = {}
    failed: int = 0
    #: Live memberships.
    members: int = 0
    #: Jobs ever enqueued; grows only.
    enqueued: int = 0
    #: Ms until the first waiting job or periodic task that a live member declares
    #: is due, rounded up; negative or 0 when it is overdue; None when nothing waits.
    next_due_in_ms: int | None = None

    @property
    def unfinished(self) -> int:
        """Jobs that workers still have to do before the queue counts as empty."""
        return self.ready + self.held + self.leased + self.leased_by_dead + self.retrying


class Cursor(msgspec.Struct, frozen=True, order=True):
    """Where a job stands among those that are ordered by an instant.

    Compares as the jobs stand, those of several queues among each other, too, and tells the
    place of a job that is there no longer.
    """

    at_ms: int
    #: Among the jobs of one ms.
    order: int
    #: Settles the order where nothing else does.
    stored_id: str


class FailedJob(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the failed store."""

    stored_id: str
    record: bytes
    retries: int
    losses: int
    #: When it failed, in ms since 1970 on the store's clock.
    failed_at_ms: int
    #: Grows with the failures of one ms, as far as the store tells them apart.
    order: int = 0
    failure: Failure

    @property
    def cursor(self) -> Cursor:
        """Where it stands in the failed store."""
        return Cursor(self.failed_at_ms, self.order, self.stored_id)
