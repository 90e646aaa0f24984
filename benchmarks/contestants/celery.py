"""Celery with its pool of threads or of processes; results off, late acknowledgement.

Early acknowledgement, its default, sends the same commands, but tells of no outcome.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celery import Celery as App
from celery import group

from .adapter import Call, SyncAdapter, play
from .jobs import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence


class Celery(SyncAdapter):
    """Options: `pool`, "threads" or "prefork"."""

    guarantee = "at least once (acks_late), after an hour's visibility timeout"
    distribution = "celery"
    has_batch = True
    has_results = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        results = options.get("results", False)
        self._app = App("bench", broker=url, backend=url if results else None)
        self._app.conf.update(
            task_acks_late=True,
            task_ignore_result=not results,
            worker_hijack_root_logger=False,
            worker_redirect_stdouts=False,
        )
        self._tasks = {
            name: self._app.task(function, name=name) for name, function in TASKS.items()
        }

    def pending(self) -> list[list[str]]:
        """Waiting and not acknowledged."""
        return [["LLEN", "celery"], ["HLEN", "unacked"]]

    def connect(self) -> None:
        """Open the connection."""
        self._app.connection_for_write().ensure_connection()

    def send(self, call: Call) -> None:
        """`apply_async`."""
        eta = None if call.due is None else datetime.fromtimestamp(call.due, UTC)
        self._tasks[call.task].apply_async(call.args, eta=eta)

    def send_batch(self, calls: Sequence[Call]) -> None:
        """A group."""
        group(self._tasks[call.task].s(*call.args) for call in calls).apply_async()

    def result(self, call: Call) -> Any:
        """`get`, which hears of it by a channel."""
        return self._tasks[call.task].apply_async(call.args).get(timeout=30)

    def work(self, slots: int) -> None:
        """Its command, in this process."""
        self._app.worker_main(
            [
                *("worker", "--loglevel", "ERROR", "--pool", self.options["pool"]),
                *("--concurrency", str(slots), "--without-gossip", "--without-mingle"),
            ]
        )


if __name__ == "__main__":
    play(Celery)
