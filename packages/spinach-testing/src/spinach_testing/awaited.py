"""Which threads of a test wait for which results."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .running import stack_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["AwaitedResults"]


class AwaitedResults:
    """Stored ids of jobs by the thread that waits for their end; thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards what is below
        self._jobs: dict[int, str] = {}

    @contextmanager
    def waiting_for(self, stored_id: str) -> Iterator[None]:
        """For the block the calling thread waits for the end of that job."""
        ident = threading.get_ident()
        with self._lock:
            self._jobs[ident] = stored_id
        try:
            yield
        finally:
            with self._lock:
                self._jobs.pop(ident, None)

    def report(self, line: Callable[[str], str]) -> str:
        """Each thread that waits with its job and its stack; empty without any.

        Args:
            line: shows the job of a stored id.
        """
        with self._lock:
            jobs = dict(self._jobs)
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        return "\n".join(
            f"{names.get(ident, 'a thread that has ended')} waits for the result of "
            f"{line(stored_id)}:\n{stack_text(ident)}"
            for ident, stored_id in jobs.items()
        )
