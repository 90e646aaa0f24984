"""A worker process's side of the broker contract: joins, fetches, beats.

It keeps the memberships, one a queue, and makes the calls that carry their numbers.
Those are made by one thread at a time, the one that has the turn: the arbiter, or
the subscriber while it waits for a wake-up.
"""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING

from msgspec import structs

from spinach.brokers.calls import Turn, Verdict
from spinach.const import BLOCK_SECONDS, MAX_FETCH_BYTES
from spinach.outcome import Outcome, OutcomeKind
from spinach.record import wire
from spinach.support.forks import leave_child
from spinach.support.log import JOB_LOGGER, WORKER_LOGGER
from spinach.support.process import PROCESS
from spinach.worker.conditions import Conditions
from spinach.worker.housekeeping import Housekeeping
from spinach.worker.leased_job import LeasedJob
from spinach.worker.membership import Membership

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spinach.backoff import RandomSource
    from spinach.brokers.base import Broker
    from spinach.brokers.calls import FetchReply, TurnReply
    from spinach.job import Job
    from spinach.outcome import Lease
    from spinach.worker.declaration import Declaration
    from spinach.worker.in_flight import InFlight

__all__ = ["Consumer"]


#: A fetch that waits may end so long after the next beat is due. Two waits take a little
#: longer than the time between two beats, and one cut short for that costs a call more.
_OVERRUN_SECONDS = 1.0

#: The answer to such a fetch takes two seconds more at most. Later it is only after the
#: process, or its clock, stood still meanwhile.
_BEAT_SLACK_SECONDS = _OVERRUN_SECONDS + 2.0

#: Sums of float seconds that should be equal may differ by less than this. A clock
#: that a test turns stands exactly at the instant that is due.
_TOLERANCE_SECONDS = 1e-6


