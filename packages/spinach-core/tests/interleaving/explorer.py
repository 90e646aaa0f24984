"""Runs a small concurrent program under every order of its steps.

A model checker for real code: the program's threads are greenlets, which switch only
where a thread could lose the processor with an effect, that is before a lock is
taken. The program is run again and again, each time under another order, until every
state that any order leads to was seen. A state is what the program's objects hold,
and where each thread stands with its local variables; an order that reaches a state
seen before is broken off there, since all that can follow was or will be seen.

No timeout ever ends a wait here, so that a lost wake-up shows as a deadlock.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import threading
import types
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import greenlet

from spinach.clock import SystemClock
from spinach.outcome import Lease
from spinach.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class Deadlock(AssertionError):
    """Threads are left that nobody will wake."""


class ControlledLock:
    """A lock whose every acquisition is a point of choice."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.owner: str | None = None

    def acquire(self) -> bool:
        self._run.pause(self)
        assert self.owner is None, "the scheduler let two threads in"
        self.owner = self._run.current
        return True

    def release(self) -> None:
        if self._run.breaking_off:
            return
        assert self.owner == self._run.current, "released by another thread"
        self.owner = None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class ControlledCondition:
    """A condition on a controlled lock; wakes in the order of waiting, as CPython's does."""

    def __init__(self, run: Run, lock: ControlledLock) -> None:
        self._run = run
        self._lock = lock
        self.waiting: list[str] = []

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        assert self._lock.owner == self._run.current, "waits without the lock"
        self.waiting.append(self._run.current)
        self._lock.owner = None
        self._run.sleep(self._lock)
        self._lock.owner = self._run.current
        return True

    def notify(self, n: int = 1) -> None:
        if self._run.breaking_off:
            return
        assert self._lock.owner == self._run.current, "notifies without the lock"
        for name in self.waiting[:n]:
            self._run.wake(name)
        del self.waiting[:n]

    def notify_all(self) -> None:
        self.notify(len(self.waiting))


class StoppedClock(SystemClock):
    """Time stands still and ends no wait."""

    def now(self) -> datetime:
        return super().now()

    def monotonic(self) -> float:
        return 0.0

    def wait(self, condition: Any, timeout_seconds: float | None) -> bool:
        condition.wait()
        return True


@dataclass
class _Thread:
    greenlet: greenlet.greenlet
    #: The lock it wants next.
    wants: ControlledLock | None = None
    #: In a condition, and not notified.
    asleep: bool = False


class Run:
    """One execution; stands in for the module `threading` in the code under test."""

    def __init__(self) -> None:
        self._threads: dict[str, _Thread] = {}
        self._hub = greenlet.getcurrent()
        self.current = ""
        self.trace: list[str] = []
        #: The execution is over and its threads are being cleared away.
        self.breaking_off = False

    # What the code under test calls, under threading's names.

    def Lock(self) -> ControlledLock:  # noqa: N802 - threading's name
        return ControlledLock(self)

    def Condition(self, lock: ControlledLock) -> ControlledCondition:  # noqa: N802
        return ControlledCondition(self, lock)

    # What a program under test is made of.

    def thread(self, name: str, function: Callable[[], None]) -> None:
        self._threads[name] = _Thread(greenlet.greenlet(function))

    def pause(self, lock: ControlledLock) -> None:
        if not self.current:
            return  # The program is still being built.
        self._threads[self.current].wants = lock
        self._hub.switch()

    def sleep(self, lock: ControlledLock) -> None:
        thread = self._threads[self.current]
        thread.wants, thread.asleep = lock, True
        self._hub.switch()

    def wake(self, name: str) -> None:
        self._threads[name].asleep = False

    def position(self, known: dict[int, int]) -> tuple[object, ...]:
        """Where each thread stands, with its local variables; `known` as for `summary`."""
        stands: list[object] = []
        for name, thread in self._threads.items():
            frame = thread.greenlet.gr_frame if not thread.greenlet.dead else None
            stands.append((name, thread.asleep))
            while frame is not None:
                # What hangs on `self` is in the program's state.
                # Each by itself: a dict of them would be gone before the next thread is told,
                # and another one might have its id.
                held = tuple([(k, v) for k, v in frame.f_locals.items() if k != "self"])
                stands.append((frame.f_code.co_name, frame.f_lasti, summary(held, known)))
                frame = frame.f_back
        return tuple(stands)

    def execute(self, choose: Callable[[list[str]], str]) -> None:
        """Run until every thread has ended.

        Args:
            choose: gets the threads that can go on, and names the next.

        Raises:
            Deadlock: some have not, and none can go on.
        """
        try:
            # To its first lock each thread goes at once: nothing is shared before.
            for name in self._threads:
                self._step(name)
            while True:
                alive = {n: t for n, t in self._threads.items() if not t.greenlet.dead}
                if not alive:
                    return
                enabled = [
                    name
                    for name, thread in alive.items()
                    if not thread.asleep and thread.wants.owner is None
                ]
                if not enabled:
                    raise Deadlock(f"{', '.join(sorted(alive))} wait for ever after {self.trace}")
                name = choose(enabled)
                self.trace.append(name)
                self._step(name)
        finally:
            self.breaking_off = True
            for name, thread in self._threads.items():
                if not thread.greenlet.dead:
                    self.current = name
                    thread.greenlet.throw(greenlet.GreenletExit)

    def _step(self, name: str) -> None:
        self.current = name
        self._threads[name].greenlet.switch()


