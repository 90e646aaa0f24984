"""Which queues the workers of a process consume, and whose tasks they leave to others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spinach.const import DEFAULT_QUEUE
from spinach.support.checks import require_queues

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spinach.task import Task

__all__ = ["ALL_QUEUES", "NO_CHOICE", "AllQueues", "QueueChoice", "names_of"]

#: Tasks that one warning names.
_MOST_NAMED: Final = 10


class AllQueues:
    """The type of `ALL_QUEUES`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "spinach.ALL_QUEUES"


#: For `start_workers`: the queues of all attached tasks, in the order in which the tasks were
#: registered, those of tasks that are attached later included.
ALL_QUEUES: Final = AllQueues()


class _Default(str):
    """Equal to the name it holds, and another object than a name that was passed."""

    __slots__ = ()


#: What `start_workers` takes for the queue when it is given none.
NO_CHOICE: Final = _Default(DEFAULT_QUEUE)


@dataclass(frozen=True, slots=True)
class QueueChoice:
    """The queues that workers were told to consume.

    Args:
        names: in the order of preference; empty: those of all attached tasks.
        explicit: they were passed, so that tasks of other queues are left to other processes
            on purpose.
    """

    names: tuple[str, ...]
    explicit: bool

    @classmethod
    def of(cls, queue: Any) -> QueueChoice:
        """What the argument of `start_workers` says.

        Raises:
            InvalidArgument: neither a name, nor a sequence of names, nor `ALL_QUEUES`.
            InvalidName: bad queue name.
        """
        if queue is NO_CHOICE:
            return cls((DEFAULT_QUEUE,), explicit=False)
        if isinstance(queue, AllQueues):
            return cls((), explicit=True)
        return cls(require_queues(queue), explicit=True)

    def queues(self, tasks: Mapping[str, Task[..., Any]]) -> tuple[str, ...]:
        """The queues to consume while these tasks are attached; at least one."""
        if self.names:
            return self.names
        return tuple(dict.fromkeys(task.queue for task in tasks.values())) or (DEFAULT_QUEUE,)

    def left_out(self, tasks: Mapping[str, Task[..., Any]]) -> list[Task[..., Any]]:
        """The tasks that this process does not run, although it was not told to leave them out."""
        if self.explicit:
            return []
        return [task for task in tasks.values() if task.queue not in self.names]


def names_of(tasks: Iterable[Task[..., Any]]) -> str:
    """Tasks and their queues, as a warning names them."""
    named = [f"{task.name} (queue {task.queue})" for task in tasks]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"{', '.join(named[:_MOST_NAMED])}{more}"
