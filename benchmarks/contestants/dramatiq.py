"""Dramatiq: threads, a message is acknowledged after the run, one command each."""

from __future__ import annotations

import signal
import time
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from .adapter import Call, SyncAdapter, play
from .jobs import TASKS


class Dramatiq(SyncAdapter):
    """As its documentation sets it up; middleware as by default."""

    guarantee = "at least once"
    distribution = "dramatiq"
    has_results = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        self._broker = RedisBroker(url=url)
        dramatiq.set_broker(self._broker)
        kept: dict[str, Any] = {}
        if options.get("results"):
            self._broker.add_middleware(Results(backend=RedisBackend(url=url)))
            kept = {"store_results": True}
        self._actors = {
            name: dramatiq.actor(function, actor_name=name, **kept)
            for name, function in TASKS.items()
        }

    def pending(self) -> list[list[str]]:
        """A message goes when it is acknowledged."""
        return [["HLEN", "dramatiq:default.msgs"], ["HLEN", "dramatiq:default.DQ.msgs"]]

    def send(self, call: Call) -> None:
        """`send`, or with a delay in ms, which is all it takes."""
        actor = self._actors[call.task]
        if call.due is None:
            actor.send(*call.args)
        else:
            delay = max(0, round((call.due - time.time()) * 1000))
            actor.send_with_options(args=call.args, delay=delay)

    def result(self, call: Call) -> Any:
        """`get_result`, which rotates a list."""
        message = self._actors[call.task].send(*call.args)
        return message.get_result(block=True, timeout=30_000)

    def work(self, slots: int) -> None:
        """What its command starts in each process."""
        worker = dramatiq.Worker(self._broker, worker_threads=slots)
        worker.start()
        signal.sigwait({signal.SIGTERM})
        worker.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    play(Dramatiq)
