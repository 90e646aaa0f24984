"""SAQ: coroutines; a job is taken out of the set of incomplete ones when it ends."""

from __future__ import annotations

import asyncio
from typing import Any

from saq import Queue, Worker

from .adapter import AsyncAdapter, Call, play
from .jobs import TASKS, async_version


class SAQ(AsyncAdapter):
    """As its documentation sets it up; `ttl=-1` keeps no results."""

    guarantee = "at most once unless retries are asked for; swept each minute"
    distribution = "saq"

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        self._queue = Queue.from_url(url)

    def pending(self) -> list[list[str]]:
        """What is incomplete."""
        return [["ZCARD", "saq:default:incomplete"]]

    async def open(self) -> None:
        """Connect."""
        await self._queue.connect()

    async def close(self) -> None:
        """Disconnect."""
        await self._queue.disconnect()

    async def asend(self, call: Call) -> None:
        """`enqueue`; it schedules to the second, so the instant is rounded up."""
        arguments = {"values": list(call.args)}
        if call.due is None:
            await self._queue.enqueue(call.task, ttl=-1, **arguments)
        else:
            due = -int(-call.due // 1)
            await self._queue.enqueue(call.task, scheduled=due, ttl=-1, **arguments)

    def work(self, slots: int) -> None:
        """Its worker."""
        functions = [(name, _taking_context(async_version(name))) for name in TASKS]
        asyncio.run(self._work(functions, slots))

    async def _work(self, functions: Any, slots: int) -> None:
        await self._queue.connect()
        await Worker(self._queue, functions, concurrency=slots).start()


def _taking_context(function: Any) -> Any:
    async def run(_: Any, *, values: list[Any]) -> None:
        await function(*values)

    return run


if __name__ == "__main__":
    play(SAQ)
