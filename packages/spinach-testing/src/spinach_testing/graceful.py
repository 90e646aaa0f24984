"""A stop that comes while jobs run, at a moment that the test can rely on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from spinach.exc import InvalidArgument

from . import listing
from .session import session

if TYPE_CHECKING:
    from .recording import Recording
    from .session import Session

__all__ = ["stop_while_running"]


class _Gate:
    """Holds jobs back right before their start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the count
        #: Set to let the jobs run.
        self.opened = threading.Event()
        #: Jobs that have come to the gate.
        self.count = 0

    def enter(self) -> None:
        """Wait at the gate; called in the job's worker thread."""
        with self._lock:
            self.count += 1
        self.opened.wait()


def stop_while_running(recording: Recording, after: int, timeout: float) -> None:
    """Start `after` threads, let each take a job, and stop them as in production.

    Args:
        recording: of the engine.
        after: jobs that run when the stop comes.
        timeout: real seconds.

    Raises:
        InvalidArgument: fewer jobs than that can run at once.
        DrainTimeout: the jobs did not end.
    """
    gate = _Gate()
    recording.gate = gate.enter
    try:
        with session(recording, after, timeout, grace=None) as running:
            try:
                if not running.has_workers or not _filled(gate, after, running):
                    raise InvalidArgument(
                        f"Cannot stop after {after} jobs have started: only {gate.count} can "
                        "run at this time. Jobs:\n"
                        + listing.lines(recording.ledger.entries(), recording.now_ms)
                    )
                # As the arbiter does first in a stop: from here on no thread gets another job.
                # Done here, before the gate opens, so that no thread can be faster.
                pool = recording.engine._pool  # noqa: SLF001 - both are Spinach's own
                assert pool is not None
                pool._in_flight.close()  # noqa: SLF001
                recording.engine.stop_workers(_join_arbiter=False)
            finally:
                gate.opened.set()
    finally:
        recording.gate = None


def _filled(gate: _Gate, after: int, running: Session) -> bool:
    """Wait until that many jobs are at the gate; False: no more jobs will come."""
    for _ in running.polls():
        if gate.count >= after:
            return True
        counts = running.counts()
        # If nothing else is ready or due, and every leased job is at the gate.
        nothing_more = all(
            count.members
            and not count.ready
            and (count.next_due_in_ms is None or count.next_due_in_ms > 0)
            for count in counts
        )
        if nothing_more and sum(count.leased for count in counts) == gate.count:
            return False
    return False
