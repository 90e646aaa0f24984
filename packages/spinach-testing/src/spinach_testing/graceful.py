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
    """Holds jobs back right before their start until as many as needed stand there."""

    def __init__(self) -> None:
        self._condition = threading.Condition()  # guards the count
        self._opened = threading.Event()
        self.count = 0

    def enter(self) -> None:
        """Called in a worker thread."""
        with self._condition:
            self.count += 1
        self._opened.wait()

    def open(self) -> None:
        """Let the jobs run."""
        self._opened.set()


def stop_while_running(
    recording: Recording,
    after: int,
    timeout: float,
) -> None:
    """Start `after` threads, let each take a job, and stop them by the production stop.

    Args:
        recording: of the engine.
        after: jobs that run when the stop comes.
        timeout: real seconds.

    Raises:
        InvalidArgument: there are not that many jobs to run at once.
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
                # Each thread holds a job at the gate, so none can take another one before
                # the stop has come to the hand-over, which is what closing it does.
                pool = recording.engine._pool  # noqa: SLF001 - as the arbiter does first
                assert pool is not None
                pool._in_flight.close()  # noqa: SLF001
                recording.engine.stop_workers(_join_arbiter=False)
            finally:
                gate.open()
    finally:
        recording.gate = None


def _filled(gate: _Gate, after: int, running: Session) -> bool:
    """Wait until that many jobs stand at the gate; False: there are no more to come."""
    for _ in running.looks():
        if gate.count >= after:
            return True
        counts = running.counts()
        # Whoever is leased stands at the gate, and nobody else can be.
        nothing_more = all(
            count.members
            and not count.ready
            and (count.next_due_in_ms is None or count.next_due_in_ms > 0)
            for count in counts
        )
        if nothing_more and sum(count.leased for count in counts) == gate.count:
            return False
    return False
