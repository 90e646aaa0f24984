"""The calls of arbiter and subscriber for the tests to drive."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine, Job, Tasks
from spinach.worker.conditions import Conditions
from spinach.worker.declaration import declare
from spinach.worker.fetching import Fetching
from spinach.worker.in_flight import InFlight
from spinach.worker.keep_alive import KeepAlive
from spinach.worker.memberships import Memberships
from spinach.worker.prefetch import Prefetch
from spinach_memory import MemoryStore
from spinach_testing.clock import VirtualClock

from .support import Fixed, FlakyBroker


class Rig:
    """A worker process without threads: the test is arbiter, subscriber and worker."""

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
            wake_subscriber=lambda: None,
            wake_arbiter=lambda: None,
            wake_notifier=lambda: None,
            hurry_notifier=lambda: None,
        )
        self.lost: list[Job] = []
        self.memberships = Memberships(
            lambda _: declare(self.tasks.tasks, queues or ("spinach",), lease_ms=lease_ms, info={}),
            self.in_flight,
            Fixed(),
        )
        conditions = Conditions(
            self.broker, lambda name: name in self.memberships.declaration().tasks
        )
        parts = (self.broker, self.memberships, self.in_flight, conditions)
        self.keep_alive = KeepAlive(*parts, self.lost.append)
        self.arbiter_woken = 0
        self.fetching = Fetching(*parts, wake_arbiter=self._wake, on_lost=self.lost.append)

    def _wake(self) -> None:
        self.arbiter_woken += 1

    def _fate(self, call: str) -> str | None:
        self.calls.append(call)
        cuts = self._plan.get(call)
        return cuts.pop(0) if cuts else None

    def advance(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def due(self, *, fetching: bool = True, closing: bool = False) -> list[str]:
        """The calls that were due, but for fetches: the arbiter's and then the subscriber's.

        Args:
            fetching: False leaves out the subscriber, as while it waits.
            closing: the process is told to stop.
        """
        self.calls.clear()
        self.keep_alive.step()
        if fetching:
            self.fetching.catch_up(closing=closing)
        return list(self.calls)

    def next_call_in(self) -> float:
        return min(self.keep_alive.next_call_in(), self.fetching.next_call_in(closing=False))

    def fetch(self, idle: int = 1, extra: int = 0) -> int:
        return self.fetching.fetch(idle=idle, extra=extra)

    def wait(self, seconds: float = 5.0, late: float = 0.0) -> int:
        """A fetch that waits in vain, and is answered so much later than it waited."""
        inner = self.broker.fetch

        def fetch(*args: Any, **options: Any) -> Any:
            self.advance(seconds + late)
            self.broker.interrupt()
            return inner(*args, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.broker, "fetch", fetch)
            return self.fetching.fetch(idle=1, extra=0, block_seconds=seconds)

    def idle(self, seconds: float, late: float = 0.0) -> list[tuple[float, str]]:
        """The calls of an idle process with the instants they were sent."""
        sent: list[tuple[float, str]] = []
        began = self.clock.monotonic()
        while (now := self.clock.monotonic()) - began < seconds:
            # The arbiter's go out while the subscriber waits.
            ends = now + self.fetching.wait_seconds(5.0)
            sent.append((now - began, "fetch"))
            while (beat_in := self.keep_alive.next_call_in()) < ends - self.clock.monotonic():
                self.advance(beat_in)
                at = self.clock.monotonic() - began
                sent += [(at, call) for call in self.due(fetching=False)]
            self.wait(max(0.001, ends - self.clock.monotonic()), late)
        return sent
