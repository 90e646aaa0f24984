"""What a server would hold: the queues, under one lock, and apart in forked processes."""

from __future__ import annotations

import functools
import os
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakSet

from spinach.brokers.calls import Ending

from .nested import Guarded, WaitLock
from .queue import Queue
from .waiting import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from spinach.brokers.base import Broker
    from spinach.brokers.calls import Deposit, JobEnd

__all__ = ["MemoryStore", "Shelves"]


class Shelves(Guarded):
    """The content of a store in one operating system process.

    Its lock guards the queues and all that is in them. No code of the user runs under it,
    but for signal handlers and the like; see `nested`.
    """

    __slots__ = ("_interrupted", "_numbers", "_queues", "_waiting")

    def __init__(self) -> None:
        super().__init__()
        self._queues: dict[tuple[str, str], Queue] = {}
        self._numbers = count(1)
        # Broker → its fetches that wait.
        self._waiting: dict[Broker, list[Waiter]] = {}
        # Brokers whose next wait is not to happen; the set does not keep them alive.
        self._interrupted: WeakSet[Broker] = WeakSet()

    def find(self, namespace: str, queue: str) -> Queue | None:
        """The queue of that name; None if there was no call for it yet."""
        return self._queues.get((namespace, queue))

    def queue(self, namespace: str, queue: str) -> Queue:
        """The queue of that name; namespaces share nothing (I21)."""
        key = (namespace, queue)
        found = self._queues.get(key)
        if found is None:
            found = self._queues[key] = Queue(queue)
        return found

    def queue_names(self, namespace: str) -> list[str]:
        """The queues of a namespace that took a job or a member."""
        return [
            name for (of, name), queue in self._queues.items() if of == namespace and queue.listed
        ]

    def accept(self, namespace: str, deposits: Sequence[Deposit], now_ms: int) -> list[bool]:
        """Store jobs.

        Returns:
            For each job, whether it is ready.
        """
        answers: list[bool] = []
        touched: dict[str, Queue] = {}
        for deposit in deposits:
            queue = touched.get(deposit.queue)
            if queue is None:
                queue = touched[deposit.queue] = self.queue(namespace, deposit.queue)
            answers.append(queue.accept(deposit, now_ms))
        for queue in touched.values():
            queue.end_call()
        return answers

    def accept_later(self, namespace: str, deposits: Sequence[Deposit], now_ms: int) -> list[bool]:
        """Store the jobs of a nested call when the outer call releases the lock."""
        self.defer(functools.partial(self.accept, namespace, tuple(deposits), now_ms))
        # Whether a job was there already makes no difference to the answer.
        return [each.due_ms is None or each.due_ms <= now_ms for each in deposits]

    def new_number(self) -> int:
        """A number that no fetch had before."""
        return next(self._numbers)

    def wait(
        self,
        broker: Broker,
        asked: Sequence[tuple[Queue, Collection[str]]],
        seconds: float,
    ) -> None:
        """Wait until one of the queues, or a park in it, has something to take.

        It ends early when the broker is interrupted, before or meanwhile. The caller has
        the lock before and after; meanwhile it is free.

        Args:
            broker: of the caller. Its clock measures the time.
            asked: each queue with the tasks whose parks count.
            seconds: longest wait.
        """
        if broker in self._interrupted:
            self._interrupted.remove(broker)
            return
        waiter = Waiter(WaitLock(self))
        waiting = self._waiting.setdefault(broker, [])
        waiting.append(waiter)
        for queue, _ in asked:
            queue.waiters.add(waiter)
        try:
            waiter.wait(
                broker.clock,
                seconds,
                lambda: any(queue.takeable(parks) for queue, parks in asked),
            )
        finally:
            for queue, _ in asked:
                queue.waiters.remove(waiter)
            waiting.remove(waiter)
            if not waiting:
                del self._waiting[broker]

    def await_end(
        self,
        broker: Broker,
        queue: Queue,
        stored_id: str,
        seconds: float,
        now_ms: Callable[[], int],
    ) -> JobEnd:
        """Wait until a job ended, or is not there any more; else PENDING.

        As for `wait`; an interrupt of the broker does not end it.

        Args:
            broker: of the caller. Its clock measures the time.
            queue: of the job.
            stored_id: of the job.
            seconds: longest wait.
            now_ms: the store's now.
        """

        def ended() -> bool:
            return queue.job_end(stored_id, now_ms()).ending is not Ending.PENDING

        if seconds > 0 and not ended():
            waiter = Waiter(WaitLock(self))
            queue.results.add_waiter(stored_id, waiter)
            try:
                waiter.wait(broker.clock, seconds, ended)
            finally:
                queue.results.remove_waiter(stored_id, waiter)
        return queue.job_end(stored_id, now_ms())

    def interrupt(self, broker: Broker) -> None:
        """End the waits of the broker or, without one, make the next one not happen."""
        waiting = self._waiting.get(broker)
        if not waiting:
            self._interrupted.add(broker)
            return
        for waiter in waiting:
            waiter.interrupt()


class MemoryStore:
    """Jobs in memory, shared by brokers as a server is shared by processes.

    Everything is gone when the process ends. After a fork the child starts with an
    empty store: its copy of the parent's jobs would run a second time, and its copy
    of the lock may be held by a thread that does not exist there.
    """

    __slots__ = ("_by_process",)

    def __init__(self) -> None:
        self._by_process: dict[int, Shelves] = {os.getpid(): Shelves()}

    def shelves(self) -> Shelves:
        """The content that belongs to the calling process."""
        process = os.getpid()
        shelves = self._by_process.get(process)
        if shelves is None:
            # All threads of a child get the content of the first one that comes here.
            shelves = self._by_process.setdefault(process, Shelves())
            for other in list(self._by_process):
                if other != process:
                    self._by_process.pop(other, None)
        return shelves
