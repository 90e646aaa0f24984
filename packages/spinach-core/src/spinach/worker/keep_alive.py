"""The calls without a number: they keep a worker process alive, and its queues in order.

They join, beat, recover dead members, make due jobs ready and fire periodic tasks. None of these
calls moves a lease of this process, so they are made while the subscriber fetches. Only `leave`
has a number: it is made when the subscriber has ended.
"""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING

from spinach.brokers.calls import Turn, Verdict
from spinach.const import TOLERANCE_SECONDS
from spinach.support.forks import PROCESS, leave_child
from spinach.worker.housekeeping import Housekeeping

if TYPE_CHECKING:
    from collections.abc import Callable

    from spinach.brokers.base import Broker
    from spinach.job import Job
    from spinach.worker.conditions import Conditions
    from spinach.worker.in_flight import InFlight
    from spinach.worker.membership import Membership
    from spinach.worker.memberships import Memberships

__all__ = ["KeepAlive"]


class KeepAlive:
    """What the arbiter asks of the broker; used by that thread.

    Before that thread starts, the one that starts the pool makes the first step.

    Args:
        broker: bound to the engine.
        memberships: to keep.
        in_flight: runs what tells of lost jobs, and starts jobs again after a beat.
        conditions: reads the answers to beats.
        on_lost: called in a worker thread for each job that recovery failed.
    """

    def __init__(
        self,
        broker: Broker,
        memberships: Memberships,
        in_flight: InFlight,
        conditions: Conditions,
        on_lost: Callable[[Job], None],
    ) -> None:
        self._broker = broker
        self._clock = broker.clock
        self._memberships = memberships
        self._in_flight = in_flight
        self._conditions = conditions
        self._housekeeping = Housekeeping(broker, in_flight, on_lost)
        self._process = PROCESS.number
        self._closing = False
        # When the stop gives up, on the monotonic clock.
        self._until = math.inf

    def close(self) -> None:
        """From now on only beat: no joins, recoveries, ticks."""
        self._closing = True

    def end_by(self, instant: float) -> None:
        """The process has left by this instant: beat only where the lease does not last so long."""
        self._until = instant

    def next_call_in(self) -> float:
        """Seconds until `step` has something to do."""
        now = self._clock.monotonic()
        events: list[float] = []
        for member in self._memberships.all:
            if not member.joined or member.fenced:
                if not self._closing:
                    events.append(0.0 if member.fenced else member.keeping.not_before)
                continue
            due = self._beat_at(member)
            if not self._closing:
                member.note()
                if member.dead:
                    due = now
                elif member.next_due is not None:
                    due = min(due, member.next_due)
            events.append(max(due, member.keeping.not_before))
        return max(0.0, min(events) - now) if events else float("inf")

    def step(self) -> bool:
        """Make the calls that are due.

        Returns:
            Whether a queue was joined.
        """
        if self._closing:
            self._beat()
            return False
        self._memberships.complete()
        joined = False
        for member in self._memberships.all:
            # Before each join: one that waits for its answer must not delay the beats of others.
            self._beat()
            if not member.joined and self._now() >= member.keeping.not_before:
                joined = self._join(member) or joined
        for member in self._memberships.all:
            if not member.may_keep(self._now()):
                continue
            if member.dead:
                self._housekeeping.recover(member)
            member.note()
            if member.next_due is not None and self._now() >= member.next_due:
                self._housekeeping.tick(member)
        return joined

    def leave(self) -> None:
        """Leave each queue that can be left; recovery does the rest.

        The subscriber has ended.
        """
        unanswered = False
        for member in self._memberships.all:
            now = self._clock.monotonic()
            # After an outage the subscriber's calls may be answered while the arbiter still
            # pauses. That pause keeps no member from leaving, unless the broker is
            # away again: then one call has to find out, and not one for each queue.
            if member.may_fetch(now) and (member.may_keep(now) or not unanswered):
                reply = self._broker.leave(member.turn())
                self._leave_child()
                if reply.verdict is Verdict.UNKNOWN:
                    unanswered = True
                    member.keeping.failed("leave", reply.error, self._clock.monotonic())

    def _join(self, member: Membership) -> bool:
        declaration = self._memberships.declaration()
        sent_at = self._clock.monotonic()
        reply = self._broker.join(member.queue, member.member, declaration.enrolments[member.queue])
        self._leave_child()
        now = self._clock.monotonic()
        if reply.verdict is not Verdict.APPLIED:
            # FENCED: its recovery has begun. The next join has another name.
            member.keeping.failed("join", reply.error, now)
            member.member = uuid.uuid4().hex
            return False
        member.keeping.answered("join")
        member.declares(declaration)
        member.renewed(sent_at)
        member.counted_at = sent_at
        if reply.next_due_in_ms is not None:
            member.periodic_at = now + reply.next_due_in_ms / 1000
        # Last of all: from here on the subscriber uses the membership.
        member.joined = True
        return True

    def _beat(self) -> None:
        """Make the beats that are due."""
        sent_at = self._clock.monotonic()
        due = [
            member
            for member in self._memberships.all
            if sent_at + TOLERANCE_SECONDS >= self._beat_at(member) and member.may_keep(sent_at)
        ]
        if not due:
            return
        turns = [Turn(member.queue, member.member, 0) for member in due]
        progress = self._in_flight.progress({member.member for member in due})
        replies = self._broker.beat(turns, progress)
        self._leave_child()
        self._conditions.beaten(turns, replies)
        for member, reply in zip(due, replies, strict=True):
            if reply.verdict is Verdict.APPLIED:
                member.keeping.answered("beat")
                member.renewed(sent_at)
                if reply.dead is not None:
                    member.dead.append(reply.dead)
            elif reply.verdict is Verdict.FENCED:
                self._memberships.fence(member)
            else:
                member.keeping.failed("beat", reply.error, self._clock.monotonic())
        to_cancel = [pair for reply in replies for pair in reply.cancelled]
        # Without any, what was asked for before and met no job is forgotten; but others than the
        # memberships that were beaten may still wait for theirs.
        if to_cancel or len(due) == len(self._memberships.all):
            self._in_flight.request_cancel(to_cancel)
        self._in_flight.membership_renewed()

    def _beat_at(self, member: Membership) -> float:
        """When a beat is due; math.inf: the process leaves before the lease is over."""
        # At a server that does not answer, a beat would last longer than what is left of the stop.
        return math.inf if member.safe_until >= self._until else member.beat_at

    def _now(self) -> float:
        return self._clock.monotonic() + TOLERANCE_SECONDS

    def _leave_child(self) -> None:
        """After a call, in which a provider of credentials may have forked."""
        # The child of a task may start workers of its own; the thread is its parent's then.
        if self._process != PROCESS.number:
            leave_child()
