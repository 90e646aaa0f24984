"""Ends of jobs that are kept for those who ask, and the callers that wait for one."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from spinach.brokers.calls import Ending, JobEnd
from spinach.outcome import OutcomeKind, cut_failure

if TYPE_CHECKING:
    from spinach.outcome import Failure, Outcome

    from .waiting import Waiter

__all__ = ["Results", "end_of", "failed"]

_ENDINGS: Final = {
    OutcomeKind.SUCCEEDED: Ending.SUCCEEDED,
    OutcomeKind.FAILED: Ending.FAILED,
    OutcomeKind.EXPIRED: Ending.EXPIRED,
    OutcomeKind.CANCELLED: Ending.CANCELLED,
}


def end_of(outcome: Outcome, kind: OutcomeKind) -> JobEnd:
    """What is kept of the end that an outcome tells.

    Args:
        outcome: of the job.
        kind: what became of the job: its own, or CANCELLED.
    """
    ending = _ENDINGS[kind]
    if ending is Ending.FAILED:
        return failed(outcome.failure)
    return JobEnd(
        ending=ending,
        result=(outcome.result or b"null") if ending is Ending.SUCCEEDED else None,
    )


def failed(failure: Failure | None) -> JobEnd:
    """The end of a job that failed."""
    kept = None if failure is None else cut_failure(failure)
    return JobEnd(ending=Ending.FAILED, failure=kept)


class Results:
    """The ends of one queue's jobs; guarded by the store's lock.

    An end counts until its time is over, whether it was dropped by then or not.
    """

    __slots__ = ("_ends", "_until", "waiters")

    def __init__(self) -> None:
        #: Stored id → its end, and from when it is not kept any more.
        self._ends: dict[str, tuple[JobEnd, int]] = {}
        #: The same instants, the earliest first; some are of ends that were replaced.
        self._until: list[tuple[int, str]] = []
        #: Stored id → who waits for its end; mostly none.
        self.waiters: dict[str, list[Waiter]] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def keep(self, stored_id: str, end: JobEnd, until_ms: int, now_ms: int) -> None:
        """Keep the end of a job until an instant."""
        self.trim(now_ms)
        self._ends[stored_id] = end, until_ms
        heapq.heappush(self._until, (until_ms, stored_id))

    def get(self, stored_id: str, now_ms: int) -> JobEnd | None:
        """The end of a job; None: none is kept."""
        found = self._ends.get(stored_id)
        return found[0] if found is not None and found[1] > now_ms else None

    def forget(self, stored_id: str) -> None:
        """Forget the end of a job that goes on after all."""
        self._ends.pop(stored_id, None)

    def trim(self, now_ms: int) -> None:
        """Drop ends whose time is over."""
        while self._until and self._until[0][0] <= now_ms:
            until_ms, stored_id = heapq.heappop(self._until)
            found = self._ends.get(stored_id)
            if found is not None and found[1] == until_ms:
                del self._ends[stored_id]

    # -- callers that wait -------------------------------------------------

    def add_waiter(self, stored_id: str, waiter: Waiter) -> None:
        """Note that someone waits for the end of a job."""
        self.waiters.setdefault(stored_id, []).append(waiter)

    def remove_waiter(self, stored_id: str, waiter: Waiter) -> None:
        """Undo `add_waiter`."""
        waiters = self.waiters[stored_id]
        waiters.remove(waiter)
        if not waiters:
            del self.waiters[stored_id]

    def wake(self, stored_id: str) -> None:
        """Let all who wait for a job look again: it ended, whether its end is kept or not."""
        for waiter in self.waiters.get(stored_id, ()):
            waiter.wake()
