"""A memory broker and its time, as a harness of the conformance suite and in its lab."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from spinach.retention import DEFAULT_RETENTION, FailedRetention
from spinach_memory import MemoryBroker, MemoryStore
from spinach_testing.conformance import Harness, Lab, WallClock
from spinach_testing.conformance.harness import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta


class WatchedClock(WallClock):
    """Tells how many waits have begun."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = threading.Semaphore(0)

    def wait(self, condition: threading.Condition, timeout_seconds: float | None) -> bool:
        # The waiting thread holds the store's lock until it really waits, so a thread that
        # sees this and takes the lock afterwards comes later.
        self._begun.release()
        return super().wait(condition, timeout_seconds)

    def expect_wait(self) -> None:
        """Return once one more wait has begun."""
        assert self._begun.acquire(timeout=10), "no further call waits"


class MemoryHarness(Harness):
    """One store and the clock of all its brokers."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = WatchedClock()

    def new_broker(
        self, *, namespace: str = NAMESPACE, failed_retention: FailedRetention = DEFAULT_RETENTION
    ) -> MemoryBroker:
        broker = MemoryBroker(self.store, clock=self.clock, failed_retention=failed_retention)
        broker.bind(namespace, object())
        return broker

    def advance(self, by: timedelta) -> None:
        self.clock.advance(by)

    def set_back(self, by: timedelta) -> None:
        self.clock.set_back(by)

    def now(self) -> datetime:
        return self.clock.now()

    def close(self) -> None:
        """Nothing outlives the store."""


@pytest.fixture
def memory() -> Iterator[MemoryHarness]:
    with MemoryHarness() as harness:
        yield harness


@pytest.fixture
def clock(memory: MemoryHarness) -> WatchedClock:
    return memory.clock


@pytest.fixture
def store(memory: MemoryHarness) -> MemoryStore:
    return memory.store


@pytest.fixture
def lab(memory: MemoryHarness) -> Iterator[Lab]:
    with Lab(memory) as lab:
        yield lab
