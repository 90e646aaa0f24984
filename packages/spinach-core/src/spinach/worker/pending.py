"""Outcomes of this process that the broker has not answered yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from spinach.brokers.calls import Verdict
from spinach.outcome import OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, MutableMapping, Sequence

    from spinach.outcome import Lease, Outcome

__all__ = ["PendingOutcome", "PendingOutcomes"]


class PendingOutcome(msgspec.Struct, eq=False, gc=False):
    """An outcome on its way to the broker."""

    outcome: Outcome
    #: A refusal is expected: the store does not count the lease as ours.
    stray: bool = False
    #: Sent before, without an answer; a refusal may mean that it arrived.
    resent: bool = False


class PendingOutcomes:
    """By queue, in order; not thread safe: the lock of the in-flight jobs guards it.

    One report is under way at a time. An outcome leaves only when it is answered,
    because its lease counts as held until then (I6).
    """

    __slots__ = ("_sent", "_waiting", "waiting")

    def __init__(self) -> None:
        self._waiting: dict[str, deque[PendingOutcome]] = {}
        # The entries of the report that is under way.
        self._sent: list[PendingOutcome] = []
        #: How many are in no report yet.
        self.waiting = 0

    def __len__(self) -> int:
        return self.waiting + len(self._sent)

    def add(self, entry: PendingOutcome) -> bool:
        """Put an outcome behind the others of its queue; whether it is the first there."""
        queue = entry.outcome.lease.queue
        entries = self._waiting.get(queue)
        if entries is None:
            entries = self._waiting[queue] = deque()
        entries.append(entry)
        self.waiting += 1
        return len(entries) == 1

    def collect(self, blocked: Collection[str], most: int) -> list[Outcome]:
        """Take out the entries of the next report.

        Args:
            blocked: queues that have to wait.
            most: entries to take; more only where it would part releases, which
                keep their order within one report (I9).
        """
        sent = self._sent
        for queue, entries in self._waiting.items():
            if queue in blocked:
                continue
            while entries and len(sent) < most:
                sent.append(entries.popleft())
            if len(sent) >= most:
                while entries and _releases(sent[-1]) and _releases(entries[0]):
                    sent.append(entries.popleft())
                break
        self.waiting -= len(sent)
        return [entry.outcome for entry in sent]

    def answered(
        self, verdicts: Sequence[Verdict], held: MutableMapping[str, int]
    ) -> tuple[list[Outcome], set[str]]:
        """The report that was under way was answered.

        Args:
            verdicts: one for each outcome, in order.
            held: member → how many leases it holds; one less for each that is done with.

        Returns:
            Outcomes that were refused though nothing spoke against them, and the
            queues of those that wait again.
        """
        refused: list[Outcome] = []
        unanswered: list[PendingOutcome] = []
        for entry, verdict in zip(self._sent, verdicts, strict=True):
            if verdict is Verdict.UNKNOWN:
                entry.resent = True
                unanswered.append(entry)
                continue
            held[entry.outcome.lease.member] -= 1
            if verdict is not Verdict.APPLIED and not (entry.resent or entry.stray):
                refused.append(entry.outcome)
        self._sent = []
        # First in line again and in their order: releases depend on it (I9).
        for entry in reversed(unanswered):
            self._waiting[entry.outcome.lease.queue].appendleft(entry)
        self.waiting += len(unanswered)
        return refused, {entry.outcome.lease.queue for entry in unanswered}

    def leases(self) -> Iterator[Lease]:
        """Of every entry that is not answered."""
        for entries in (*self._waiting.values(), self._sent):
            for entry in entries:
                yield entry.outcome.lease


def _releases(entry: PendingOutcome) -> bool:
    return entry.outcome.kind is OutcomeKind.RELEASE
