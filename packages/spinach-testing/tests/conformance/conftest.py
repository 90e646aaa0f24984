"""A sound broker to put breakers around."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from spinach.retention import DEFAULT_RETENTION, FailedRetention
from spinach_memory import MemoryBroker, MemoryStore
from spinach_testing.conformance import Harness, WallClock


class MemoryHarness(Harness):
    def __init__(self) -> None:
        self._store = MemoryStore()
        self._clock = WallClock()

    def new_broker(
        self, *, namespace: str, failed_retention: FailedRetention = DEFAULT_RETENTION
    ) -> MemoryBroker:
        broker = MemoryBroker(self._store, clock=self._clock, failed_retention=failed_retention)
        broker.bind(namespace, self)
        return broker

    def advance(self, by: timedelta) -> None:
        self._clock.advance(by)

    def set_back(self, by: timedelta) -> None:
        self._clock.set_back(by)

    def now(self) -> datetime:
        return self._clock.now()

    def close(self) -> None:
        """Nothing outlives the store."""


@pytest.fixture
def new_harness() -> type[Harness]:
    return MemoryHarness
