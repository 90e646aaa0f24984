"""The floor: what redis-py and threads can do at best, with no guarantee at all.

One thread pops batches from a list and hands them to threads in parts; these look the
function up, call it and hand the ids on; another thread writes the ids of ended jobs
to a list, many in one command. A job popped by a process that dies is lost.
"""

from __future__ import annotations

import json
import queue
import signal
import threading
import uuid
from typing import TYPE_CHECKING, Any

from redis import Redis

from .adapter import Call, SyncAdapter, play
from .jobs import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds that the server waits for a job to come.
BLOCK_SECONDS = 1

#: Ids that one command reports at most.
REPORT_CHUNK = 1000

#: Jobs that one pipeline schedules.
BATCH_CHUNK = 1000


class Floor(SyncAdapter):
    """Options: `prefetch`, how many jobs a pop brings at most."""

    guarantee = "none: a killed worker loses what it popped"
    distribution = "redis"
    has_batch = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        self._redis = Redis.from_url(url)
        self._sent = 0

    def pending(self) -> list[list[str]]:
        """Those sent less those reported."""
        script = "return tonumber(redis.call('GET','sent') or 0) - redis.call('LLEN','done')"
        return [["EVAL", script, "2", "sent", "done"]]

    def connect(self) -> None:
        """Open the connection."""
        self._redis.ping()

    def send(self, call: Call) -> None:
        """One command, which carries the job."""
        self._redis.rpush("jobs", _encoded(call))
        self._sent += 1

    def send_batch(self, calls: Sequence[Call]) -> None:
        """One command for a thousand jobs."""
        for start in range(0, len(calls), BATCH_CHUNK):
            self._redis.rpush("jobs", *map(_encoded, calls[start : start + BATCH_CHUNK]))
        self._sent += len(calls)

    def produce(self, calls: Any, batch: Sequence[Call] | None) -> float:
        """Also notes how many were sent, outside of the time taken."""
        seconds = super().produce(calls, batch)
        self._redis.incrby("sent", self._sent)
        return seconds

    def work(self, slots: int) -> None:
        """A thread that pops, one that reports, and those that run jobs."""
        prefetch = self.options["prefetch"]
        todo: queue.SimpleQueue[tuple[list[bytes], _CountDown]] = queue.SimpleQueue()
        done: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        # Bounds what is popped and not run, so that popping goes on while jobs run.
        room = threading.Semaphore(2)

        def pop() -> None:
            connection = Redis.from_url(self.url)
            while True:
                room.acquire()
                jobs: Any = connection.lpop("jobs", prefetch)
                while not jobs:
                    jobs = connection.blmpop(BLOCK_SECONDS, 1, "jobs", direction="LEFT")
                    jobs = jobs and jobs[1]
                part = max(1, -(-len(jobs) // slots))
                parts = [jobs[i : i + part] for i in range(0, len(jobs), part)]
                left = _CountDown(len(parts), room.release)
                for each in parts:
                    todo.put((each, left))

        def run() -> None:
            while True:
                part, left = todo.get()
                ids = []
                for record in part:
                    job_id, name, args = json.loads(record)
                    TASKS[name](*args)
                    ids.append(job_id)
                done.put(ids)
                left.step()

        def report() -> None:
            connection = Redis.from_url(self.url)
            while True:
                ids = done.get()
                while len(ids) < REPORT_CHUNK and not done.empty():
                    ids += done.get()
                connection.rpush("done", *ids)

        for function in (pop, report, *[run] * slots):
            threading.Thread(target=function, daemon=True).start()
        signal.sigwait({signal.SIGTERM})


class _CountDown:
    """Calls back when all parts of a batch are through; the steps may race."""

    def __init__(self, count: int, callback: Any) -> None:
        self._left = iter(range(count - 1, -1, -1))
        self._callback = callback

    def step(self) -> None:
        """One part is through."""
        if next(self._left) == 0:
            self._callback()


def _encoded(call: Call) -> str:
    return json.dumps([uuid.uuid4().hex, call.task, call.args])


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    play(Floor)
