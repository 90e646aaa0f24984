"""Tasks and registries, without an engine."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine, MemoryBroker, Task, Tasks
from spinach.definition.task import find_task, identity
from spinach.exc import UnknownTask

from .support import NOON


def add(a: int, b: int = 0) -> int:
    return a + b


class Mailer:
    def send(self, to: str) -> str:
        return f"to {to}"

    @classmethod
    def make(cls) -> None: ...

    @staticmethod
    def check() -> None: ...

    def __call__(self, to: str) -> None: ...


def test_the_decorator_returns_the_function_itself(tasks: Tasks) -> None:
    assert tasks.task(name="add")(add) is add


def test_a_task_may_be_added_without_decorating(tasks: Tasks) -> None:
    assert tasks.add(add, "add") is None
    assert tasks.get("add").func is add


def test_defaults_are_queue_spinach_and_no_retries(tasks: Tasks) -> None:
    tasks.add(add, "add")
    task = tasks.get("add")
    assert (task.name, task.queue, task.max_retries) == ("add", "spinach", 0)
    assert (task.periodicity, task.max_concurrency) == (None, None)


def test_a_registry_gives_its_tasks_defaults_and_a_task_overrides_them() -> None:
    minute, hour = timedelta(minutes=1), timedelta(hours=1)
    tasks = Tasks(queue="slow", max_retries=7, periodicity=minute, max_concurrency=2)

    def nothing() -> None: ...

    tasks.add(nothing, "inherits")
    tasks.add(nothing, "overrides", "fast", 0, hour, 9)
    one, two = tasks.get("inherits"), tasks.get("overrides")
    assert (one.queue, one.max_retries, one.periodicity, one.max_concurrency) == (
        "slow",
        7,
        minute,
        2,
    )
    assert (two.queue, two.max_retries, two.periodicity, two.max_concurrency) == (
        "fast",
        0,
        hour,
        9,
    )


def test_names_stand_in_the_order_of_registration_and_the_copy_is_ours(tasks: Tasks) -> None:
    for name in "bac":
        tasks.add(add, name)
    assert tasks.names == ["b", "a", "c"]
    tasks.tasks.clear()
    assert list(tasks.tasks) == ["b", "a", "c"]


@pytest.mark.parametrize(
    "callable_",
    [
        Mailer().send,
        Mailer.make,
        Mailer.check,
        Mailer(),
        Mailer,
        functools.partial(add, 1),
        lambda: None,
        print,
        functools.lru_cache(add),
    ],
    ids=["bound", "class", "static", "object", "type", "partial", "lambda", "builtin", "cached"],
)
def test_any_plain_callable_is_a_task(callable_: Any, tasks: Tasks) -> None:
    tasks.add(callable_, "task")
    assert tasks.get(callable_).name == "task"


def test_a_bound_method_is_found_although_each_access_makes_a_new_one(tasks: Tasks) -> None:
    one, two = Mailer(), Mailer()
    tasks.add(one.send, "one")
    tasks.add(two.send, "two")
    assert tasks.get(one.send).name == "one"
    assert tasks.get(two.send).name == "two"
    with pytest.raises(UnknownTask):
        tasks.get(Mailer().send)


def test_identity_counts_not_equality(tasks: Tasks) -> None:
    class Same:
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

        def __call__(self) -> None: ...

    tasks.add(Same(), "first")
    with pytest.raises(UnknownTask):
        tasks.get(Same())


def test_identity_tells_functions_from_methods() -> None:
    mailer = Mailer()
    assert identity(mailer.send) == identity(mailer.send)
    assert identity(mailer.send) != identity(Mailer.send)
    assert identity(add) == identity(add)


def test_a_task_is_found_by_itself_but_not_in_another_registry(tasks: Tasks) -> None:
    tasks.add(add, "add")
    other = Tasks()
    other.add(add, "add")
    assert tasks.get(tasks.get("add")) is tasks.get("add")
    with pytest.raises(UnknownTask, match="'add'"):
        find_task(other.get("add"), tasks.tasks)


def test_a_task_knows_its_signature_and_the_first_line_of_its_records(tasks: Tasks) -> None:
    tasks.add(add, "sums.add", queue="sums", max_retries=4)
    task = tasks.get("sums.add")
    assert str(task.signature) == "(a: int, b: int = 0) -> int"
    assert task.header == b"1|4|-|sums|sums.add\n"


def test_a_task_cannot_be_changed(tasks: Tasks) -> None:
    tasks.add(add, "add")
    task: Any = tasks.get("add")
    with pytest.raises(AttributeError):
        task.queue = "other"


def test_a_periodic_task_may_have_parameters_with_defaults(tasks: Tasks) -> None:
    def report(kind: str = "daily", *rest: int, **options: int) -> None: ...

    tasks.add(report, "report", periodicity=timedelta(seconds=1))
    assert tasks.get("report").periodicity == timedelta(seconds=1)


def test_a_registry_schedules_on_the_engine_attached_last(
    caplog: pytest.LogCaptureFixture, tasks: Tasks
) -> None:
    tasks.add(add, "add")
    brokers = [MemoryBroker(), MemoryBroker()]
    first, second = Engine(brokers[0], "first"), Engine(brokers[1], "second")
    first.attach_tasks(tasks)
    assert not caplog.records
    second.attach_tasks(tasks)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("spinach.engine", "WARNING")
    assert "first" in record.getMessage()
    assert "second" in record.getMessage()

    def ready() -> list[int]:
        return [broker.counts(["spinach"])[0].ready for broker in brokers]

    tasks.schedule("add", 1)
    assert ready() == [0, 1]
    second.detach_tasks(tasks)
    tasks.schedule(add, 1)
    assert ready() == [1, 1]


def test_a_registry_offers_the_engines_ways_to_schedule(tasks: Tasks) -> None:
    from spinach import Batch, JobStatus

    tasks.add(add, "add")
    engine = Engine(MemoryBroker())
    engine.attach_tasks(tasks)
    assert tasks.schedule("add", 1, b=2).task_kwargs == {"b": 2}
    assert tasks.schedule_at(add, NOON.replace(year=2999), 1).status is JobStatus.WAITING
    batch = Batch()
    batch.schedule("add", 1)
    assert [job.task_args for job in tasks.schedule_batch(batch)] == [(1,)]


def test_a_task_may_have_parameters_called_task_and_at(tasks: Tasks) -> None:
    @tasks.task(name="remind")
    def remind(task: str, at: str, self: int = 0) -> None: ...

    engine = Engine(MemoryBroker())
    engine.attach_tasks(tasks)
    assert tasks.schedule("remind", task="a", at="b", self=1).task_kwargs == {
        "task": "a",
        "at": "b",
        "self": 1,
    }
    assert engine.schedule_at(remind, NOON, task="a", at="b").task_kwargs == {
        "task": "a",
        "at": "b",
    }


def test_the_engines_own_decorator_registers_with_the_engine() -> None:
    engine = Engine(MemoryBroker())

    @engine.task(name="add", queue="sums", max_retries=1)
    def decorated(a: int) -> int:
        return a

    job = engine.schedule(decorated, 1)
    assert (job.task_name, job.queue, job.max_retries) == ("add", "sums", 1)
    assert decorated(5) == 5


def test_a_task_is_what_the_package_exports(tasks: Tasks) -> None:
    tasks.add(add, "add")
    assert isinstance(tasks.get("add"), Task)
