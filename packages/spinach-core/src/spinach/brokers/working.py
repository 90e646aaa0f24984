"""Working: the role that a worker process calls to fetch jobs and to report their outcomes.

A membership is one worker process in one queue. `fetch`, `reconcile`, `leave` and a `join` that
declares anew carry its number, one above the last one the engine used; the engine has one such
call under way per membership. The store remembers the last number: a call whose number is not
above it answers STALE and does nothing. Where the store does not know the member, each call
answers FENCED, a beat as well.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping  # noqa: TC003 - fields are read at run time
from typing import TYPE_CHECKING

import msgspec

from spinach.brokers.role import Role
from spinach.brokers.verdict import TurnReply, Verdict
from spinach.exc import BrokerError  # noqa: TC001 - fields are read at run time
from spinach.outcome import Lease  # noqa: TC001 - fields are read at run time
from spinach.progress import Progress  # noqa: TC001 - fields are read at run time
from spinach.record.ids import StoredId  # noqa: TC001 - fields are read at run time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.outcome import Outcome

__all__ = [
    "BeatProgress",
    "BeatReply",
    "Enrolment",
    "FetchReply",
    "FetchTurn",
    "JoinReply",
    "ReconcileReply",
    "ReportReply",
    "Turn",
    "WorkingRole",
]


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What a membership brings along."""

    lease_ms: int
    #: Task → most jobs of it that may be leased at once, over all processes.
    limits: Mapping[str, int] = {}
    #: Task → period in ms.
    periodic: Mapping[str, int] = {}
    #: For people who look at the store: host, process id, version, number of threads; and what
    #: the memberships of a process have in common.
    info: Mapping[str, str] = {}
    #: 0 to join. A member that declares something else from now on gives its next number, as in
    #: a `Turn`.
    number: int = 0


class Turn(msgspec.Struct, frozen=True):
    """A membership, and the number of a call that it makes."""

    queue: str
    member: str
    #: Above that of its last call with a number. A beat has no number, and passes 0.
    number: int


class FetchTurn(Turn, frozen=True):
    """A turn that takes jobs."""

    #: Tasks that this process knows and whose parks may hold jobs.
    parks: tuple[str, ...] = ()


class JoinReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `join`."""

    #: Ms until a periodic task of the enrolment is due; None without any.
    next_due_in_ms: float | None = None


class BeatProgress(msgspec.Struct, frozen=True):
    """What a beat tells of a job that runs."""

    queue: str
    member: str
    stored_id: StoredId
    token: str
    progress: Progress


class BeatReply(TurnReply, frozen=True, kw_only=True):
    """Answer of `beat`."""

    #: A member of the queue to recover; named to one caller at a time.
    dead: str | None = None
    #: The store has no memory left, so that it refuses new jobs.
    full: bool = False
    #: (stored id, token) of leases of this membership whose cancel was asked for: each time, as
    #: long as they stand, and a bounded number.
    cancelled: tuple[tuple[str, str], ...] = ()


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
    #: be handed out yet. Call again.
    more: bool = False


class ReportReply(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `report`."""

    #: For each outcome APPLIED, REFUSED or UNKNOWN, in order.
    verdicts: tuple[Verdict, ...]
    #: Positions of those applied ones after which the job would have gone back to a queue. It is
    #: gone, since its cancel had been asked for (I22).
    cancelled: tuple[int, ...] = ()
    #: When any is UNKNOWN: what went wrong.
    error: BrokerError | None = None


class WorkingRole(Role):
    """Hands out jobs under leases, and takes their outcomes."""

    @abstractmethod
    def join(self, queue: str, member: str, enrolment: Enrolment) -> JoinReply:
        """Make `member` a member of the queue, with number 0 and a fresh lease.

        Registers the queue, the member's limits (I10) and its periodic tasks
        (I15): one that is absent becomes due one interval from now, one whose
        interval changed is reset to now + interval if that is earlier. Hands out
        no job. Joining twice under one name changes nothing but the lease.

        A member declares anew by joining again with the next number in the
        enrolment: what it declared before is replaced, and its leases stay. Limits
        that it no longer declares end as if it had left. A number that is not above
        the last one answers STALE, a member whose recovery began FENCED.
        """

    @abstractmethod
    def fetch(
        self,
        turns: Sequence[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        block_seconds: float = 0.0,
    ) -> list[FetchReply]:
        """Lease jobs to memberships of this process, in strict order of the turns.

        With `block_seconds` it first waits until something may be takeable in
        one of the queues, `interrupt` is called, or the time is over, and fetches
        in each case. One new job wakes one waiting process (I14). So does a job for
        the future that is due before all others, since a member has to keep its time.

        Jobs come from each queue, in order, until `idle + extra` are taken in all:

        1. from the parks that the turn names;
        2. the first ready jobs whatever they are, as *direct* leases, while fewer
           than `idle` are taken in all;
        3. further ready jobs as *buffered* leases, up to the first that is at most
           once, direct-only or limited (I9).

        Jobs of a limited task that find no slot are held, in order, until one is
        free (I10).

        Args:
            turns: distinct memberships; at least one.
            idle: threads that wait for a job now; bounds the direct leases.
            extra: further jobs for the buffer.
            max_bytes: the records of one call stay below it; one job larger
                than that is handed out alone.
            block_seconds: 0 does not wait.

        Returns:
            A reply for each turn, in order.
        """

    @abstractmethod
    def beat(self, turns: Sequence[Turn], progress: Sequence[BeatProgress] = ()) -> list[BeatReply]:
        """Prove life: the lease of each membership starts anew.

        A beat moves no lease, so it has no number: the broker ignores that of the turn. It may
        be made while another call of the membership is under way, and never answers STALE. One
        that got no answer leaves nothing open.

        Args:
            turns: distinct memberships.
            progress: of jobs of these memberships. It is kept as long as the lease, and replaces
                what was told before; that of a lease which is not current changes nothing. A
                store that is full may leave it out.
        """

    @abstractmethod
    def reconcile(self, turn: Turn, held: Sequence[tuple[str, str]]) -> ReconcileReply:
        """Agree on the leases after a reply was lost (I6); proves life, as `beat` does.

        Args:
            turn: as in every sequenced call.
            held: (stored id, token) of each lease that the process holds: received,
                and its outcome not answered yet.

        Returns:
            The leases of this membership that are not in `held`, the oldest first and
            as many as one reply may carry, and the pairs in `held` that this membership
            does not own.
        """

    @abstractmethod
    def leave(self, turn: Turn) -> TurnReply:
        """End the membership; REFUSED while it has leases. Wakes another process
        if jobs are takeable."""

    @abstractmethod
    def interrupt(self) -> None:
        """End the wait of the `fetch` that waits now; if none does, the next one does not wait."""

    @abstractmethod
    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        """Tell what became of leases, in order (I5).

        An outcome counts only where its lease is the current one of that job;
        anything else answers REFUSED and changes nothing, so that repeating a
        report is safe. What becomes of the job says `OutcomeKind`; one that expired or was
        cancelled is gone as one that succeeded is. Each that counts frees the job's slot and
        moves one job that waits for it to the front of the queue. Releases of one call keep
        their order and go to the front.
        """
