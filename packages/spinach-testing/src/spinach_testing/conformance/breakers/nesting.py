"""Breakers of scheduling in the middle of another call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .base import Breaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.base import Broker
    from spinach.brokers.calls import Deposit

    from .base import Family

#: Longer than a trial waits for a call; not for ever, so that the thread ends.
_LOCKED_OUT_SECONDS = 3.0


class LocksItselfOut(Breaker):
    """Holds a lock during each call, for which a signal handler that schedules waits in vain."""

    breaks = "I1"

    def __init__(self, inner: Broker, family: Family) -> None:
        super().__init__(inner, family)
        # Guards nothing.
        self._lock = threading.Lock()

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        free = self._lock.acquire(timeout=_LOCKED_OUT_SECONDS)
        try:
            return self.inner.enqueue(deposits)
        finally:
            if free:
                self._lock.release()


class SwallowsNestedJobs(Breaker):
    """Drops jobs that come in the middle of another call, and says that they were stored."""

    breaks = "I1"

    def __init__(self, inner: Broker, family: Family) -> None:
        super().__init__(inner, family)
        self._callers: set[int] = set()

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        caller = threading.get_ident()
        if caller in self._callers:
            return [True] * len(deposits)
        self._callers.add(caller)
        try:
            return self.inner.enqueue(deposits)
        finally:
            self._callers.discard(caller)
