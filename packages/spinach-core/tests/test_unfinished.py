"""A task that returns something to await or to iterate has not run."""

from __future__ import annotations

import asyncio
import functools
import gc
import io
import types
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from spinach import Engine, MemoryBroker, Tasks, signals
from spinach.exc import InvalidTask
from spinach.support.checks import refuse_unfinished

from .support import Bench, Ear

ran: list[str] = []


async def coroutine() -> None:
    ran.append("coroutine")


async def async_generator() -> AsyncIterator[int]:
    ran.append("async generator")
    yield 1


def generator() -> Iterator[int]:
    ran.append("generator")
    yield 1


@functools.wraps(coroutine)
def wrapper(*args: Any, **kwargs: Any) -> Any:
    return coroutine(*args, **kwargs)


@functools.wraps(generator)
def around_a_generator() -> Any:
    return generator()


@types.coroutine
def old_coroutine() -> Any:
    ran.append("old coroutine")
    yield


def future() -> asyncio.Future[None]:
    with closing(asyncio.new_event_loop()) as loop:
        return asyncio.Future(loop=loop)


class Later:
    """Can be awaited, as the futures of many libraries can."""

    def __await__(self) -> Iterator[None]:
        ran.append("later")
        yield


class Half:
    """Begins a generator and leaves it."""

    def __call__(self) -> Any:
        begun = generator()
        next(begun)
        ran.clear()
        return begun


UNFINISHED: dict[str, tuple[Callable[..., Any], str]] = {
    "wraps of an async function": (wrapper, "a coroutine"),
    "lambda": (lambda: coroutine(), "a coroutine"),
    "partial of a wrapper": (functools.partial(functools.partial(wrapper)), "a coroutine"),
    "async generator": (lambda: async_generator(), "an async generator"),
    "generator": (around_a_generator, "a generator"),
    "begun generator": (Half(), "a generator"),
    "generator as a coroutine": (lambda: old_coroutine(), "a generator"),
    "awaitable": (Later, "an awaitable of type"),
    "future": (lambda: future(), "an awaitable of type"),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_a_result_that_ran_nothing_fails_the_job_for_good(bench: Bench, case: str) -> None:
    func, what = UNFINISHED[case]
    ran.clear()
    tasks = Tasks()
    tasks.add(func, "unfinished", max_retries=5)
    engine = bench.engine(tasks)
    engine.schedule("unfinished")
    with Ear("bench") as ear, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        engine.start_workers(1, block=False)
        bench.settle()
        gc.collect()
    assert ear.jobs == [
        ("job_started", "RUNNING"),
        ("job_failed", "FAILED"),
        ("job_finished", "FAILED"),
    ]
    (entry,) = engine.failed.list()
    assert entry.error == "spinach.exc.InvalidTask"
    assert f"returned {what}" in entry.message
    assert repr(func) in entry.message
    assert ran == []
    assert [each for each in warned if "never awaited" in str(each.message)] == []


@pytest.mark.parametrize(
    ("func", "twin"), [(lambda: coroutine(), coroutine), (lambda: generator(), generator)]
)
def test_the_failure_says_what_registering_would_have_said(
    func: Callable[[], Any], twin: Callable[[], Any]
) -> None:
    with pytest.raises(InvalidTask) as registered:
        Tasks().add(twin, "twin")
    refusal = refuse_unfinished(func, func())
    assert refusal is not None
    remedy = str(registered.value).partition(", ")[2]
    assert "Register a plain function" in remedy
    assert str(refusal).endswith(remedy)


class Unsized(type):
    """A metaclass that answers no question."""

    def __getattribute__(cls, name: str) -> Any:
        if name in {"__mro__", "__await__", "__subclasshook__", "__abstractmethods__"}:
            raise RuntimeError(name)
        return super().__getattribute__(name)


class Closed(metaclass=Unsized):
    pass


RESULTS = [
    None, 0, "text", [1], {"a": 1}, (1,), {1}, b"", iter([1]), map(str, [1]), range(3),
    io.StringIO("a\nb"), object(), functools.partial(coroutine), coroutine, generator, Closed(),
]  # fmt: skip


@pytest.mark.parametrize("result", RESULTS, ids=lambda each: type(each).__name__)
def test_other_results_are_of_no_interest(bench: Bench, result: object) -> None:
    tasks = Tasks()
    tasks.add(lambda: result, "finished")
    engine = bench.engine(tasks)
    engine.schedule("finished")
    with Ear("bench") as ear:
        engine.start_workers(1, stop_when_queue_empty=True)
    assert ear.jobs[-1] == ("job_finished", "SUCCEEDED")


class Asynchronous:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    "func",
    [
        functools.partial(functools.partial(coroutine)),
        functools.partial(Asynchronous()),
        functools.partial(functools.partial(generator)),
    ],
)
def test_a_partial_of_a_function_that_runs_nothing_is_refused(func: Callable[..., Any]) -> None:
    with pytest.raises(InvalidTask, match="would run nothing"):
        Tasks().add(func, "partial")


@pytest.mark.concurrency
def test_a_receiver_that_runs_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(MemoryBroker(), "receivers")
    engine.task(name="t")(lambda: None)
    with signals.job_finished.connected_to(lambda *_, **__: generator(), "receivers"):
        engine.schedule("t")
        engine.start_workers(1, stop_when_queue_empty=True)
    (record,) = [each for each in caplog.records if each.name == "spinach.signals"]
    assert "returned a generator" in str(record.exc_info)