@dataclass
class _Node:
    """A point of choice on the path that is being explored."""

    #: Threads still to be chosen here.
    rest: list[str]
    choice: str


class _Seen(Exception):
    """Whatever follows from here is seen in another order."""


@dataclass(frozen=True)
class Report:
    """What an exploration saw."""

    #: Different states.
    states: int
    #: Orders that were run to the end.
    executions: int


def explore(
    program: Callable[[Run], tuple[object, Callable[[], None]]], *, most: int = 1_000_000
) -> Report:
    """Run a program under all orders that lead to different states.

    Args:
        program: builds the threads on a `Run`; returns what holds the program's
            state, and a check that is called when all threads have ended.
        most: states after which it gives up.

    Raises:
        Deadlock: in some order threads wait for ever.
        AssertionError: a check failed, or the program has more states than `most`.
    """
    path: list[_Node] = []
    seen: set[int] = set()
    executions = 0
    while True:
        depth = 0
        run = Run()
        root, check = program(run)

        def choose(enabled: list[str], run: Run = run, root: object = root) -> str:
            nonlocal depth
            if depth == len(path):
                known: dict[int, int] = {}
                state = hash((summary(root, known), run.position(known)))
                if state in seen:
                    raise _Seen
                seen.add(state)
                first, *rest = enabled
                path.append(_Node(rest, first))
            depth += 1
            return path[depth - 1].choice

        with contextlib.suppress(_Seen):
            run.execute(choose)
            executions += 1
            try:
                check()
            except AssertionError as exc:
                exc.add_note(f"Order of the steps: {run.trace}")
                raise
        assert len(seen) <= most, f"more than {most} states; make the program smaller"
        while path and not path[-1].rest:
            path.pop()
        if not path:
            return Report(len(seen), executions)
        path[-1].choice = path[-1].rest.pop(0)


def summary(value: Any, known: dict[int, int]) -> Any:
    """What an object holds, as something hashable.

    Args:
        value: the object.
        known: id → number of each object that was told before in the same state; it is told by
            its number from then on.
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes, enum.Enum)):
        return value
    if isinstance(value, Lease):
        return value.stored_id, value.token
    if isinstance(value, (Run, type, types.FunctionType, types.ModuleType, types.MethodType, Task)):
        return type(value).__name__  # These never change.
    if isinstance(value, tuple):
        return tuple([summary(item, known) for item in value])
    number = known.get(id(value))
    if number is not None:
        return "seen", number
    known[id(value)] = len(known)
    if isinstance(value, ControlledLock):
        return value.owner
    if isinstance(value, ControlledCondition):
        return tuple(value.waiting)
    if isinstance(value, threading.Event):
        return value.is_set()
    if isinstance(value, dict):
        return tuple([(summary(k, known), summary(v, known)) for k, v in value.items()])
    if isinstance(value, (list, deque)):
        return tuple([summary(item, known) for item in value])
    if isinstance(value, (set, frozenset)):
        return frozenset([summary(item, known) for item in value])
    names = [*getattr(value, "__dict__", ()), *_slots(type(value))]
    held = tuple([(name, summary(getattr(value, name, None), known)) for name in names])
    return (type(value).__name__, held)


@functools.cache
def _slots(kind: type) -> tuple[str, ...]:
    return tuple(
        name
        for base in kind.__mro__
        for name in getattr(base, "__slots__", ())
        if not name.startswith("__")
    )
