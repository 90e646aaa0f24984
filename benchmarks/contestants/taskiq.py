"""Taskiq on Redis streams; jobs are coroutines, results are off."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from taskiq import TaskiqScheduler
from taskiq.api import run_receiver_task, run_scheduler_task
from taskiq_redis import ListRedisScheduleSource, RedisStreamBroker

from .adapter import AsyncAdapter, Call, play
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

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        # The group is to find what was sent before it came to be.
        self._broker = RedisStreamBroker(url, consumer_id="0")
        self._tasks = {name: self._broker.task(name)(async_version(name)) for name in TASKS}
        self._source = ListRedisScheduleSource(url)

    def pending(self) -> list[list[str]]:
        """See the script."""
        return [["EVAL", PENDING_SCRIPT, "1", "taskiq"]]

    async def open(self) -> None:
        """Start the broker."""
        await self._broker.startup()
        await self._source.startup()

    async def close(self) -> None:
        """Stop it."""
        await self._broker.shutdown()

    async def asend(self, call: Call) -> None:
        """`kiq`, or `schedule_by_time`."""
        task = self._tasks[call.task]
        if call.due is None:
            await task.kiq(*call.args)
        else:
            due = datetime.fromtimestamp(call.due, UTC)
            await task.schedule_by_time(self._source, due, *call.args)

    def work(self, slots: int) -> None:
        """A receiver, and a scheduler that looks each second, as often as it can."""
        asyncio.run(self._work(slots))

    async def _work(self, slots: int) -> None:
        await self._broker.startup()
        running = [
            asyncio.create_task(
                run_receiver_task(self._broker, max_async_tasks=slots, max_prefetch=slots)
            )
        ]
        if self.options.get("scheduler"):
            scheduler = TaskiqScheduler(self._broker, [self._source])
            second = timedelta(seconds=1)
            running.append(
                asyncio.create_task(
                    run_scheduler_task(scheduler, interval=second, loop_interval=second)
                )
            )
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        for each in running:
            each.cancel()


if __name__ == "__main__":
    play(Taskiq)
