"""Which queues workers consume, and what they say of tasks that they leave out."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

import pytest

from spinach import ALL_QUEUES, Engine, Tasks
from spinach.exc import InvalidArgument, InvalidName
from spinach.queues import QueueChoice
from spinach_memory import MemoryBroker

from .support import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator


def tasks_of(**queues: str) -> Tasks:
    tasks = Tasks()
    for name, queue in queues.items():
        tasks.add(print, name, queue=queue)
    return tasks


def engine_with(**queues: str) -> Engine:
    engine = Engine(MemoryBroker())
    engine.attach_tasks(tasks_of(**queues))
    return engine


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What was told at level WARNING or above; filled as it happens."""
    texts: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    ear = Ear(logging.WARNING)
    logger = logging.getLogger("spinach")
    logger.addHandler(ear)
    yield texts
    logger.removeHandler(ear)


def run(engine: Engine, **options: Any) -> None:
    engine.start_workers(1, stop_when_queue_empty=True, **options)


# -- tasks that nobody here runs ---------------------------------------------------


def test_tasks_of_other_queues_are_named_with_the_remedy(warnings: list[str]) -> None:
    run(engine_with(send="mail", here="spinach", purge="housekeeping"))
    [warning] = warnings
    assert warning == (
        "Workers of this process do not run send (queue mail), purge (queue housekeeping): "
        "start_workers() without queue= consumes queue spinach only. Write "
        "start_workers(queue=spinach.ALL_QUEUES), or name the queues to consume."
    )


def test_nothing_is_said_where_no_task_is_left_out(warnings: list[str]) -> None:
    run(engine_with(here="spinach"))
    run(engine_with())
    assert warnings == []


@pytest.mark.parametrize("queue", ["spinach", ["spinach"], "other", ALL_QUEUES])
def test_nothing_is_said_when_the_queues_were_chosen(warnings: list[str], queue: Any) -> None:
    run(engine_with(send="mail"), queue=queue)
    assert warnings == []


def test_many_tasks_make_one_warning_of_bounded_length(warnings: list[str]) -> None:
    run(engine_with(**{f"task{n}": "mail" for n in range(200)}))
    [warning] = warnings
    assert "task9 (queue mail) and 190 more: " in warning
    assert len(warning) < 500


def test_a_task_that_comes_later_is_named_once(warnings: list[str]) -> None:
    engine = engine_with(send="mail")
    tasks = tasks_of()
    engine.attach_tasks(tasks)
    engine.start_workers(1, block=False)
    try:
        tasks.add(print, "here")
        tasks.add(print, "read", queue="mail")
        engine.attach_tasks(tasks_of(purge="housekeeping"))
        tasks.add(print, "here", queue="there", replace=True)
    finally:
        engine.stop_workers()
    told = [text.partition(": ")[0].removeprefix("Workers of this process ") for text in warnings]
    assert told == [
        "do not run send (queue mail)",
        "do not run read (queue mail)",
        "do not run purge (queue housekeeping)",
        "do not run here (queue there)",
    ]


def test_each_start_tells_of_them(warnings: list[str]) -> None:
    engine = engine_with(send="mail")
    run(engine)
    run(engine)
    assert len(warnings) == 2


# -- all queues --------------------------------------------------------------------


def test_all_queues_are_those_of_the_attached_tasks_in_order(bench: Bench) -> None:
    done: list[str] = []
    tasks = Tasks()
    for queue in ("mail", "spinach", "mail", "housekeeping"):
        tasks.add(lambda q=queue: done.append(q), f"{queue}.{len(tasks.names)}", queue=queue)
    engine = bench.engine(tasks)
    for name in reversed(tasks.names):
        engine.schedule(name)
    engine.start_workers(1, queue=ALL_QUEUES, stop_when_queue_empty=True)
    assert done == ["mail", "mail", "spinach", "housekeeping"]


def test_all_queues_of_no_task_are_the_default() -> None:
    assert QueueChoice.of(ALL_QUEUES).queues({}) == ("spinach",)


def test_the_constant_cannot_be_one_of_several_names() -> None:
    with pytest.raises(InvalidName, match=r"spinach\.ALL_QUEUES"):
        engine_with().start_workers(1, queue=["mail", ALL_QUEUES])  # type: ignore[list-item]
    with pytest.raises(InvalidArgument, match=r"or spinach\.ALL_QUEUES"):
        engine_with().start_workers(1, queue=5)  # type: ignore[arg-type]


def test_the_default_reads_as_the_queue_that_it_is() -> None:
    default = inspect.signature(Engine.start_workers).parameters["queue"].default
    assert (default, repr(default), str(default)) == ("spinach", "'spinach'", "spinach")
