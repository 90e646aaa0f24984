"""arq: coroutines; it polls a sorted set."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from .adapter import AsyncAdapter, Call, play
from .jobs import TASKS, async_version


class Arq(AsyncAdapter):
    """As its documentation sets it up, without results."""

    guarantee = "at least once, after the job's time limit"
    distribution = "arq"

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        self._settings = RedisSettings.from_dsn(url)
        self._pool: Any = None

    def pending(self) -> list[list[str]]:
        """A job goes from the set when it ends."""
        return [["ZCARD", "arq:queue"]]

    async def open(self) -> None:
        """Connect."""
        self._pool = await create_pool(self._settings)

    async def close(self) -> None:
        """Disconnect."""
        await self._pool.aclose()

    async def asend(self, call: Call) -> None:
        """`enqueue_job`."""
        due = None if call.due is None else datetime.fromtimestamp(call.due, UTC)
        await self._pool.enqueue_job(call.task, *call.args, _defer_until=due)

    def work(self, slots: int) -> None:
        """Its worker."""
        functions = [
            func(_taking_context(async_version(name)), name=name, keep_result=0) for name in TASKS
        ]
        # It asks for the loop of the thread, which is there only if someone set one.
        asyncio.set_event_loop(asyncio.new_event_loop())
        Worker(functions, redis_settings=self._settings, max_jobs=slots, keep_result=0).run()


def _taking_context(function: Any) -> Any:
    async def run(_: Any, *args: Any) -> None:
        await function(*args)

    return run


if __name__ == "__main__":
    play(Arq)
