"""RQ: as many worker processes as the others have threads, since it has none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from redis import Redis
from rq import Queue
from rq.worker import SimpleWorker, Worker
from rq.worker_pool import WorkerPool

from . import jobs
from .adapter import Call, SyncAdapter, play

if TYPE_CHECKING:
    from collections.abc import Sequence


class RQ(SyncAdapter):
    """Options: `fork`, whether each job runs in a process of its own, as by default."""

    guarantee = "at most once; a loss is recorded"
    distribution = "rq"
    has_batch = True
    has_results = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        self._redis = Redis.from_url(url)
        self._queue = Queue(connection=self._redis)

    def pending(self) -> list[list[str]]:
        """Waiting, on the way to a worker, and running."""
        name = "rq:queue:default"
        running = ["ZCARD", "rq:wip:default"]
        return [["LLEN", name], ["LLEN", f"{name}:intermediate"], running]

    def send(self, call: Call) -> None:
        """`enqueue` without a result."""
        # Workers import the function by its path.
        function = getattr(jobs, call.task)
        if call.due is None:
            self._queue.enqueue(function, *call.args, result_ttl=0)
        else:
            due = datetime.fromtimestamp(call.due, UTC)
            self._queue.enqueue_at(due, function, *call.args, result_ttl=0)

    def send_batch(self, calls: Sequence[Call]) -> None:
        """`enqueue_many`."""
        self._queue.enqueue_many(
            [
                Queue.prepare_data(getattr(jobs, call.task), call.args, result_ttl=0)
                for call in calls
            ]
        )

    def result(self, call: Call) -> Any:
        """`latest_result`, which waits at a stream."""
        job = self._queue.enqueue(getattr(jobs, call.task), *call.args)
        return job.latest_result(timeout=30).return_value

    def work(self, slots: int) -> None:
        """A pool of workers."""
        kind = Worker if self.options["fork"] else SimpleWorker
        pool = WorkerPool(["default"], self._redis, num_workers=slots, worker_class=kind)
        pool.start(logging_level="ERROR")


if __name__ == "__main__":
    play(RQ)
