"""The tasks that one engine knows, from the registries attached to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spinach.definition.task import Task, find_task, identity
from spinach.exc import DuplicateTask
from spinach.support.nested import OneAtATime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spinach.definition.task import Wanted
    from spinach.task import Tasks

__all__ = ["TaskTable"]


class TaskTable:
    """Finds tasks by name, function or `Task`; thread safe.

    Producers read it without a lock: a change replaces the tables whole.
    """

    def __init__(self) -> None:
        # Guards the three below against concurrent changes.
        self._changes = OneAtATime("attach, detach or add tasks")
        self._registries: list[Tasks] = []
        self._by_name: dict[str, Task[..., Any]] = {}
        self._by_function: dict[tuple[int, int], Task[..., Any]] = {}

    @property
    def by_name(self) -> Mapping[str, Task[..., Any]]:
        """Name → task; not to be changed."""
        return self._by_name

    def attach(self, registry: Tasks) -> bool:
        """Add the tasks of a registry.

        Returns:
            False when it was attached already.

        Raises:
            DuplicateTask: one of its names is taken; nothing is attached then.
        """
        with self._changes.held():
            if self._has(registry):
                return False
            self._rebuild([*self._registries, registry])
            return True

    def detach(self, registry: Tasks) -> bool:
        """Remove the tasks of a registry.

        Returns:
            False when it was not attached.
        """
        with self._changes.held():
            if not self._has(registry):
                return False
            self._rebuild([known for known in self._registries if known is not registry])
            return True

    def check_new(self, task: Task[..., Any], replaced: Task[..., Any] | None) -> None:
        """Check that a task may be added.

        Args:
            task: to add.
            replaced: the task whose place it takes; None: it takes none.

        Raises:
            DuplicateTask: its name is taken.
        """
        other = self._by_name.get(task.name)
        if other is not None and other is not replaced:
            raise _duplicate(task, other)

    def grow(self, task: Task[..., Any], replaced: Task[..., Any] | None) -> None:
        """Add a task that joined an attached registry; see `check_new`.

        Raises:
            DuplicateTask: its name is taken.
        """
        with self._changes.held():
            self.check_new(task, replaced)
            self._index({**self._by_name, task.name: task})

    def resolve(self, wanted: Wanted) -> Task[..., Any]:
        """Find a task.

        Raises:
            UnknownTask: no registry has it.
            InvalidTask: the function is known under several names.
        """
        if isinstance(wanted, str):
            found = self._by_name.get(wanted)
        elif isinstance(wanted, Task):
            found = None
        else:
            found = self._by_function.get(identity(wanted))
        return find_task(wanted, self._by_name) if found is None else found

    def _has(self, registry: Tasks) -> bool:
        return any(known is registry for known in self._registries)

    def _rebuild(self, registries: list[Tasks]) -> None:
        tasks: dict[str, Task[..., Any]] = {}
        for registry in registries:
            for task in registry.tasks.values():
                if task.name in tasks:
                    raise _duplicate(task, tasks[task.name])
                tasks[task.name] = task
        self._registries = registries
        self._index(tasks)

    def _index(self, tasks: dict[str, Task[..., Any]]) -> None:
        functions: dict[tuple[int, int], Task[..., Any]] = {}
        ambiguous = set()
        for task in tasks.values():
            key = identity(task.func)
            if functions.setdefault(key, task) is not task:
                ambiguous.add(key)
        for key in ambiguous:
            del functions[key]
        self._by_name, self._by_function = tasks, functions


def _duplicate(task: Task[..., Any], other: Task[..., Any]) -> DuplicateTask:
    return DuplicateTask(
        f"Task {task.name!r} of {task.func!r} cannot be attached: the engine knows a task of that "
        f"name, {other.func!r}. Give one of them another name."
    )
