"""What the jobs of all contestants do; runs in their environments, on the standard library.

A new kind of job is a function with `@job`; every adapter offers it under its name. Jobs tell
a measure what it needs by `EVENTS`: a line of JSON at the end of a file that all processes of
a worker share. Short lines appended to one file do not mix. Jobs that `drained` counts begin
with `TALLY.start()` and end with `TALLY.end()`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["NAP_SECONDS", "TASKS", "FirstAttemptFailed", "async_version"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: How long the job of the I/O-bound measure waits.
NAP_SECONDS = 0.010

#: The two durations of the mixed load.
SHORT_SECONDS = 0.001
LONG_SECONDS = 5.0

#: Steps of the CPU-bound job; about two milliseconds.
SPIN_STEPS = 40_000


class Events:
    """Appends to the file that the environment names; without one it does nothing."""

    def __init__(self) -> None:
        path = os.environ.get("BENCH_EVENTS")
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if path else None

    def add(self, kind: str, **values: float) -> None:
        """Append one event with the time on the clock that all processes share.

        Added is the CPU time that this process has used.
        """
        if self._file is not None:
            times = {"at": time.monotonic(), "cpu": time.process_time()}
            line = json.dumps({"kind": kind, **times, **values}) + "\n"
            os.write(self._file, line.encode())


class Tally:
    """Counts jobs of this process, and tells of the first start and of the last end."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._last = int(os.environ.get("BENCH_EXPECTED", "0"))
        # next() of these is one step even without a global interpreter lock.
        self._starts = itertools.count(1)
        self._ends = itertools.count(1)

    def start(self) -> None:
        """A job starts."""
        if next(self._starts) == 1:
            self._events.add("first")

    def end(self) -> None:
        """A job has ended."""
        if next(self._ends) == self._last:
            self._events.add("last")


EVENTS = Events()
TALLY = Tally(EVENTS)

#: Name of a task → its function.
TASKS: dict[str, Callable[..., Any]] = {}


def job(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Add a function to `TASKS`, under its name."""
    TASKS[function.__name__] = function
    return function


@job
def noop() -> None:
    """Nothing but being counted."""
    TALLY.start()
    TALLY.end()


@job
def nap() -> None:
    """Wait as for an answer from the network."""
    TALLY.start()
    time.sleep(NAP_SECONDS)
    TALLY.end()


@job
def spin() -> None:
    """Keep a core busy."""
    TALLY.start()
    number = 1
    for _ in range(SPIN_STEPS):
        number = number * 48271 % 2147483647
    TALLY.end()


@job
def picked_up(sent: float) -> None:
    """Tell how long after it was sent (monotonic) the job started."""
    EVENTS.add("picked up", late=time.monotonic() - sent)


@job
def came_due(due: float) -> None:
    """Tell how long after its instant (seconds since 1970) the job started."""
    EVENTS.add("came due", late=time.time() - due)


@job
def answer(number: int) -> int:
    """Return a result, for who asks for one."""
    return number


@job
def short(number: int) -> None:
    """A short job of the mixed load."""
    EVENTS.add("short", number=number)
    time.sleep(SHORT_SECONDS)


@job
def long(number: int) -> None:
    """A long job of the mixed load."""
    EVENTS.add("long", number=number)
    time.sleep(LONG_SECONDS)


@job
def stuck() -> None:
    """Keep the slot of a task with a limit for as long as the process lives."""
    threading.Event().wait()


class FirstAttemptFailed(Exception):
    """Raised by `fails_once`; an adapter says how its contestant tries again at once."""


#: Numbers of the jobs whose first attempt was in this process.
_TRIED: set[int] = set()


@job
def fails_once(number: int) -> None:
    """Fail at the first attempt; do nothing but being counted at the next one."""
    TALLY.start()
    if number not in _TRIED:
        _TRIED.add(number)
        raise FirstAttemptFailed(number)
    TALLY.end()


async def _nap_async() -> None:
    TALLY.start()
    await asyncio.sleep(NAP_SECONDS)
    TALLY.end()


def async_version(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The same job as a coroutine function, for contestants that run nothing else."""
    if name == "nap":
        return _nap_async
    function = TASKS[name]

    async def run(*args: Any) -> Any:
        return function(*args)

    run.__name__ = run.__qualname__ = name
    return run
