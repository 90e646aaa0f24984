"""Threads of the engine's own are not interrupted by signals."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from spinach import Engine, MemoryBroker

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "pthread_sigmask"), reason="signals are not blocked by thread here"
)


class Masks(MemoryBroker):
    """Notes which signals are blocked where it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: dict[str, set[Any]] = {}

    def _note(self) -> None:
        name = threading.current_thread().name
        self.masks[name] = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def fetch(self, *args: Any, **options: Any) -> Any:
        self._note()
        return super().fetch(*args, **options)

    def report(self, outcomes: Any) -> Any:
        self._note()
        return super().report(outcomes)


def test_signals_reach_worker_threads_and_no_thread_of_the_engine() -> None:
    broker = Masks()
    spin = Engine(broker, namespace="deaf")
    of_worker: list[set[Any]] = []
    spin.task(name="look")(lambda: of_worker.append(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    spin.schedule("look")
    spin.start_workers(1, block=False)
    while not broker.masks.keys() >= {"deaf-subscriber", "deaf-arbiter", "deaf-result-notifier"}:
        threading.Event().wait(0.01)
    spin.stop_workers()
    assert of_worker == [signal.pthread_sigmask(signal.SIG_BLOCK, ())]
    for name, mask in broker.masks.items():
        assert {signal.SIGALRM, signal.SIGTERM, signal.SIGINT} <= mask, name
        # These are to end the process with a traceback.
        assert not mask & {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS}, name
