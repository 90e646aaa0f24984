"""What a task receives over Redis is what was sent (I18), by all ways a record can take.

Core's tests hold what is refused, which no broker ever sees.
"""

from __future__ import annotations

import queue
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinach import Batch, Engine, Tasks
from spinach_redis import RedisBroker

from .servers import Server

# Seconds on a free machine, minutes on a busy one.
pytestmark = pytest.mark.timeout(300)

PATIENCE = 20.0
PAST = datetime(2001, 1, 1, tzinfo=UTC)

TEXT = st.text(max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_leaves=5,
)


def as_json(value: Any) -> Any:
    """The one change that is allowed: a tuple comes back as a list."""
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return value


class Echo:
    """A running engine, and what its one task received."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._received: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()

    def task(self, *args: Any, **kwargs: Any) -> None:
        self._received.put((args, kwargs))

    def received(self) -> tuple[list[Any], dict[str, Any]]:
        args, kwargs = self._received.get(timeout=PATIENCE)
        return list(args), kwargs

    def send(self, way: str, args: list[Any], kwargs: dict[str, Any]) -> None:
        if way == "now":
            self.engine.schedule("echo", *args, **kwargs)
        elif way == "past":
            self.engine.schedule_at("echo", PAST, *args, **kwargs)
        elif way == "future":
            soon = datetime.now(UTC) + timedelta(milliseconds=5)
            self.engine.schedule_at("echo", soon, *args, **kwargs)
        else:
            batch = Batch()
            batch.schedule("echo", *args, **kwargs)
            self.engine.schedule_batch(batch)


@pytest.fixture(scope="module")
def echo(server: Server) -> Iterator[Echo]:
    broker = RedisBroker.from_url(server.unix_url)
    echo = Echo(Engine(broker, f"echo-{uuid.uuid4()}"))
    tasks = Tasks()
    tasks.add(echo.task, "echo", max_retries=1)
    echo.engine.attach_tasks(tasks)
    echo.engine.start_workers(1, block=False)
    yield echo
    echo.engine.stop_workers()
    broker.close()


@settings(max_examples=1000, derandomize=True, deadline=None, database=None)
@given(
    st.sampled_from(["now", "past", "future", "batch"]),
    st.lists(VALUES, max_size=3),
    st.dictionaries(TEXT, VALUES, max_size=3),
)
def test_a_task_receives_what_was_sent(
    echo: Echo, way: str, args: list[Any], kwargs: dict[str, Any]
) -> None:
    echo.send(way, args, kwargs)
    # Their texts tell the types too, the order of keys, and the sign of a zero.
    assert repr(echo.received()) == repr((as_json(args), as_json(kwargs)))
