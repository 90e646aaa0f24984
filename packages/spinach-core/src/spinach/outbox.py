"""Outcomes of this process that the broker has not answered yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from .brokers.calls import Verdict
from .outcome import OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from .outcome import Lease, Outcome

__all__ = ["Outbox", "Parcel"]


class Parcel(msgspec.Struct, eq=False, gc=False):
    """An outcome on its way to the broker."""

    outcome: Outcome
    #: A refusal is expected: the store does not count the lease as ours.
    stray: bool = False
    #: Sent before, without an answer; a refusal may mean that it arrived.
    resent: bool = False


class Outbox:
    """Parcels by queue, in order; not thread safe, the hand-over's lock guards it.

    One report is in flight at a time. A parcel leaves only when it is answered,
    because its lease counts as held until then (I6).
    """

    __slots__ = ("_in_flight", "_waiting", "waiting")

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Parcel]] = {}
        self._in_flight: list[Parcel] = []
        #: Parcels that are not in flight.
        self.waiting = 0

    def __len__(self) -> int:
        return self.waiting + len(self._in_flight)

    def add(self, parcel: Parcel) -> bool:
        """Put a parcel behind the others of its queue; whether it is the first there."""
        queue = parcel.outcome.lease.queue
        parcels = self._waiting.get(queue)
        if parcels is None:
            parcels = self._waiting[queue] = deque()
        parcels.append(parcel)
        self.waiting += 1
        return len(parcels) == 1

    def collect(self, blocked: Collection[str], most: int) -> list[Outcome]:
        """Put parcels in flight.

        Args:
            blocked: queues that have to wait.
            most: parcels to take; more only where it would part releases, which
                keep their order within one report (I9).
        """
        flight = self._in_flight
        for queue, parcels in self._waiting.items():
            if queue in blocked:
                continue
            while parcels and len(flight) < most:
                flight.append(parcels.popleft())
            if len(flight) >= most:
                while parcels and _releases(flight[-1]) and _releases(parcels[0]):
                    flight.append(parcels.popleft())
                break
        self.waiting -= len(flight)
        return [parcel.outcome for parcel in flight]

    def answered(self, verdicts: Sequence[Verdict]) -> tuple[list[Outcome], set[str]]:
        """Settle what is in flight.

        Args:
            verdicts: one for each parcel, in order.

        Returns:
            Outcomes that were refused though nothing spoke against them, and the
            queues of the parcels that wait again.
        """
        refused: list[Outcome] = []
        unanswered: list[Parcel] = []
        for parcel, verdict in zip(self._in_flight, verdicts, strict=True):
            if verdict is Verdict.APPLIED:
                continue
            if verdict is Verdict.UNKNOWN:
                parcel.resent = True
                unanswered.append(parcel)
            elif not (parcel.resent or parcel.stray):
                refused.append(parcel.outcome)
        self._in_flight = []
        # First in line again and in their order: releases depend on it (I9).
        for parcel in reversed(unanswered):
            self._waiting[parcel.outcome.lease.queue].appendleft(parcel)
        self.waiting += len(unanswered)
        return refused, {parcel.outcome.lease.queue for parcel in unanswered}

    def leases(self) -> Iterator[Lease]:
        """Of every parcel that is not answered."""
        for parcels in (*self._waiting.values(), self._in_flight):
            for parcel in parcels:
                yield parcel.outcome.lease


def _releases(parcel: Parcel) -> bool:
    return parcel.outcome.kind is OutcomeKind.RELEASE
