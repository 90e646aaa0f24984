"""What the tests work with: a store, processes on it, and its time."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from spinach.brokers.calls import LostJob, QueueCounts, Verdict
from spinach.clock import from_ms
from spinach.const import BEATS_PER_LEASE, DEFAULT_LEASE
from spinach.retention import DEFAULT_RETENTION

from .deposits import QUEUE
from .harness import NAMESPACE
from .process import MILLISECOND, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from spinach.brokers.base import Broker
    from spinach.brokers.calls import Deposit, RecoverReply
    from spinach.retention import FailedRetention

    from .harness import Harness

__all__ = ["BEAT", "DEATH_NOTICE", "TOLERANCE_MS", "Call", "Lab"]

_T = TypeVar("_T")

#: How often a process proves its life.
BEAT = DEFAULT_LEASE / BEATS_PER_LEASE

#: Within this time after its last sign of life a dead member is named (I11).
DEATH_NOTICE = DEFAULT_LEASE + timedelta(seconds=10)

#: How much real time may flow during a test; durations are compared with it.
TOLERANCE_MS = 20_000

#: More calls than any loop of the suite needs with a broker that behaves.
MANY_CALLS = 200


class Call(Generic[_T]):
    """A call that runs on a thread of its own.

    Args:
        function: to call.
        patience_seconds: real time after which a wait for it fails the test.
    """

    def __init__(self, function: Callable[[], _T], patience_seconds: float) -> None:
        self._function = function
        self._patience_seconds = patience_seconds
        self._ended = threading.Event()
        self._value: list[_T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="conformance-call", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised again in `result`
            self._error = error
        finally:
            self._ended.set()

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends before this much real time is over."""
        return self._ended.wait(seconds)

    def result(self) -> _T:
        """What it returned or raised.

        Raises:
            AssertionError: it still runs when the patience ends.
        """
        if not self._ended.wait(self._patience_seconds):
            raise AssertionError(f"a call is still blocked after {self._patience_seconds} s")
        if self._error is not None:
            raise self._error
        return self._value[0]


