"""The base of all adapters, and the program that each of them is.

The program reads one JSON object from its standard input: `command`, `url` of the server,
`options` of the contestant, and what the command takes. It prints a JSON object. `work` runs
a worker until SIGTERM and prints nothing.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import logging
import signal
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Adapter", "AsyncAdapter", "Call", "SyncAdapter", "play", "until_stopped"]


@dataclass(frozen=True)
class Call:
    """A job to schedule; `due` in seconds since 1970, None for now."""

    task: str
    args: tuple[Any, ...] = ()
    due: float | None = None


class Adapter(ABC):
    """One contestant on one server; made anew for each command.

    Args:
        url: of the server.
        options: the contestant's variant, from the roster.
    """

    #: What becomes of a job whose worker is killed, as configured here.
    guarantee: ClassVar[str]
    #: Name of its distribution.
    distribution: ClassVar[str]
    #: Whether there is a call that schedules many jobs.
    has_batch: ClassVar[bool] = False
    #: Whether a producer can wait for what a job returned; on where the options have `results`.
    has_results: ClassVar[bool] = False
    #: Whether it plays on a Cluster, with `queues` among its options to spread jobs over.
    on_cluster: ClassVar[bool] = False

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url = url
        self.options = options

    @abstractmethod
    def pending(self) -> list[list[str]]:
        """Commands whose integer answers add up to the jobs without a reported outcome.

        Cheap for the server: they are sent many times while jobs run.
        """

    @abstractmethod
    def work(self, slots: int) -> None:
        """Run a worker with this many threads, or what takes their place, until SIGTERM."""

    @abstractmethod
    def produce(self, calls: Iterator[Call], batch: Sequence[Call] | None) -> float:
        """Schedule a batch, or else the calls as they come.

        Returns:
            Seconds that it took, without connecting.
        """

    @abstractmethod
    def ask(self, calls: Sequence[Call]) -> list[float]:
        """Schedule each call and wait for its result, one after the other.

        Returns:
            Seconds that each took.
        """


class SyncAdapter(Adapter):
    """A contestant whose producers are threads."""

    @abstractmethod
    def send(self, call: Call) -> None:
        """Schedule one job."""

    def send_batch(self, calls: Sequence[Call]) -> None:
        """Schedule many jobs; in one call, if there is one for it."""
        for call in calls:
            self.send(call)

    def produce(self, calls: Iterator[Call], batch: Sequence[Call] | None) -> float:
        """See `Adapter`; one call after another."""
        self.connect()
        begin = time.perf_counter()
        if batch is not None:
            self.send_batch(batch)
        else:
            for call in calls:
                self.send(call)
        return time.perf_counter() - begin

    def connect(self) -> None:
        """Do what a producer does once."""

    def ask(self, calls: Sequence[Call]) -> list[float]:
        """See `Adapter`."""
        self.connect()
        seconds = []
        for call in calls:
            begin = time.perf_counter()
            found = self.result(call)
            seconds.append(time.perf_counter() - begin)
            _check(call, found)
        return seconds

    def result(self, call: Call) -> Any:
        """Schedule one job, and wait for what it returns."""
        raise NotImplementedError


class AsyncAdapter(Adapter):
    """A contestant whose producers are coroutines."""

    @abstractmethod
    async def asend(self, call: Call) -> None:
        """Schedule one job."""

    async def asend_batch(self, calls: Sequence[Call]) -> None:
        """Schedule many jobs; in one call, if there is one for it."""
        for call in calls:
            await self.asend(call)

    async def open(self) -> None:
        """Do what a producer does once."""

    async def close(self) -> None:
        """Undo it."""

    def produce(self, calls: Iterator[Call], batch: Sequence[Call] | None) -> float:
        """See `Adapter`; in one event loop, one call after another."""
        return asyncio.run(self._produce(calls, batch))

    async def _produce(self, calls: Iterator[Call], batch: Sequence[Call] | None) -> float:
        await self.open()
        begin = time.perf_counter()
        if batch is not None:
            await self.asend_batch(batch)
        else:
            for call in calls:
                await self.asend(call)
        seconds = time.perf_counter() - begin
        await self.close()
        return seconds

    def ask(self, calls: Sequence[Call]) -> list[float]:
        """See `Adapter`."""
        return asyncio.run(self._ask(calls))

    async def _ask(self, calls: Sequence[Call]) -> list[float]:
        await self.open()
        seconds = []
        for call in calls:
            begin = time.perf_counter()
            found = await self.aresult(call)
            seconds.append(time.perf_counter() - begin)
            _check(call, found)
        await self.close()
        return seconds

    async def aresult(self, call: Call) -> Any:
        """Schedule one job, and wait for what it returns."""
        raise NotImplementedError


def _check(call: Call, found: Any) -> None:
    """The result has to be that of the call, or nothing was measured."""
    if found != call.args[0]:
        raise AssertionError(f"{call} returned {found!r}")


async def until_stopped(running: Sequence[asyncio.Task[Any]]) -> None:
    """Let parts of a worker run until SIGTERM, or until one of them fails."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stopped = asyncio.create_task(stop.wait())
    done, left = await asyncio.wait([stopped, *running], return_when=asyncio.FIRST_COMPLETED)
    for each in left:
        each.cancel()
    for each in done:
        each.result()


def play(contestant: type[Adapter]) -> None:
    """Be the program of an adapter."""
    order = json.loads(sys.stdin.read())
    # Logs are off for all contestants. Errors still show.
    logging.disable(logging.WARNING)
    adapter = contestant(order["url"], order["options"])
    command = order["command"]
    if command == "describe":
        answer: dict[str, Any] = {
            "version": importlib.metadata.version(contestant.distribution),
            "python": sys.version.split()[0],
            "guarantee": adapter.guarantee,
            "has_batch": contestant.has_batch,
            "has_results": contestant.has_results,
            "on_cluster": contestant.on_cluster,
            "pending": adapter.pending(),
        }
    elif command == "work":
        adapter.work(order["slots"])
        return
    elif command == "ask":
        answer = {"asked": adapter.ask([Call("answer", (n,)) for n in range(order["count"])])}
    else:
        answer = {"seconds": _produce(adapter, order)}
    print(json.dumps(answer))


def _produce(adapter: Adapter, order: dict[str, Any]) -> float:
    command, count = order["command"], order.get("count", 0)
    if command == "batch":
        return adapter.produce(iter(()), [Call(order["task"])] * count)
    if command == "enqueue":
        return adapter.produce(iter([Call(order["task"])] * count), None)
    if command == "trickle":
        return adapter.produce(_trickle(count, order["interval"]), None)
    if command == "defer":
        return adapter.produce(iter(_deferred(count, *order["span"])), None)
    if command == "calls":
        calls = [Call(task, tuple(args)) for task, args in order["calls"]]
        if type(adapter).has_batch:
            return adapter.produce(iter(()), calls)
        return adapter.produce(iter(calls), None)
    raise ValueError(
        f"Unknown command {command!r}, expected describe, work, ask, batch, enqueue, trickle, "
        "defer or calls. A new one is added to `_produce`."
    )


def _trickle(count: int, interval: float) -> Iterator[Call]:
    """One call each interval, which carries the moment before it is sent."""
    begin = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begin + number * interval - time.monotonic()))
        yield Call("picked_up", (time.monotonic(),))


def _deferred(count: int, first: float, last: float) -> list[Call]:
    """Calls due evenly over a span that begins `first` seconds from now."""
    now = time.time()
    step = (last - first) / max(1, count - 1)
    dues = [round(now + first + number * step, 3) for number in range(count)]
    return [Call("came_due", (due,), due) for due in dues]
