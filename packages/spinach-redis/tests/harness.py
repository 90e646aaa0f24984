"""The store that the conformance suite plays with."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from spinach.clock import from_ms
from spinach_redis import RedisBroker
from spinach_testing.conformance import Harness

from .servers import Server

__all__ = ["RedisHarness"]

MILLISECOND = timedelta(milliseconds=1)


class RedisHarness(Harness):
    """A prefix of its own on the shared server, whose clock is turned by an offset."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._prefix = "h" + uuid.uuid4().hex[:12]
        self._offset_ms = 0
        self._brokers: list[RedisBroker] = []
        self._client = server.client()

    def new_broker(self, *, namespace: str = "conformance") -> RedisBroker:
        broker = RedisBroker.from_url(self._server.unix_url, _offset_ms=lambda: self._offset_ms)
        broker.bind(f"{self._prefix}-{namespace}", object())
        self._brokers.append(broker)
        return broker

    def advance(self, by: timedelta) -> None:
        self._offset_ms += -(-by // MILLISECOND)

    def now(self) -> datetime:
        seconds, microseconds = self._client.time()
        return from_ms(seconds * 1000 + self._offset_ms) + timedelta(microseconds=microseconds)

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()
        self._client.close()
