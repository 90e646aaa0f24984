"""The tasks that one engine knows."""

from __future__ import annotations

import pytest

from spinach import Tasks
from spinach.definition.task import check_call
from spinach.exc import DuplicateTask, InvalidJobSignatureError, InvalidTask, UnknownTask
from spinach.producer.task_table import TaskTable


def registry(*names: str) -> Tasks:
    tasks = Tasks()
    for name in names:
        tasks.add(lambda a=0: None, name)
    return tasks


def test_attaching_twice_changes_nothing() -> None:
    task_table, tasks = TaskTable(), registry("a")
    assert task_table.attach(tasks) is True
    assert task_table.attach(tasks) is False
    assert list(task_table.by_name) == ["a"]


def test_detaching_removes_its_tasks_only() -> None:
    task_table, one, two = TaskTable(), registry("a"), registry("b")
    task_table.attach(one)
    task_table.attach(two)
    assert task_table.detach(one) is True
    assert task_table.detach(one) is False
    assert list(task_table.by_name) == ["b"]


def test_a_clash_attaches_nothing_of_the_registry() -> None:
    task_table = TaskTable()
    task_table.attach(registry("a"))
    with pytest.raises(DuplicateTask, match=r"'a'.*Give one of them another name"):
        task_table.attach(registry("b", "a", "c"))
    assert list(task_table.by_name) == ["a"]


def test_a_task_that_joins_later_may_not_clash_either() -> None:
    task_table, later = TaskTable(), registry("b")
    task_table.attach(registry("a"))
    task_table.grow(later.get("b"), None)
    assert set(task_table.by_name) == {"a", "b"}
    with pytest.raises(DuplicateTask):
        task_table.grow(registry("a").get("a"), None)


def test_one_function_under_two_names_is_found_by_name_only() -> None:
    task_table, tasks = TaskTable(), Tasks()
    tasks.add(print, "one")
    tasks.add(print, "two")
    tasks.add(repr, "three")
    task_table.attach(tasks)
    assert task_table.resolve("one").name == "one"
    assert task_table.resolve(repr).name == "three"
    with pytest.raises(InvalidTask, match=r"'one', 'two'.*Schedule it by name"):
        task_table.resolve(print)


def test_the_nearest_name_is_offered() -> None:
    task_table = TaskTable()
    task_table.attach(registry("mail.send", "report.make"))
    with pytest.raises(UnknownTask) as info:
        task_table.resolve("mail.sned")
    message = str(info.value)
    assert "Unknown task 'mail.sned'" in message
    assert "Did you mean 'mail.send'?" in message
    assert "Known tasks: mail.send, report.make" in message
    assert "@tasks.task(name=...)" in message


def test_a_name_far_from_all_gets_no_guess() -> None:
    task_table = TaskTable()
    task_table.attach(registry("mail.send"))
    with pytest.raises(UnknownTask) as info:
        task_table.resolve("zzz")
    assert "Did you mean" not in str(info.value)


def test_an_empty_catalog_says_that_it_knows_none() -> None:
    with pytest.raises(UnknownTask, match="Known tasks: none"):
        TaskTable().resolve("a")


def test_a_call_that_does_not_fit_shows_the_signature() -> None:
    tasks = Tasks()

    @tasks.task(name="compute")
    def compute(a, b):  # type: ignore[no-untyped-def]
        ...

    task = tasks.get("compute")
    check_call(task, (1,), {"b": 2})
    with pytest.raises(InvalidJobSignatureError) as info:
        check_call(task, (1, 2, 3), {})
    assert "'compute'" in str(info.value)
    assert "too many positional arguments" in str(info.value)
    assert "compute(a, b)" in str(info.value)
