"""streaQ: coroutines on Redis streams."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from streaq import Worker

from .adapter import AsyncAdapter, Call, play
from .jobs import TASKS, async_version

if TYPE_CHECKING:
    from collections.abc import Sequence


class Streaq(AsyncAdapter):
    """As its documentation sets it up; `ttl=0` keeps no results."""

    guarantee = "at least once, after a minute"
    distribution = "streaq"
    has_batch = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        self._worker = self._new_worker(1)

    def _new_worker(self, slots: int) -> Any:
        worker: Any = Worker(redis_url=self.url, concurrency=slots)
        self._tasks = {
            name: worker.task(name=name, ttl=0, silent=True)(async_version(name)) for name in TASKS
        }
        return worker

    def pending(self) -> list[list[str]]:
        """An entry goes from the stream when it is acknowledged."""
        return [["XLEN", "streaq:default:queues:normal"]]

    async def open(self) -> None:
        """Connect."""
        await self._worker.__aenter__()

    async def close(self) -> None:
        """Disconnect."""
        await self._worker.__aexit__(None, None, None)

    async def asend(self, call: Call) -> None:
        """`enqueue`."""
        task = self._tasks[call.task].enqueue(*call.args)
        if call.due is not None:
            task = task.start(schedule=datetime.fromtimestamp(call.due, UTC))
        await task

    async def asend_batch(self, calls: Sequence[Call]) -> None:
        """`enqueue_many`."""
        await self._worker.enqueue_many(
            [self._tasks[call.task].enqueue(*call.args) for call in calls]
        )

    def work(self, slots: int) -> None:
        """Its worker."""
        self._new_worker(slots).run_sync()


if __name__ == "__main__":
    play(Streaq)
