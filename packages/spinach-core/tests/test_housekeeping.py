"""Threads of the engine can be told from those that run jobs."""

from __future__ import annotations

import threading

from spinach import Engine, MemoryBroker
from spinach.support.threads import EngineThread, ServiceThread

from .support import wait_for


def test_threads_of_the_engine_are_of_a_class_of_their_own() -> None:
    spin, ran = Engine(MemoryBroker(), namespace="kinds"), threading.Event()
    of_job: list[threading.Thread] = []

    @spin.task(name="look")
    def look() -> None:
        of_job.append(threading.current_thread())
        ran.set()

    spin.schedule("look")
    spin.start_workers(1, block=False)
    wait_for(ran)
    kinds = {t.name: type(t) for t in threading.enumerate() if t.name.startswith("kinds-")}
    spin.stop_workers()
    assert kinds == {
        "kinds-arbiter": ServiceThread,
        "kinds-subscriber": ServiceThread,
        "kinds-result-notifier": ServiceThread,
        "kinds-worker-1": EngineThread,
    }
    assert not isinstance(of_job[0], ServiceThread)
