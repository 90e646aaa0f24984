"""What type checkers make of registries, decorators and tasks; see `scheduling.py`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, assert_type

from spinach import AbortException, Backoff, Engine, MemoryBroker, RetryException, Task, Tasks
from spinach.brokers.base import Broker
from spinach.engine import Engine as EngineByItsModule
from spinach.task import Tasks as TasksByItsModule

from .scheduling import NOON

tasks: TasksByItsModule = Tasks(
    queue="mail", max_retries=3, periodicity=timedelta(hours=1), max_concurrency=2
)
spin: EngineByItsModule = Engine(MemoryBroker(), namespace="shop")
minute = timedelta(minutes=1)


# -- the decorator returns the function itself, with its own type -------------------


@tasks.task(name="add", queue="sums", max_retries=1, max_concurrency=2)
def add(a: int, b: int = 0) -> int:
    return a + b


@spin.task(name="tick", periodicity=minute, replace=True)
def tick() -> None:
    raise RetryException("not yet", at=NOON)


@tasks.task(name="named")
def named(x: str, /, *, flag: bool) -> list[str]:
    raise AbortException("for good")


assert_type(add(1, b=2), int)
assert_type(tick(), None)
assert_type(named("x", flag=True), list[str])
callback: Callable[[int, int], int] = add
add("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
named("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
wrong: Callable[[str], int] = add  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

# -- without a decorator ------------------------------------------------------------

tasks.add(print, "print")
tasks.add(lambda: None, name="nothing", periodicity=minute)
tasks.add(print, "print", replace=True)
assert_type(tasks.names, list[str])
assert_type(tasks.tasks, dict[str, Task[..., Any]])
assert_type(tasks.get("add"), Task[..., Any])
tasks.add(print, "patient", backoff=Backoff(jitter=0.0))
tasks.add(print, "calculated", backoff=lambda attempt: attempt * minute)
tasks.task(name="decorated", backoff=Backoff())(print)
Tasks(backoff=Backoff())
Tasks(backoff=lambda attempt: attempt * minute)
tasks.add(print, "late", backoff=minute)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tasks.add(print, "none", backoff=lambda: minute)  # type: ignore[arg-type,misc]  # pyright: ignore[reportArgumentType]
tasks.add(print, "number", backoff=float)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tasks.add(print)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
tasks.add("print", "print")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# -- a decorator without parentheses, or with the wrong options ---------------------

tasks.task(add)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tasks.task(name="x", max_retries="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tasks.task(name="x", periodicity=60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tasks.task(name="x", replace="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tasks.task(name="x", retries=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
tasks.task("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Tasks("mail", 3, 60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def look(task: Task[[int], str]) -> None:
    """A task carries what was said of it, and cannot be changed."""
    assert_type(task.func, Callable[[int], str])
    assert_type(task.name, str)
    assert_type(task.queue, str)
    assert_type(task.max_retries, int)
    assert_type(task.periodicity, timedelta | None)
    assert_type(task.max_concurrency, int | None)
    task.queue = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# -- engines ------------------------------------------------------------------------

spin.attach_tasks(tasks)
spin.detach_tasks(tasks)
broker: Broker = MemoryBroker(lease=timedelta(seconds=60), max_payload_bytes=1000)
spin.attach_tasks([add])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Engine("redis://")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Engine()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
RetryException("later", at="noon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
RetryException(at=minute)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
