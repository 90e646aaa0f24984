"""Spinach, with tasks that run at most once or at least once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from redis.cluster import RedisCluster

from spinach import Batch, Engine, RedisBroker, RetryException

from .adapter import Call, SyncAdapter, play
from .jobs import TASKS, FirstAttemptFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

#: How long results are kept, and waited for at most.
KEPT, PATIENCE = timedelta(minutes=5), timedelta(seconds=30)

#: All but one of the jobs of a task are held back by its limit.
LIMITS = {"stuck": 1}


def _tried_again_at_once(function: Callable[[int], None]) -> Callable[[int], None]:
    """Without the wait that a retry has otherwise, in a way that earlier Spinachs know too."""

    def run(number: int) -> None:
        try:
            function(number)
        except FirstAttemptFailed as error:
            raise RetryException(str(error), at=_LONG_AGO) from None

    return run


class Spinach(SyncAdapter):
    """Options: `retries` of every task; on a Cluster `queues` to spread the jobs over."""

    distribution = "spinach-redis"
    has_batch = True
    has_results = True
    on_cluster = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        self._queues: list[str] = options.get("queues", [])
        if self._queues:
            broker = RedisBroker(RedisCluster.from_url(url))
        else:
            broker = RedisBroker.from_url(url)
        self._engine = Engine(broker, namespace="bench")
        retries = options["retries"]
        for queue in self._queues:
            task = self._engine.task(name=f"noop.{queue}", queue=queue, max_retries=retries)
            task(TASKS["noop"])
        functions = {**TASKS, "fails_once": _tried_again_at_once(TASKS["fails_once"])}
        for name, function in functions.items():
            limit = LIMITS.get(name)
            self._engine.task(
                name=name,
                max_retries=retries,
                max_concurrency=limit,
                # Earlier Spinachs do not know it, and are not asked.
                **({"keep_result": KEPT} if options.get("results") else {}),
            )(function)

    @property
    def guarantee(self) -> str:  # type: ignore[override] # depends on the variant
        """Of the variant."""
        return "at least once" if self.options["retries"] else "at most once; a loss is recorded"

    def pending(self) -> list[list[str]]:
        """A record goes when the outcome is applied."""
        return [["HLEN", f"{{bench/{queue}}}:jobs"] for queue in self._queues or ["spinach"]]

    def send(self, call: Call) -> None:
        """Idempotent, as always."""
        if call.due is None:
            self._engine.schedule(call.task, *call.args)
        else:
            due = datetime.fromtimestamp(call.due, UTC)
            self._engine.schedule_at(call.task, due, *call.args)

    def send_batch(self, calls: Sequence[Call]) -> None:
        """A `Batch`."""
        batch = Batch()
        for call in calls:
            batch.schedule(call.task, *call.args)
        self._engine.schedule_batch(batch)

    def result(self, call: Call) -> Any:
        """`result`, with a timeout."""
        return self._engine.result(self._engine.schedule(call.task, *call.args), timeout=PATIENCE)

    def work(self, slots: int) -> None:
        """Worker threads of one engine."""
        self._engine.start_workers(slots, queue=self._queues or "spinach")


if __name__ == "__main__":
    play(Spinach)
