"""The memberships of a worker process, one a queue, and what they declare.

The arbiter adds memberships and replaces those that were fenced. Either thread learns of tasks
that came or went, and may find that the store knows a membership no more.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from spinach.support.log import WORKER_LOGGER
from spinach.worker.membership import Membership

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spinach.backoff import RandomSource
    from spinach.worker.declaration import Declaration
    from spinach.worker.in_flight import InFlight

__all__ = ["Memberships"]


class Memberships:
    """All memberships of one pool; what is not said to be the arbiter's is any thread's.

    Args:
        declare: what this process declares now, to these queues at least: those that it
            consumes already come first.
        in_flight: drops what a fenced membership had buffered.
        source: of randomness for the backoff.
    """

    def __init__(
        self,
        declare: Callable[[Sequence[str]], Declaration],
        in_flight: InFlight,
        source: RandomSource | None = None,
    ) -> None:
        self._declare = declare
        self._in_flight = in_flight
        self._source = source
        #: In the order of preference. The arbiter alone puts another tuple here.
        self.all: tuple[Membership, ...] = ()
        # Guards the declaration, and that a membership is fenced once.
        self._lock = threading.Lock()
        # Written by any thread: tasks have come or gone. At first as well, since nobody tells a
        # pool that is being made: what came meanwhile is seen before it joins.
        self._news = True
        self._declaration: Declaration
        self.complete()

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues consumed, in order of preference."""
        return tuple([member.queue for member in self.all])

    @property
    def declared(self) -> bool:
        """Whether every queue was joined, and told of all tasks there are now."""
        declaration = self.declaration()
        return all(
            member.joined
            and not member.fenced
            and not member.outdated
            and member.planned is declaration
            for member in self.all
        ) and len(self.all) == len(declaration.enrolments)

    def tasks_changed(self) -> None:
        """Tasks have come or gone; takes effect when `declaration` is read next."""
        self._news = True

    def declaration(self) -> Declaration:
        """What this process declares by now; another object after each change."""
        if self._news:
            with self._lock:
                if self._news:
                    # First of all, so that whatever comes meanwhile is news again.
                    self._news = False
                    self._declaration = self._declare(self.queues)
        return self._declaration

    def complete(self) -> None:
        """Add memberships of new queues, and replace those that were fenced; the arbiter's."""
        declaration = self.declaration()
        queues = self.queues
        if len(queues) == len(declaration.enrolments) and not any(
            member.fenced for member in self.all
        ):
            return
        members = [self._new(member.queue) if member.fenced else member for member in self.all]
        members += [self._new(queue) for queue in declaration.enrolments if queue not in queues]
        self.all = tuple(members)

    def fence(self, member: Membership) -> None:
        """The store has answered that it knows this membership no more."""
        with self._lock:
            known, member.fenced = member.fenced, True
        if known:
            return
        WORKER_LOGGER.warning(
            "Lease on queue %s expired, rejoining; other workers take over its jobs",
            member.queue,
            extra={"queue": member.queue},
        )
        self._in_flight.drop(member.member)
        # The membership that replaces it begins without one.
        member.end_outage()

    def _new(self, queue: str) -> Membership:
        lease_ms = self._declaration.enrolments[queue].lease_ms
        return Membership(queue, lease_ms / 1000, self._source)
