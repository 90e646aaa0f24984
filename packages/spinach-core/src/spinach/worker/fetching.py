"""The calls with a number, of which each membership makes one at a time.

The subscriber makes them. It fetches, reconciles where a call got no answer, and declares anew when
tasks came or went. What a fetch brings goes to the in-flight jobs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from msgspec import structs

from spinach.brokers.calls import Verdict
from spinach.const import MAX_FETCH_BYTES, TOLERANCE_SECONDS, WORKER_LOST
from spinach.outcome import Failure, Outcome, OutcomeKind
from spinach.record.header import READABLE_PARKS, UnreadableRecord, read_header
from spinach.record.ids import job_id_of
from spinach.record.options import keep_ms_of, read_options
from spinach.support.forks import leave_child
from spinach.support.log import JOB_LOGGER, WORKER_LOGGER
from spinach.worker.buffer import LeasedJob
from spinach.worker.housekeeping import tell_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spinach.brokers.calls import FetchReply, TurnReply
    from spinach.brokers.working import WorkingRole
    from spinach.job import Job
    from spinach.outcome import Lease
    from spinach.worker.conditions import Conditions
    from spinach.worker.in_flight import InFlight
    from spinach.worker.membership import Membership
    from spinach.worker.memberships import Memberships

__all__ = ["Fetching"]

#: A wait for a wake-up is no shorter than this, in seconds.
_LEAST_WAIT_SECONDS: Final = 0.1

_FORGOTTEN: Final = (
    "The job ran, but the broker forgot its outcome, as a replica may that takes over. "
    "It runs at most once."
)


class Fetching:
    """What the subscriber asks of the broker; used by that thread.

    Args:
        broker: bound to the engine.
        memberships: to fetch for.
        in_flight: gets what is fetched.
        conditions: reads the answers to fetches.
        wake_arbiter: called when an answer gives the arbiter something to do.
        on_lost: called in a worker thread for each job that failed without an outcome.
    """

    def __init__(
        self,
        broker: WorkingRole,
        memberships: Memberships,
        in_flight: InFlight,
        conditions: Conditions,
        *,
        wake_arbiter: Callable[[], None],
        on_lost: Callable[[Job], None],
    ) -> None:
        self._broker = broker
        self._clock = broker.clock
        self._memberships = memberships
        self._in_flight = in_flight
        self._conditions = conditions
        self._wake_arbiter = wake_arbiter
        self._on_lost = on_lost

    # -- state ---------------------------------------------------------------

    @property
    def can_fetch(self) -> bool:
        """Whether any queue can be fetched from now."""
        now = self._now()
        return any(member.may_fetch(now) for member in self._memberships.all)

    @property
    def backlog(self) -> bool:
        """Whether the last fetch left takeable jobs behind; any thread may ask."""
        now = self._now()
        return any(member.more and member.may_fetch(now) for member in self._memberships.all)

    @property
    def settled(self) -> bool:
        """Whether no membership waits for a reconciliation; any thread may ask."""
        return not any(member.uncertain and not member.fenced for member in self._memberships.all)

    def next_call_in(self, *, closing: bool) -> float:
        """Seconds until `catch_up` has something to do, or a pause ends; math.inf: not planned.

        Args:
            closing: nothing is fetched or declared any more.
        """
        now = self._clock.monotonic()
        events = [math.inf]
        for member in self._memberships.all:
            if not member.joined or member.fenced:
                continue
            calls = member.fetching
            if member.uncertain:
                events.append(calls.not_before)
            elif not closing:
                if calls.not_before > now:
                    events.append(calls.not_before)
                if member.outdated:
                    events.append(max(member.declare_at, calls.not_before))
        return max(0.0, min(events) - now)

    def wait_seconds(self, most: float) -> float:
        """How long a fetch may wait for a wake-up without delaying another call for long."""
        return max(_LEAST_WAIT_SECONDS, min(most, self.next_call_in(closing=False)))

    @property
    def count_in(self) -> float:
        """Seconds until a fetch is due that asks for no job, only for the number of leases (I6).

        A fetch that brings jobs does not tell that number. A process that was not told for the
        time of a lease, since each fetch brought jobs, asks. math.inf: nothing can be fetched
        from.
        """
        now = self._clock.monotonic()
        events = [
            member.counted_at + member.lease_seconds
            for member in self._memberships.all
            if member.may_fetch(now + TOLERANCE_SECONDS)
        ]
        return max(0.0, min(events) - now) if events else math.inf

    # -- calls ---------------------------------------------------------------

    def catch_up(self, *, closing: bool) -> None:
        """Make the calls that go before a fetch: reconcile, declare anew, count parked jobs.

        Args:
            closing: nothing is fetched or declared any more.
        """
        if not closing:
            self._plan()
        for member in self._memberships.all:
            now = self._now()
            if not member.joined or member.fenced or now < member.fetching.not_before:
                continue
            if member.uncertain:
                self._reconcile(member)
            elif member.outdated and not closing and now >= member.declare_at:
                self._declare(member)
        if not closing:
            self._conditions.count()
            leave_child()

    def fetch(self, *, idle: int, extra: int, block_seconds: float = 0.0) -> int:
        """Fetch from every queue that can be fetched from, and hand the jobs over.

        Args:
            idle: threads that wait.
            extra: jobs for the buffer.
            block_seconds: how long to wait for a wake-up first.

        Returns:
            How many jobs came that can run here.
        """
        sent_at = self._clock.monotonic()
        members = [m for m in self._memberships.all if m.may_fetch(sent_at + TOLERANCE_SECONDS)]
        if not members:
            return 0
        turns = [member.fetch_turn() for member in members]
        # Counted before: outcomes may be answered meanwhile, but only this thread brings leases.
        held = [self._in_flight.held_count(turn.member) for turn in turns]
        replies = self._broker.fetch(
            turns,
            idle=idle,
            extra=extra,
            max_bytes=MAX_FETCH_BYTES,
            block_seconds=block_seconds,
        )
        leave_child()
        now = self._clock.monotonic()
        if not block_seconds:
            self._in_flight.fetch_took(now - sent_at)
        self._plan()
        came = handed_over = 0
        for member, reply, most in zip(members, replies, held, strict=True):
            if self._accept(member, "fetch", reply):
                if reply.lease_count is not None:
                    self._compare(member, reply.lease_count, most, now)
                came += len(reply.leases)
                handed_over += self._take_in(member, reply, now)
        if idle and not came:
            # Nothing is left to take, except in parks that these turns did not name.
            for member, turn in zip(members, turns, strict=True):
                member.more = bool(set(member.parks) - set(turn.parks))
        return handed_over

    def _plan(self) -> None:
        """Note which tasks there are now."""
        declaration = self._memberships.declaration()
        for member in self._memberships.all:
            if member.joined and member.planned is not declaration:
                member.plan(declaration)

    def _declare(self, member: Membership) -> None:
        """Tell a queue what a member of it declares by now."""
        declaration = self._memberships.declaration()
        enrolment = structs.replace(
            declaration.enrolments[member.queue], number=member.turn().number
        )
        sent_at = self._clock.monotonic()
        reply = self._broker.join(member.queue, member.member, enrolment)
        leave_child()
        now = self._clock.monotonic()
        if reply.verdict is Verdict.UNKNOWN:
            member.fetching.failed("declare", reply.error, now)
            member.declaration_lost(enrolment, now)
        elif self._accept(member, "declare", reply):
            member.declares(declaration)
            due_in_ms = reply.next_due_in_ms
            member.tell_periodic(None if due_in_ms is None else now + due_in_ms / 1000)
            self._renewed(member, sent_at)

    def _reconcile(self, member: Membership) -> None:
        sent_at = self._clock.monotonic()
        reply = self._broker.reconcile(member.turn(), self._in_flight.held(member.member))
        leave_child()
        if not self._accept(member, "reconcile", reply):
            return
        if reply.error is not None:
            member.fetching.failed("reconcile", reply.error, self._clock.monotonic())
        self._renewed(member, sent_at)
        forgotten = member.forgotten
        member.uncertain = reply.more
        member.forgotten = forgotten and reply.more
        member.more = True
        for lease in self._in_flight.settle(member.member, reply.strays):
            WORKER_LOGGER.warning(
                "Lease of job %s expired while it runs; its outcome will not count, and another "
                "worker may run it as well",
                job_id_of(lease.stored_id),
                extra={"job_id": job_id_of(lease.stored_id), "queue": lease.queue},
            )
        again = reply.missing
        if forgotten:
            # Each call was answered, so a lease that is missing here has ended here.
            again = tuple([lease for lease in reply.missing if lease.repeatable])
            for lease in reply.missing:
                if not lease.repeatable:
                    self._fail_forgotten(lease)
        self._put_leases(member, again)

    def _accept(self, member: Membership, call: str, reply: TurnReply) -> bool:
        """Note how a call ended; whether its reply counts."""
        if member.fenced:
            # A beat has found it fenced meanwhile. Other processes recover what was leased here.
            return False
        if reply.verdict is Verdict.APPLIED:
            if reply.error is None:
                member.fetching.answered(call)
            return True
        if reply.verdict is Verdict.UNKNOWN:
            member.uncertain = True
            member.fetching.failed(call, reply.error, self._clock.monotonic())
        elif reply.verdict is Verdict.STALE:
            # A copy of an earlier call came late; what it brought is not known here.
            member.uncertain = True
        else:
            self._memberships.fence(member)
            self._wake_arbiter()
        return False

    def _renewed(self, member: Membership, sent_at: float) -> None:
        member.renewed(sent_at)
        self._in_flight.membership_renewed()
        # Its beat is due later, and other tasks may be due.
        self._wake_arbiter()

    # -- what the answers bring ----------------------------------------------

    def _compare(self, member: Membership, count: int, held: int, now: float) -> None:
        """Compare what the store counts with what was held when the fetch was sent (I6)."""
        member.counted_at = now
        if count > held:
            # A store that went back to an earlier state, as after a failover, has forgotten
            # outcomes that it answered. Nothing else would end those leases.
            member.uncertain = member.forgotten = True

    def _take_in(self, member: Membership, reply: FetchReply, now: float) -> int:
        member.parks = tuple(
            [park for park in reply.parks if park in member.tasks or park in READABLE_PARKS]
        )
        self._conditions.fetched(member.queue, reply)
        member.more = reply.more or bool(member.parks)
        if reply.dead is not None:
            member.dead.append(reply.dead)
            self._wake_arbiter()
        if reply.next_due_in_ms is None:
            member.due_at = None
        else:
            known = member.tick_at
            member.due_at = now + reply.next_due_in_ms / 1000
            if known is None or member.due_at < known:
                self._wake_arbiter()
        return self._put_leases(member, reply.leases)

    def _put_leases(self, member: Membership, leases: Sequence[Lease]) -> int:
        """Give leases to the worker threads; park what this process cannot run (I13).

        Returns:
            How many the threads got.
        """
        leased_jobs = []
        for lease in leases:
            try:
                header = read_header(lease.record)
                options = read_options(lease.record) if header.flags else None
            except UnreadableRecord as exc:
                self._park(lease, exc.park, str(exc))
                continue
            name = header.task
            task = member.tasks.get(name)
            if task is not None:
                leased_jobs.append(LeasedJob(lease, member, task, options))
            elif name not in self._memberships.declaration().tasks:
                self._park(lease, name, "its task is unknown here; another release may know it")
            elif "declare" in member.fetching.failing:
                self._park(lease, name, "the limit of its task could not be declared yet")
            else:
                # It was leased before its limit was declared. The declaration is the next call.
                self._post(OutcomeKind.RELEASE, lease, name)
        if leased_jobs:
            self._in_flight.put(leased_jobs)
        return len(leased_jobs)

    def _park(self, lease: Lease, task: str, reason: str) -> None:
        JOB_LOGGER.info(
            "Job parked: %s %s, %s", task, job_id_of(lease.stored_id), reason,
            extra={"job_id": job_id_of(lease.stored_id), "task": task, "queue": lease.queue},
        )  # fmt: skip
        self._post(OutcomeKind.PARK, lease, task)

    def _post(self, kind: OutcomeKind, lease: Lease, task: str) -> None:
        """Report that a job goes back to its queue; its cancel may have been asked for by now."""
        self._in_flight.post(Outcome(kind, lease, task, keep_ms=keep_ms_of(lease.record)))

    def _fail_forgotten(self, lease: Lease) -> None:
        """Fail a job that ran, but whose outcome the store forgot, and that may not run again."""
        failure = Failure(error=WORKER_LOST, message=_FORGOTTEN)
        try:
            task = read_header(lease.record).task
        except UnreadableRecord:
            task = ""
        keep_ms = keep_ms_of(lease.record)
        self._in_flight.post(
            Outcome(OutcomeKind.FAILED, lease, task, failure=failure, keep_ms=keep_ms)
        )
        tell_lost(self._in_flight, self._on_lost, self._broker.namespace, lease.queue, lease)

    def _now(self) -> float:
        return self._clock.monotonic() + TOLERANCE_SECONDS
