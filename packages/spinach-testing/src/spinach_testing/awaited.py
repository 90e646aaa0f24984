"""Which threads of a test wait for the end of which jobs, and for how long they may."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from spinach.current import RUNNING
from spinach.record.header import UnreadableRecord
from spinach.record.ids import job_id_of
from spinach.record.payload import decode_payload

from .listing import call_text
from .running import stack_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["AwaitedJobs"]


class AwaitedJobs:
    """Stored ids of jobs by the thread that waits for their end; thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards what is below
        self._waits: dict[int, tuple[str, str, Sequence[str]]] = {}
        self._limit = math.inf
        self._error: Callable[[], Exception] | None = None

    @contextmanager
    def at_most(self, seconds: float, error: Callable[[], Exception]) -> Iterator[None]:
        """For the block no wait lasts longer.

        Args:
            seconds: on the broker's clock.
            error: makes the error of a wait that would.
        """
        self._limit, self._error = seconds, error
        try:
            yield
        finally:
            self._limit, self._error = math.inf, None

    def too_long(self) -> Exception:
        """The error of a wait that lasted for as long as it may; for the thread that waits."""
        assert self._error is not None, "without a limit no wait is too long"
        return self._error()

    @contextmanager
    def waiting_for(self, stored_ids: Sequence[str], what: str) -> Iterator[float]:
        """For the block the calling thread waits for these jobs.

        Args:
            stored_ids: of the jobs.
            what: of them it waits for.

        Yields:
            How long it may, in seconds; infinite without a limit.
        """
        ident, waiter = threading.get_ident(), _running_job()
        with self._lock:
            self._waits[ident] = waiter, what, stored_ids
        try:
            yield self._limit
        finally:
            with self._lock:
                self._waits.pop(ident, None)

    def report(self, line: Callable[[str], str | None]) -> str:
        """Each thread that waits, its job if it has one, and what it waits for; with its stack.

        Empty if none waits.

        Args:
            line: shows the job of a stored id; None: there is no such job.
        """
        with self._lock:
            waits = dict(self._waits)
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        parts = []
        for ident, (waiter, what, stored_ids) in waits.items():
            thread = names.get(ident, "a thread that has ended")
            who = f"{waiter}, in {thread}," if waiter else thread
            lines = [shown for each in stored_ids if (shown := line(each)) is not None]
            jobs = "; ".join(lines) or "jobs that are not of this test"
            # The caller's own stack is that of the error.
            stack = "" if ident == threading.get_ident() else f":\n{stack_text(ident)}"
            parts.append(f"{who} waits for {what} {jobs}{stack}")
        return "\n".join(parts)


def _running_job() -> str:
    """The job that the calling code is part of; empty if there is none.

    A worker thread may wait for a job of another engine, and code in `asyncio.to_thread` for one
    of its own.
    """
    running = RUNNING.get(None)
    if running is None:
        return ""
    lease = running[0].lease
    try:
        args, kwargs, _ = decode_payload(lease.record)
        call = call_text(running[0].task.name, args, kwargs)
    except UnreadableRecord:
        call = f"{running[0].task.name}(?)"
    return f"{call} {job_id_of(lease.stored_id)}"
