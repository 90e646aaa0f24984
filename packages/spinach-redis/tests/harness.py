"""The stores that the conformance suite plays with."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from spinach.clock import from_ms
from spinach.retention import DEFAULT_RETENTION, FailedRetention
from spinach_redis import RedisBroker
from spinach_testing.conformance import Harness

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["RedisHarness"]

MILLISECOND = timedelta(milliseconds=1)


class RedisHarness(Harness):
    """A prefix of its own on a shared server, whose clock is turned by an offset.

    Args:
        make: makes a broker for a namespace, with these keywords.
        client: of the server, to ask for its time.
    """

    def __init__(self, make: Callable[..., RedisBroker], client: Redis) -> None:
        self._make = make
        self._client = client
        self._prefix = "h" + uuid.uuid4().hex[:12]
        self._offset_ms = 0
        self._brokers: list[RedisBroker] = []

    def new_broker(
        self,
        *,
        namespace: str = "conformance",
        failed_retention: FailedRetention = DEFAULT_RETENTION,
    ) -> RedisBroker:
        namespace = f"{self._prefix}-{namespace}"
        broker = self._make(
            namespace, failed_retention=failed_retention, _offset_ms=lambda: self._offset_ms
        )
        broker.bind(namespace, object())
        self._brokers.append(broker)
        return broker

    def advance(self, by: timedelta) -> None:
        self._offset_ms += -(-by // MILLISECOND)

    def set_back(self, by: timedelta) -> None:
        self._offset_ms -= by // MILLISECOND

    def now(self) -> datetime:
        seconds, microseconds = self._client.time()
        return from_ms(seconds * 1000 + self._offset_ms) + timedelta(microseconds=microseconds)

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()
        self._client.close()
