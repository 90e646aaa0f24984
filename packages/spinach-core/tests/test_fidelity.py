"""What a task receives is what was sent, or nobody receives anything (I18).

Through the whole engine: arguments are checked, written, stored, fetched, read and handed
to a function on a worker thread.
"""

from __future__ import annotations

import datetime
import math
import queue
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinach import Batch, Engine, Tasks
from spinach.exc import InvalidArgument
from spinach_memory import MemoryBroker

from .support import PATIENCE

# Seconds on a free machine, minutes on a busy one.
pytestmark = pytest.mark.timeout(300)

EXAMPLES = settings(max_examples=1000, derandomize=True)
PAST = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
END = "the end"

# Small, for making the values takes longer than sending them; test_wire.py has large ones.
TEXT = st.text(max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_leaves=5,
)
NOT_JSON = (
    st.sampled_from([math.nan, math.inf, -math.inf, 1j, ..., object(), print])
    | st.binary(max_size=9)
    | st.sets(st.integers(), max_size=3)
    | st.frozensets(st.text(), max_size=3)
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.builds(bytearray, st.binary(max_size=9))
    | st.dictionaries(st.integers() | st.none() | st.binary(), SCALARS, min_size=1, max_size=2)
)


@st.composite
def refused_arguments(draw: st.DrawFn) -> tuple[list[Any], dict[str, Any], str]:
    """Arguments of which one place is no JSON, and the name of that place."""
    value, steps = draw(NOT_JSON), ""
    for _ in range(draw(st.integers(min_value=0, max_value=3))):
        around = draw(st.lists(SCALARS, max_size=2))
        if draw(st.booleans()):
            key = draw(TEXT)
            value = {key: value} | {f"{key}{n}": item for n, item in enumerate(around)}
            steps = f"[{key!r}]{steps}"
        else:
            steps = f"[{len(around)}]{steps}"
            value = draw(st.sampled_from([list, tuple]))([*around, value])
    before = draw(st.lists(SCALARS, max_size=2))
    if draw(st.booleans()):
        return [*before, value], {}, f"argument {len(before) + 1}{steps}"
    name = draw(TEXT)
    return before, {name: value}, f"argument {name!r}{steps}"


def as_json(value: Any) -> Any:
    """The one change that is allowed: a tuple comes back as a list."""
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return value


def same(left: Any, right: Any) -> bool:
    """Equal in value, type and order, down to the sign of a zero: JSON's types show it all."""
    return repr(left) == repr(right)


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
        if way == "schedule":
            self.engine.schedule("echo", *args, **kwargs)
        elif way == "schedule_at":
            self.engine.schedule_at("echo", PAST, *args, **kwargs)
        else:
            batch = Batch()
            batch.schedule("echo", *args, **kwargs)
            self.engine.schedule_batch(batch)


WAYS = st.sampled_from(["schedule", "schedule_at", "batch"])


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    echo = Echo(Engine(MemoryBroker(), f"echo-{uuid.uuid4()}"))
    tasks = Tasks()
    tasks.add(echo.task, "echo", max_retries=1)
    echo.engine.attach_tasks(tasks)
    echo.engine.start_workers(1, block=False)
    yield echo
    echo.engine.stop_workers()


@EXAMPLES
@given(WAYS, st.lists(VALUES, max_size=3), st.dictionaries(TEXT, VALUES, max_size=3))
def test_a_task_receives_what_was_sent(
    echo: Echo, way: str, args: list[Any], kwargs: dict[str, Any]
) -> None:
    echo.send(way, args, kwargs)
    assert same(echo.received(), (as_json(args), as_json(kwargs)))


@EXAMPLES
@given(WAYS, refused_arguments())
def test_what_would_not_come_back_is_refused_with_its_place_and_never_received(
    echo: Echo, way: str, arguments: tuple[list[Any], dict[str, Any], str]
) -> None:
    args, kwargs, place = arguments
    with pytest.raises(InvalidArgument) as info:
        echo.send(way, args, kwargs)
    assert f"in {place} of task 'echo'" in str(info.value)
    # One queue, one worker: whatever had been stored would come before this.
    echo.engine.schedule("echo", END)
    assert echo.received() == ([END], {})
