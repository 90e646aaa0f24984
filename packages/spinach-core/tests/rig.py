"""A consumer for the tests to drive."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine, Job, Tasks
from spinach.worker.consumer import Consumer
from spinach.worker.declaration import declare
from spinach.worker.in_flight import InFlight
from spinach.worker.prefetch import Prefetch
from spinach_memory import MemoryStore
from spinach_testing.clock import VirtualClock

from .support import Fixed, FlakyBroker


class Rig:
    """A consumer without threads: the test is arbiter and worker."""

    def __init__(
        self,
        *queues: str,
        tasks: Tasks | None = None,
        lease_ms: int = 30_000,
        **plan: list[str],
    ) -> None:
        self.clock = VirtualClock()
        self.calls: list[str] = []
        self._plan = plan
        self.broker = FlakyBroker(MemoryStore(), plan=self._fate, clock=self.clock)
        self.engine = Engine(self.broker)
        self.tasks = tasks or Tasks()
        if tasks is None:
            self.tasks.add(print, "print")
        self.engine.attach_tasks(self.tasks)
        self.in_flight = InFlight(
            self.clock,
            Prefetch(),
            wake_arbiter=lambda: None,
            wake_notifier=lambda: None,
            hurry_notifier=lambda: None,
        )
        self.lost: list[Job] = []
        self.consumer = Consumer(
            self.broker,
            lambda _: declare(self.tasks.tasks, queues or ("spinach",), lease_ms=lease_ms, info={}),
            self.in_flight,
            self.lost.append,
            Fixed(),
        )

    def _fate(self, call: str) -> str | None:
        self.calls.append(call)
        cuts = self._plan.get(call)
        return cuts.pop(0) if cuts else None

    def advance(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def upkeep(self, **options: Any) -> list[str]:
        """The calls that were due."""
        self.calls.clear()
        self.consumer.upkeep(**options)
        return list(self.calls)

    def fetch(self, idle: int = 1, extra: int = 0) -> int:
        return self.consumer.fetch(idle=idle, extra=extra)

    def wait(self, seconds: float = 5.0, late: float = 0.0) -> int:
        """A fetch that waits in vain, and is answered so much later than it waited."""
        inner = self.broker.fetch

        def fetch(*args: Any, **options: Any) -> Any:
            self.advance(seconds + late)
            self.broker.interrupt()
            return inner(*args, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.broker, "fetch", fetch)
            return self.consumer.fetch(idle=1, extra=0, block_seconds=seconds)

    def idle(self, seconds: float, late: float = 0.0) -> list[tuple[float, str]]:
        """The calls of an idle process with the instants they were sent."""
        sent: list[tuple[float, str]] = []
        began = self.clock.monotonic()
        while (now := self.clock.monotonic()) - began < seconds:
            sent += [(now - began, call) for call in self.upkeep()]
            self.calls.clear()
            block_seconds = self.consumer.prepare_wait()
            sent += [(now - began, call) for call in self.calls]
            self.wait(block_seconds, late)
            sent.append((now - began, "fetch"))
        return sent
