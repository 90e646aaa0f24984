"""Breakers of the blocking fetch: which processes wake up, and which do not."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from spinach.exc import NestedCall

from .base import Breaker, ChangesFetches, Family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.base import Broker
    from spinach.brokers.calls import Deposit, FetchReply, FetchTurn

#: Real time after which a wait of a breaker ends by itself.
_END_SECONDS = 60.0


class NeverWaits(ChangesFetches):
    """Returns at once from a fetch that is to wait."""

    breaks = "I14"

    def changed_wait(self, seconds: float) -> float:
        return 0.0


class SleepsThroughWork(ChangesFetches):
    """Waits until it is interrupted, also when jobs are enqueued meanwhile."""

    breaks = "I14"

    def __init__(self, inner: Broker, family: Family) -> None:
        super().__init__(inner, family)
        self._interrupted = threading.Event()

    def interrupt(self) -> None:
        self._interrupted.set()

    def changed_wait(self, seconds: float) -> float:
        if seconds > 0:
            self._interrupted.wait(_END_SECONDS)
            self._interrupted.clear()
        return 0.0


class WakesEverybody(Breaker):
    """Wakes all processes for each job that is enqueued."""

    breaks = "I14"

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        answers = super().enqueue(deposits)
        # A store may refuse to wake processes in the middle of another call.
        with suppress(NestedCall):
            for breaker in self.family.breakers:
                breaker.inner.interrupt()
        return answers


class IgnoresInterrupts(Breaker):
    """Cannot be interrupted."""

    breaks = "I14"

    def interrupt(self) -> None:
        """Not passed on."""


class ForgetsInterrupts(Breaker):
    """Drops an interrupt that comes before the wait, as a bare notification does."""

    breaks = "I14"

    def __init__(self, inner: Broker, family: Family) -> None:
        super().__init__(inner, family)
        # Guards the number of fetches that wait.
        self._lock = threading.Lock()
        self._waiting = 0

    def fetch(
        self,
        turns: Sequence[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        block_seconds: float = 0.0,
    ) -> list[FetchReply]:
        with self._lock:
            self._waiting += block_seconds > 0
        try:
            return super().fetch(
                turns, idle=idle, extra=extra, max_bytes=max_bytes, block_seconds=block_seconds
            )
        finally:
            with self._lock:
                self._waiting -= block_seconds > 0

    def interrupt(self) -> None:
        with self._lock:
            if not self._waiting:
                return
        super().interrupt()
