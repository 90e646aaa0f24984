"""streaQ: coroutines on Redis streams."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from streaq import Worker

from .adapter import AsyncAdapter, Call, play, until_stopped
from .jobs import TASKS, async_version

if TYPE_CHECKING:
    from collections.abc import Sequence


class Streaq(AsyncAdapter):
    """As its documentation sets it up; `ttl=0` keeps no results."""

    guarantee = "at least once, after a minute"
    distribution = "streaq"
    has_batch = True
    on_cluster = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        self._queues: list[str] = options.get("queues", [])
        self._tasks: dict[str, Any] = {}
        self._workers = self._new_workers(1)

    def _new_workers(self, slots: int) -> list[Any]:
        if not self._queues:
            worker: Any = Worker(redis_url=self.url, concurrency=slots)
            for name in TASKS:
                self._add(worker, name, name)
            return [worker]
        # A worker has one queue.
        share = -(-slots // len(self._queues))
        parts = urlsplit(self.url)
        workers: list[Any] = []
        for queue in self._queues:
            worker = Worker(
                cluster_nodes=[(str(parts.hostname), int(parts.port or 0))],
                queue_name=f"{{bench/{queue}}}",
                concurrency=share,
                handle_signals=False,
            )
            self._add(worker, f"noop.{queue}", "noop")
            workers.append(worker)
        return workers

    def _add(self, worker: Any, name: str, function: str) -> None:
        task = worker.task(name=name, ttl=0, silent=True)
        self._tasks[name] = task(async_version(function))

    def pending(self) -> list[list[str]]:
        """An entry goes from the stream when it is acknowledged."""
        names = [f"{{bench/{queue}}}" for queue in self._queues] or ["default"]
        return [["XLEN", f"streaq:{name}:queues:normal"] for name in names]

    async def open(self) -> None:
        """Connect."""
        for worker in self._workers:
            await worker.__aenter__()

    async def close(self) -> None:
        """Disconnect."""
        for worker in reversed(self._workers):
            await worker.__aexit__(None, None, None)

    async def asend(self, call: Call) -> None:
        """`enqueue`."""
        task = self._tasks[call.task].enqueue(*call.args)
        if call.due is not None:
            task = task.start(schedule=datetime.fromtimestamp(call.due, UTC))
        await task

    async def asend_batch(self, calls: Sequence[Call]) -> None:
        """`enqueue_many`, for each worker."""
        tasks = [self._tasks[call.task].enqueue(*call.args) for call in calls]
        if not self._queues:
            await self._workers[0].enqueue_many(tasks)
            return
        for worker in self._workers:
            await worker.enqueue_many([task for task in tasks if task.worker is worker])

    def work(self, slots: int) -> None:
        """Its worker, or one for each queue."""
        workers = self._new_workers(slots)
        if self._queues:
            asyncio.run(_run_all(workers))
        else:
            workers[0].run_sync()


async def _run_all(workers: list[Any]) -> None:
    await until_stopped([asyncio.create_task(worker.run_async()) for worker in workers])


if __name__ == "__main__":
    play(Streaq)
