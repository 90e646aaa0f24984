"""Huey: threads that each pop one job; no outcome is reported, results are off.

A job is done for the server when it is popped. The time of the last end is told by the
job itself, so that running jobs count here as well.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from huey import RedisHuey
from huey.consumer import Consumer

from .adapter import Call, SyncAdapter, play
from .jobs import TASKS


class Huey(SyncAdapter):
    """As its documentation sets it up, without results."""

    guarantee = "at most once; a loss leaves no trace, no outcome is reported"
    distribution = "huey"
    has_results = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        results = options.get("results", False)
        self._huey = RedisHuey("bench", url=url, results=results, utc=True)
        self._tasks = {name: self._huey.task(name=name)(f) for name, f in TASKS.items()}

    def pending(self) -> list[list[str]]:
        """Not popped yet."""
        return [["LLEN", "huey.redis.bench"], ["ZCARD", "huey.schedule.bench"]]

    def send(self, call: Call) -> None:
        """Call the task, or its `schedule`."""
        task = self._tasks[call.task]
        if call.due is None:
            task(*call.args)
        else:
            task.schedule(args=call.args, eta=datetime.fromtimestamp(call.due, UTC))

    def result(self, call: Call) -> Any:
        """`get`, which asks again and again; each ms, since by default it waits for 100."""
        found = self._tasks[call.task](*call.args)
        return found.get(blocking=True, timeout=30, backoff=1.0, max_delay=0.001)

    def work(self, slots: int) -> None:
        """Its consumer with threads."""
        Consumer(self._huey, workers=slots, worker_type="thread").run()


if __name__ == "__main__":
    play(Huey)
