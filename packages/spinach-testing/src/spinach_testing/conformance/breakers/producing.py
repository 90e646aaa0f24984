"""Breakers of what producers rely on: stored once, whole, in order, unchanged, in time."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from msgspec.structs import replace

from spinach.clock import to_ms
from spinach.record.ids import may_repeat, stored_id

from .base import Breaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import Deposit


class LosesAJob(Breaker):
    """Drops the last job of a batch and says that it was stored."""

    breaks = "I1"

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        if len(deposits) < 2:
            return self.inner.enqueue(deposits)
        return [*self.inner.enqueue(deposits[:-1]), True]


class StoresTwice(Breaker):
    """Stores each job a second time, as a resend that is not recognised would."""

    breaks = "I2"

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        answers = self.inner.enqueue(deposits)
        self.inner.enqueue(
            [
                replace(each, stored_id=stored_id(str(uuid.uuid4()), may_repeat(each.stored_id)))
                for each in deposits
            ]
        )
        return answers


class ReversesABatch(Breaker):
    """Makes the jobs of one call ready in reverse."""

    breaks = "I9"

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        return self.inner.enqueue(list(reversed(deposits)))[::-1]


class HandsOutEarly(Breaker):
    """Makes future jobs ready at once, and says that they wait."""

    breaks = "I8"

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        now_ms = to_ms(self.inner.clock.now())
        self.inner.enqueue([replace(each, due_ms=None) for each in deposits])
        return [each.due_ms is None or each.due_ms <= now_ms for each in deposits]


class AltersRecords(Breaker):
    """Keeps records as text, so that bytes which are none change."""

    breaks = "I18"

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        return self.inner.enqueue(
            [
                replace(each, record=each.record.decode(errors="replace").encode())
                for each in deposits
            ]
        )


class TrimsRecords(Breaker):
    """Strips white space from the end of records."""

    breaks = "I18"

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        return self.inner.enqueue([replace(each, record=each.record.rstrip()) for each in deposits])


class MixesNamespaces(Breaker):
    """Stores each job in the other namespaces of the store, too."""

    breaks = "I21"

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        for namespace in {each.namespace for each in self.family.breakers} - {self.namespace}:
            other = next(each for each in self.family.breakers if each.namespace == namespace)
            other.inner.enqueue(deposits)
        return self.inner.enqueue(deposits)


class CutsQueueNames(Breaker):
    """Stores each job in the queue whose name ends before the first slash."""

    breaks = "I21"

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        return self.inner.enqueue(
            [replace(each, queue=each.queue.partition("/")[0]) for each in deposits]
        )
