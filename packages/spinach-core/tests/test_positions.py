"""What `schedule` and its kin take by position is asked for by position, in plain words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from spinach import Batch, Engine, MemoryBroker, Tasks
from spinach.exc import InvalidArgument

from .support import NOON


@pytest.fixture
def tasks() -> Tasks:
    tasks = Tasks()
    tasks.add(lambda to="": None, "mail.send")
    tasks.add(lambda task, at: None, "remind")
    return tasks


@pytest.fixture(params=["engine", "registry", "batch"])
def scheduler(request: pytest.FixtureRequest, tasks: Tasks) -> Any:
    engine = Engine(MemoryBroker())
    engine.attach_tasks(tasks)
    return {"engine": engine, "registry": tasks, "batch": Batch()}[request.param]


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_an_instant_by_name_is_answered_with_the_line_to_write(
    scheduler: Any, error: type[Exception]
) -> None:
    with pytest.raises(InvalidArgument) as info:
        scheduler.schedule_at("mail.send", to="ada", at=NOON)
    assert isinstance(info.value, error)
    assert str(info.value) == (
        "schedule_at got at= as a keyword, which would be an argument of the task's function. "
        "Pass the instant as the second positional argument: schedule_at(task, when, ...)."
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda to: to.schedule(task="mail.send"), "got task= .* the first.*: schedule"),
        (lambda to: to.schedule_at(task="mail.send", at=NOON), "got task= .* the first"),
        (lambda to: to.schedule(), r"lacks the task as the first .* schedule\(task, \.\.\.\)"),
        (lambda to: to.schedule_at("mail.send"), "lacks the instant as the second"),
        (lambda to: to.schedule_at(), "lacks the task as the first"),
    ],
)
def test_what_is_missing_at_its_position_is_named(
    scheduler: Any, call: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        call(scheduler)


def test_execute_asks_for_the_task_in_the_same_words(tasks: Tasks) -> None:
    engine = Engine(MemoryBroker())
    engine.attach_tasks(tasks)
    with pytest.raises(InvalidArgument, match=r"execute got task= .*: execute\(task, \.\.\.\)"):
        engine.execute(task="mail.send")  # type: ignore[call-overload]


def test_a_task_with_parameters_of_these_names_gets_them(scheduler: Any) -> None:
    made = scheduler.schedule_at("remind", NOON, task="water", at="the garden")
    if isinstance(scheduler, Batch):
        [made] = scheduler.pending()
        assert made.at == NOON
        assert made.kwargs == {"task": "water", "at": "the garden"}
    else:
        assert isinstance(made.at, datetime)
        assert made.task_kwargs == {"task": "water", "at": "the garden"}


@pytest.mark.parametrize("value", [0, -1, True])
def test_values_out_of_range_can_be_caught_as_value_errors(value: Any) -> None:
    with pytest.raises(ValueError, match="max_concurrency is"):
        Tasks(max_concurrency=value)
    with pytest.raises(ValueError, match="number of workers is"):
        Engine(MemoryBroker()).start_workers(value)