class Consumer:
    """Memberships of one pool and the calls they make; not thread safe but for `tasks_changed`.

    Args:
        broker: bound to the engine.
        declare: what this process declares now, to these queues at least: those that it
            consumes already come first.
        in_flight: gets what is fetched.
        on_lost: called in a worker thread for each job that recovery failed.
        source: of randomness for the backoff.
    """

    def __init__(
        self,
        broker: Broker,
        declare: Callable[[Sequence[str]], Declaration],
        in_flight: InFlight,
        on_lost: Callable[[Job], None],
        source: RandomSource | None = None,
    ) -> None:
        self._broker = broker
        self._clock = broker.clock
        self._declare = declare
        self._in_flight = in_flight
        self._source = source
        self._process = PROCESS.number
        self._closing = False
        self._leaving = False
        # Nothing is due before this instant, so that the arbiter, which looks at each
        # of its steps, need not go through the memberships. 0 when something changed.
        self._quiet_until = 0.0
        self._housekeeping = Housekeeping(broker, in_flight, on_lost)
        self._conditions = Conditions(broker, lambda name: name in self._declaration.tasks)
        self._memberships: list[Membership] = []
        self._declaration: Declaration
        self._take_note()
        # Written by any thread: tasks have come or gone. At first as well, since nobody tells a
        # pool that is being made: what came meanwhile is seen before it joins.
        self._news = True

    # -- state -------------------------------------------------------------

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues consumed, in order of preference."""
        return tuple(member.queue for member in self._memberships)

    @property
    def news(self) -> bool:
        """Whether tasks have come or gone that it has not taken note of."""
        return self._news and not self._closing

    @property
    def can_fetch(self) -> bool:
        """Whether any queue can be fetched from now."""
        now = self._clock.monotonic()
        return any(member.usable(now) for member in self._memberships)

    @property
    def backlog(self) -> bool:
        """Whether the last fetch left takeable jobs behind."""
        now = self._clock.monotonic()
        return any(member.more and member.usable(now) for member in self._memberships)

    @property
    def joined(self) -> bool:
        """Whether every queue was joined, and told of all tasks there are now."""
        return not self.news and all(
            member.joined and not member.outdated for member in self._memberships
        )

    @property
    def settled(self) -> bool:
        """Whether no membership waits for a reconciliation."""
        return not any(member.uncertain for member in self._memberships)

    def next_event_in(self, *, may_sequence: bool = True) -> float | None:
        """Seconds until `upkeep` has something to do; None: nothing is planned."""
        if may_sequence and self.news:
            return 0.0
        now = self._clock.monotonic()
        if may_sequence and self._quiet_until > 0.0:
            return max(0.0, self._quiet_until + _TOLERANCE_SECONDS - now)
        events: list[float] = []
        for member in self._memberships:
            if not member.joined or member.uncertain:
                if may_sequence and (member.joined or not self._closing):
                    beat_at = member.beat_at if member.withheld else math.inf
                    events.append(min(member.not_before, beat_at))
                continue
            plans = [member.beat_at] if may_sequence else []
            if member.outdated and may_sequence and not self._closing:
                # Before it tries again the other calls may.
                plans.append(member.declare_at if now >= member.not_before else now)
            if member.dead is not None and not self._closing:
                plans.append(now)
            if member.next_due is not None and not self._closing:
                plans.append(member.next_due)
            if plans:
                events.append(max(min(plans), member.not_before))
        return max(0.0, min(events) - now) if events else None

    def beat_overdue_in(self) -> float | None:
        """Seconds until a beat is so late that a waiting fetch should be broken off."""
        now = self._clock.monotonic()
        beats = [m.beat_at for m in self._memberships if m.usable(now)]
        return max(0.0, min(beats) + _BEAT_SLACK_SECONDS - now) if beats else None

    def tasks_changed(self) -> None:
        """Tasks have come or gone; from any thread, takes effect at the next upkeep."""
        self._news = True

    def close(self) -> None:
        """From now on only keep what is left alive: no joins, recoveries, ticks."""
        self._closing = True
        self._quiet_until = 0.0

    def _take_note(self) -> None:
        """Learn which tasks there are now; to be called by the thread that has the turn."""
        # First of all, so that whatever comes meanwhile is news again.
        self._news = False
        self._declaration = self._declare(self.queues)
        for member in self._memberships:
            member.plan(self._declaration)
        for queue in list(self._declaration.enrolments)[len(self._memberships) :]:
            self._memberships.append(self._new_membership(queue))
        self._quiet_until = 0.0

    # -- sequenced calls ---------------------------------------------------

    def upkeep(self, *, may_sequence: bool = True) -> None:
        """Make the calls that are due: join, beat, reconcile, then recover and tick.

        Args:
            may_sequence: False while another thread has the turn; then only calls
                without a number are made.
        """
        if self._clock.monotonic() < self._quiet_until and not self.news:
            return
        if may_sequence and self.news:
            self._take_note()
        self._quiet_until = math.inf
        if may_sequence:
            for index in range(len(self._memberships)):
                # A server that does not answer takes its time, and others' leases go on.
                self._beat()
                member = self._memberships[index]
                if self._clock.monotonic() < member.not_before:
                    continue
                if member.joined and member.uncertain:
                    self._reconcile(index)
                elif not self._closing and member.join_due(
                    self._clock.monotonic() + _TOLERANCE_SECONDS
                ):
                    self._join(index)
        if not self._closing:
            for member in self._memberships:
                if not member.usable(self._clock.monotonic()):
                    continue
                if member.dead is not None:
                    self._housekeeping.recover(member)
                due = member.next_due
                if due is not None and self._clock.monotonic() + _TOLERANCE_SECONDS >= due:
                    self._housekeeping.tick(member, may_beat=may_sequence)
            if may_sequence:
                self._conditions.count()
        news, self._quiet_until = self._quiet_until == 0.0, 0.0
        due_in = self.next_event_in()
        if due_in is not None and may_sequence and not news:
            self._quiet_until = self._clock.monotonic() + due_in - _TOLERANCE_SECONDS

    def prepare_wait(self, most: float = BLOCK_SECONDS) -> float:
        """Make ready for a fetch that waits: a beat that would cut it short goes before it.

        Returns:
            How long it may wait without delaying another call with a number for long.
        """
        self._beat(ahead=max(0.0, most - _OVERRUN_SECONDS))
        now = self._clock.monotonic()
        plans = [
            m.beat_at + _OVERRUN_SECONDS if m.usable(now) else m.not_before
            for m in self._memberships
        ]
        return max(0.1, min(most, min(plans) - now))

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
        indices = [i for i, m in enumerate(self._memberships) if m.usable(sent_at)]
        turns = [self._memberships[index].fetch_turn() for index in indices]
        if not turns:
            return 0
        # Counted before: meanwhile outcomes are answered, but nobody else brings leases.
        held = [self._in_flight.held_count(turn.member) for turn in turns]
        replies = self._broker.fetch(
            turns,
            idle=idle,
            extra=extra,
            max_bytes=MAX_FETCH_BYTES,
            block_seconds=block_seconds,
        )
        self._leave_child()
        now = self._clock.monotonic()
        if not block_seconds:
            self._in_flight.fetch_took(now - sent_at)
        if self.news:
            self._take_note()
        came = handed_over = 0
        for index, reply, most in zip(indices, replies, held, strict=True):
            if self._accept(index, "fetch", reply):
                if reply.lease_count is not None and reply.lease_count > most:
                    # A store that went back to an earlier state, as after a failover, has
                    # forgotten outcomes that it answered. Nobody else would end those leases.
                    self._memberships[index].uncertain = self._memberships[index].forgotten = True
                    self._quiet_until = 0.0
                came += len(reply.leases)
                handed_over += self._take_in(self._memberships[index], reply, now)
        if idle and not came:
            # Nothing to be had now but what lies in parks that were not asked for.
            for index, turn in zip(indices, turns, strict=True):
                member = self._memberships[index]
                member.more = bool(set(member.parks) - set(turn.parks))
        return handed_over

    def leave(self) -> None:
        """Leave each queue that can be left; recovery does the rest."""
        self._leaving = True
        now = self._clock.monotonic()
        for index, member in enumerate(self._memberships):
            if member.usable(now):
                self._accept(index, "leave", self._broker.leave(member.turn()))

    def _join(self, index: int) -> None:
        """Join a queue, or tell it what a member of it declares by now."""
        member, again = self._memberships[index], self._memberships[index].joined
        enrolment = self._declaration.enrolments[member.queue]
        if again:
            enrolment = structs.replace(enrolment, number=member.turn().number)
        sent_at = self._clock.monotonic()
        reply = self._broker.join(member.queue, member.member, enrolment)
        now = self._clock.monotonic()
        if reply.verdict is Verdict.APPLIED:
            member.answered("join")
            member.joined = True
            member.declares(self._declaration)
            member.renewed(sent_at)
            member.periodic_at = None
            if reply.next_due_in_ms is not None:
                member.periodic_at = now + reply.next_due_in_ms / 1000
            if again:
                self._in_flight.membership_renewed()
        elif not again:
            # FENCED: its recovery has begun. It tries again under another name.
            member.failed("join", reply.error, now)
            member.member = uuid.uuid4().hex
        elif reply.verdict is Verdict.UNKNOWN:
            member.failed("join", reply.error, now)
            member.may_declare(enrolment, now)
        else:
            self._accept(index, "join", reply)

    def _beat(self, ahead: float = 0.0) -> None:
        """Make the beats that are due within so many seconds."""
        sent_at = self._clock.monotonic()
        due = [
            index
            for index, member in enumerate(self._memberships)
            if member.beat_due(sent_at, ahead + _TOLERANCE_SECONDS)
        ]
        if not due:
            return
        # A death that it tells of.
        self._quiet_until = 0.0
        members = [self._memberships[index] for index in due]
        turns = [Turn(member.queue, member.member, 0) for member in members]
        replies = self._broker.beat(turns)
        self._conditions.beaten(turns, replies)
        for index, reply in zip(due, replies, strict=True):
            if reply.verdict is Verdict.UNKNOWN:
                # It leaves nothing open, so nothing is to be reconciled.
                self._memberships[index].failed("beat", reply.error, self._clock.monotonic())
            elif self._accept(index, "beat", reply):
                member = self._memberships[index]
                member.renewed(sent_at)
                member.dead = reply.dead or member.dead
        self._in_flight.membership_renewed()

    def _reconcile(self, index: int) -> None:
        member = self._memberships[index]
        sent_at = self._clock.monotonic()
        reply = self._broker.reconcile(member.turn(), self._in_flight.held(member.member))
        if not self._accept(index, "reconcile", reply):
            return
        if reply.error is not None:
            member.failed("reconcile", reply.error, self._clock.monotonic())
        member.renewed(sent_at)
        self._in_flight.membership_renewed()
        forgotten = member.forgotten
        member.uncertain = reply.more
        member.withheld = reply.error is not None
        member.forgotten = forgotten and reply.more
        member.more = True
        for lease in self._in_flight.settle(member.member, reply.strays):
            WORKER_LOGGER.warning(
                "Lease of job %s expired while it runs; its outcome will not count, and another "
                "worker may run it as well",
                lease.stored_id[1:],
                extra={"job_id": lease.stored_id[1:], "queue": lease.queue},
            )
        again = reply.missing
        if forgotten:
            # All that was fetched had come here, so what is missing has ended here.
            again = tuple(lease for lease in reply.missing if lease.repeatable)
            for lease in reply.missing:
                if not lease.repeatable:
                    self._housekeeping.fail_forgotten(lease)
        self._hand_over(member, again)

    def _accept(self, index: int, call: str, reply: TurnReply) -> bool:
        """Note how a call with a number ended; whether its reply counts."""
        self._leave_child()
        member = self._memberships[index]
        if reply.verdict is Verdict.APPLIED:
            if member.failing and reply.error is None:
                member.answered(call)
            return True
        self._quiet_until = 0.0
        if reply.verdict is Verdict.UNKNOWN:
            member.uncertain, member.withheld = True, False
            member.failed(call, reply.error, self._clock.monotonic())
        elif reply.verdict is Verdict.STALE:
            # A copy of an earlier call came late; what it brought is not known here.
            member.uncertain, member.withheld = True, False
        elif reply.verdict is Verdict.FENCED and not self._leaving:
            WORKER_LOGGER.warning(
                "Lease on queue %s expired, rejoining; other workers take over its jobs",
                member.queue,
                extra={"queue": member.queue},
            )
            self._in_flight.drop(member.member)
            self._memberships[index] = self._new_membership(member.queue)
        return False

    # -- what a fetch brings -----------------------------------------------

    def _take_in(self, member: Membership, reply: FetchReply, now: float) -> int:
        member.parks = tuple(
            park for park in reply.parks if park in member.tasks or park in wire.READABLE_PARKS
        )
        if self._conditions.fetched(member.queue, reply):
            self._quiet_until = 0.0
        member.more = reply.more or bool(member.parks)
        if reply.dead is not None:
            member.dead = reply.dead
            self._quiet_until = 0.0
        if reply.next_due_in_ms is None:
            member.tick_at = None
        else:
            before, member.tick_at = member.tick_at, now + reply.next_due_in_ms / 1000
            if before is None or member.tick_at < before:
                self._quiet_until = 0.0
        return self._hand_over(member, reply.leases)

    def _hand_over(self, member: Membership, leases: Sequence[Lease]) -> int:
        """Give leases to the worker threads; park what this process cannot run (I13).

        Returns:
            How many the threads got.
        """
        leased_jobs = []
        for lease in leases:
            try:
                name = wire.read_header(lease.record).task
            except wire.UnreadableRecord as exc:
                self._park(lease, exc.park, str(exc))
                continue
            task = member.tasks.get(name)
            if task is not None:
                leased_jobs.append(LeasedJob(lease, member, task))
            elif name not in self._declaration.tasks:
                self._park(lease, name, "its task is unknown here; another release may know it")
            elif "join" in member.failing:
                self._park(lease, name, "the limit of its task could not be declared yet")
            else:
                # It was leased before its limit was declared, which is what comes next.
                self._in_flight.post(Outcome(OutcomeKind.RELEASE, lease, name))
        if leased_jobs:
            self._in_flight.put(leased_jobs)
        return len(leased_jobs)

    def _park(self, lease: Lease, task: str, reason: str) -> None:
        JOB_LOGGER.info(
            "Job parked: %s %s, %s", task, lease.stored_id[1:], reason,
            extra={"job_id": lease.stored_id[1:], "task": task, "queue": lease.queue},
        )  # fmt: skip
        self._in_flight.post(Outcome(OutcomeKind.PARK, lease, task))

    # -- helpers -----------------------------------------------------------

    def _leave_child(self) -> None:
        """After a call, in which a provider of credentials may have forked."""
        # The child of a task may start workers of its own; the thread is its parent's then.
        if self._process != PROCESS.number:
            leave_child()

    def _new_membership(self, queue: str) -> Membership:
        lease_ms = self._declaration.enrolments[queue].lease_ms
        return Membership(queue, lease_ms / 1000, self._source)
