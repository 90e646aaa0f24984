"""Fixtures of core's tests, and a watch over the threads that tests leave behind."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from spinach import Engine, Tasks
from spinach_memory import MemoryBroker, MemoryStore

from .support import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# How long an example takes says more about the machine than about the code.
settings.register_profile("spinach", deadline=None, database=None)
settings.load_profile("spinach")


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Every test ends its threads."""
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert not left, f"threads left behind: {left}"


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Engines on a clock that stands still until the test turns it."""
    bench = Bench()
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def new_engine(store: MemoryStore) -> Iterator[Callable[..., Engine]]:
    """Makes engines on the machine's clock, all on one store; stops them in the end."""
    engines: list[Engine] = []

    def make(*registries: Tasks, namespace: str = "spinach", **options: object) -> Engine:
        engine = Engine(MemoryBroker(store, **options), namespace)
        for registry in registries:
            engine.attach_tasks(registry)
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.stop_workers()


@pytest.fixture
def engine(new_engine: Callable[..., Engine], tasks: Tasks) -> Engine:
    """An engine with the registry `tasks` attached."""
    return new_engine(tasks)
