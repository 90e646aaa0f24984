"""Taskiq on Redis streams; jobs are coroutines, results are off."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from taskiq import TaskiqScheduler
from taskiq.api import run_receiver_task, run_scheduler_task
from taskiq_redis import (
    ListRedisScheduleSource,
    RedisAsyncResultBackend,
    RedisStreamBroker,
    RedisStreamClusterBroker,
)

from .adapter import AsyncAdapter, Call, play, until_stopped
from .jobs import TASKS, async_version

#: Entries not read by the group and those read and not acknowledged. The stream itself
#: keeps what was acknowledged.
PENDING_SCRIPT = """
local ok, groups = pcall(redis.call, 'XINFO', 'GROUPS', KEYS[1])
if not ok or not groups[1] then return redis.call('XLEN', KEYS[1]) end
local sum = 0
for i = 1, #groups[1], 2 do
  local name = groups[1][i]
  if name == 'pending' or name == 'lag' then sum = sum + (groups[1][i + 1] or 0) end
end
return sum
"""


class Taskiq(AsyncAdapter):
    """The broker that acknowledges; future jobs through its scheduler, in the worker."""

    guarantee = "at least once, after ten minutes"
    distribution = "taskiq-redis"
    has_results = True
    on_cluster = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        # The group is to find what was sent before it came to be.
        self._brokers: list[Any] = [
            RedisStreamClusterBroker(url, stream, consumer_id="0") for stream in self._streams()
        ]
        if not self._brokers:
            self._brokers.append(RedisStreamBroker(url, consumer_id="0"))
        if options.get("results"):
            backend: Any = RedisAsyncResultBackend(url)
            self._brokers = [each.with_result_backend(backend) for each in self._brokers]
        self._broker = self._brokers[0]
        self._tasks = {name: self._broker.task(name)(async_version(name)) for name in TASKS}
        for queue, broker in zip(options.get("queues", []), self._brokers, strict=False):
            name = f"noop.{queue}"
            self._tasks[name] = broker.task(name)(async_version("noop"))
        self._source = ListRedisScheduleSource(url)

    def _streams(self) -> list[str]:
        # A read of several streams is for one node, so each has a broker of its own.
        return [f"{{bench/{queue}}}" for queue in self.options.get("queues", [])]

    def pending(self) -> list[list[str]]:
        """See the script."""
        streams = self._streams() or ["taskiq"]
        return [["EVAL", PENDING_SCRIPT, "1", stream] for stream in streams]

    async def open(self) -> None:
        """Start the brokers."""
        for broker in self._brokers:
            await broker.startup()
        await self._source.startup()

    async def close(self) -> None:
        """Stop them."""
        for broker in self._brokers:
            await broker.shutdown()

    async def asend(self, call: Call) -> None:
        """`kiq`, or `schedule_by_time`."""
        task = self._tasks[call.task]
        if call.due is None:
            await task.kiq(*call.args)
        else:
            due = datetime.fromtimestamp(call.due, UTC)
            await task.schedule_by_time(self._source, due, *call.args)

    async def aresult(self, call: Call) -> Any:
        """`wait_result`, which asks again and again; each ms, since by default it waits for 200."""
        task = await self._tasks[call.task].kiq(*call.args)
        found = await task.wait_result(check_interval=0.001, timeout=30)
        return found.return_value

    def work(self, slots: int) -> None:
        """A receiver, and a scheduler that looks each second, as often as it can."""
        asyncio.run(self._work(slots))

    async def _work(self, slots: int) -> None:
        running = []
        share = -(-slots // len(self._brokers))
        for broker in self._brokers:
            await broker.startup()
            receiver = run_receiver_task(broker, max_async_tasks=share, max_prefetch=share)
            running.append(asyncio.create_task(receiver))
        # Its source of schedules is for a server that is no node of a Cluster.
        if self.options.get("scheduler") and not self._streams():
            scheduler = TaskiqScheduler(self._broker, [self._source])
            second = timedelta(seconds=1)
            running.append(
                asyncio.create_task(
                    run_scheduler_task(scheduler, interval=second, loop_interval=second)
                )
            )
        await until_stopped(running)


if __name__ == "__main__":
    play(Taskiq)
