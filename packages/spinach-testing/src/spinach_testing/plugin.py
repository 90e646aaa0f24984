"""The pytest plugin: an engine, its broker, its clock and real workers as fixtures.

Nothing of Spinach is imported before a fixture is asked for, so that test suites which
merely have the plugin installed stay as fast as they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spinach import Engine, Tasks
    from spinach.brokers.base import Broker

    from .clock import VirtualClock
    from .worker import TestWorker

__all__ = [
    "spinach_broker",
    "spinach_clock",
    "spinach_engine",
    "spinach_tasks",
    "spinach_worker",
]


@pytest.fixture(scope="session")
def spinach_tasks() -> Iterable[Tasks]:
    """The registries under test; override it to return yours. Empty by default."""
    return ()


@pytest.fixture
def spinach_clock() -> VirtualClock:
    """A clock that stands at a fixed date until the test turns it."""
    from .clock import VirtualClock

    return VirtualClock()


@pytest.fixture
def spinach_broker(spinach_clock: VirtualClock) -> Broker:
    """A new memory broker on the virtual clock."""
    from spinach_memory import MemoryBroker

    return MemoryBroker(clock=spinach_clock)


@pytest.fixture
def spinach_engine(spinach_broker: Broker, spinach_tasks: Iterable[Tasks]) -> Iterator[Engine]:
    """A new engine with the tasks attached; stopped and detached after the test."""
    from spinach import Engine

    engine = Engine(spinach_broker)
    for tasks in spinach_tasks:
        engine.attach_tasks(tasks)
    try:
        yield engine
    finally:
        engine.stop_workers()
        for tasks in spinach_tasks:
            engine.detach_tasks(tasks)


@pytest.fixture
def spinach_worker(spinach_engine: Engine, spinach_clock: VirtualClock) -> TestWorker:
    """Real workers that run while the test drains; not started."""
    from .worker import TestWorker

    return TestWorker(spinach_engine, spinach_clock)