class Lab:
    """A store with its processes and its time; to close it ends the calls that still wait.

    Args:
        harness: of the broker under test; stays the caller's to close.
        patience_seconds: real time after which something that must happen has
            failed to.
        settle_seconds: real time that something that must not happen gets to
            happen.
    """

    def __init__(
        self,
        harness: Harness,
        *,
        patience_seconds: float = 10.0,
        settle_seconds: float = 0.1,
    ) -> None:
        self.harness = harness
        self.settle_seconds = settle_seconds
        self._patience_seconds = patience_seconds
        self._calls: list[Call[Any]] = []
        self._processes: list[Process] = []
        #: A process that only produces and looks.
        self.client: Broker = self.broker()

    # -- processes ---------------------------------------------------------

    def broker(
        self, *, namespace: str = NAMESPACE, retention: FailedRetention = DEFAULT_RETENTION
    ) -> Broker:
        """A further process that only produces and looks."""
        return self.harness.new_broker(namespace=namespace, failed_retention=retention)

    def process(
        self,
        *queues: str,
        limits: Mapping[str, int] | None = None,
        periodic: Mapping[str, timedelta] | None = None,
        namespace: str = NAMESPACE,
        retention: FailedRetention = DEFAULT_RETENTION,
    ) -> Process:
        """A further worker process, a member of the queues (of `QUEUE` if none)."""
        process = self.stranger(namespace=namespace, retention=retention)
        for queue in queues or (QUEUE,):
            process.join(queue, limits=limits, periodic=periodic)
        return process

    def stranger(
        self, *, namespace: str = NAMESPACE, retention: FailedRetention = DEFAULT_RETENTION
    ) -> Process:
        """A further process that joined no queue."""
        process = Process(self.broker(namespace=namespace, retention=retention))
        self._processes.append(process)
        return process

    def background(self, function: Callable[[], _T]) -> Call[_T]:
        """Run a call that may block on a thread of its own."""
        call = Call(function, self._patience_seconds)
        self._calls.append(call)
        return call

    # -- jobs --------------------------------------------------------------

    def enqueue(self, *deposits: Deposit) -> list[bool]:
        """Store jobs from the client."""
        return self.client.enqueue(deposits)

    def counts(self, queue: str = QUEUE) -> QueueCounts:
        """The counts of one queue."""
        [counts] = self.client.counts([queue])
        assert counts.verdict is Verdict.APPLIED, f"counts was not applied: {counts}"
        return counts

    def promote(self, queue: str = QUEUE) -> None:
        """Make all due jobs ready."""
        for _ in range(MANY_CALLS):
            reply = self.client.tick(queue, ())
            assert reply.verdict is Verdict.APPLIED, f"tick was not applied: {reply}"
            if reply.next_due_in_ms is None or reply.next_due_in_ms > 0:
                return
        raise AssertionError(f"jobs are still due after {MANY_CALLS} ticks")

    # -- time --------------------------------------------------------------

    def now_ms(self) -> int:
        """The store's now in ms since 1970, rounded down."""
        return (self.harness.now() - from_ms(0)) // MILLISECOND

    def in_ms(self, span: timedelta) -> int:
        """The instant a span from the store's now, in ms since 1970."""
        return self.now_ms() + span // MILLISECOND

    def advance(self, by: timedelta) -> None:
        """Let time pass in one jump, in which no process makes a call."""
        self.harness.advance(by)

    def set_back(self, by: timedelta) -> None:
        """Set the store's clock back."""
        self.harness.set_back(by)

    def live(self, span: timedelta, *processes: Process) -> list[str]:
        """Let time pass while the processes beat in all their queues.

        Returns:
            The dead members that the replies named, in order.
        """
        named = []
        while span > timedelta(0):
            step = min(span, BEAT)
            self.advance(step)
            span -= step
            for process in processes:
                for queue in process.queues:
                    reply = process.beat(queue)
                    assert reply.verdict is Verdict.APPLIED, f"beat was not applied: {reply}"
                    if reply.dead is not None:
                        named.append(reply.dead)
        return named

    def live_until_due(self, *processes: Process, queue: str = QUEUE) -> None:
        """Let time pass while the processes beat, until all that waits is ready."""
        for _ in range(MANY_CALLS):
            reply = self.client.tick(queue, ())
            assert reply.verdict is Verdict.APPLIED, f"tick was not applied: {reply}"
            if reply.next_due_in_ms is None:
                return
            self.live(reply.next_due_in_ms * MILLISECOND, *processes)
        raise AssertionError(f"jobs still wait after {MANY_CALLS} ticks")

    def bury(self, dead: Process, survivor: Process, queue: str = QUEUE) -> list[LostJob]:
        """Wait for the death of a process to be named, and take back all its leases.

        Returns:
            The jobs that are in the failed store now.
        """
        named = self.live(DEATH_NOTICE, survivor)
        assert dead.member(queue) in named, f"{dead.member(queue)} is dead, but named were {named}"
        return self.recover(dead, survivor, queue)

    def recover(self, dead: Process, survivor: Process, queue: str = QUEUE) -> list[LostJob]:
        """Take back all leases of a process that was named dead.

        Returns:
            The jobs that are in the failed store now.
        """
        return [lost for reply in self.recoveries(dead, survivor, queue) for lost in reply.lost]

    def recoveries(
        self, dead: Process, survivor: Process, queue: str = QUEUE
    ) -> list[RecoverReply]:
        """Like `recover`: what each of the calls answered that it took."""
        replies: list[RecoverReply] = []
        for _ in range(MANY_CALLS):
            reply = survivor.broker.recover(queue, dead.member(queue))
            assert reply.verdict is Verdict.APPLIED, f"recover was not applied: {reply}"
            replies.append(reply)
            if not reply.more:
                return replies
        raise AssertionError(f"leases are left after {MANY_CALLS} recoveries")

    # -- life --------------------------------------------------------------

    def close(self) -> None:
        """End the calls that still wait."""
        for process in self._processes:
            process.broker.interrupt()
        for call in self._calls:
            call.ends_within(self._patience_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
