"""Looking up what operators name: queues of the namespace, and tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spinach.exc import UnknownQueue, UnknownTask
from spinach.record.names import check_name
from spinach.support.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from spinach.brokers.base import Broker
    from spinach.definition.task import Task, Wanted

__all__ = ["Lookup", "unknown_task"]

#: Names that one message tells at most.
_MOST_NAMED = 10


class Lookup:
    """Looks up queues in the store, and tasks in the engine; thread safe.

    Args:
        broker: that of the engine, as it is now.
        tasks: name → task that is attached, as they are now.
        resolve: finds a task that is attached.
    """

    def __init__(
        self,
        broker: Callable[[], Broker],
        tasks: Callable[[], Mapping[str, Task[..., Any]]],
        resolve: Callable[[Wanted], Task[..., Any]],
    ) -> None:
        self._broker = broker
        self._tasks = tasks
        self.resolve = resolve

    @property
    def broker(self) -> Broker:
        """That of the engine."""
        return self._broker()

    def queues(self) -> list[str]:
        """The queues of the namespace that took a job or a worker once, in order.

        Raises:
            BrokerError: the broker could not answer.
        """
        return sorted(self.broker.queues())

    def queue(self, name: Any) -> str:
        """The name of a queue that is there, or that an attached task names.

        Raises:
            InvalidName: no name of a queue.
            UnknownQueue: no such queue.
            BrokerError: the broker could not answer.
        """
        queue = check_name(name, "queue")
        attached = {task.queue for task in self._tasks().values()}
        if queue in attached:
            return queue
        known = attached.union(self.broker.queues())
        if queue not in known:
            raise UnknownQueue(
                f"Unknown queue {queue!r}.{did_you_mean(queue, known)} Queues of namespace "
                f"{self.broker.namespace!r}: {_named(known)}. A queue is known once it took a job "
                "or a worker."
            )
        return queue

    def attached(self, wanted: Wanted) -> Task[..., Any] | None:
        """The attached task; None of a name that no attached task has.

        Raises:
            UnknownTask: a function or a `Task` that is not attached.
            InvalidTask: the function is known under several names.
        """
        if isinstance(wanted, str) and wanted not in self._tasks():
            check_name(wanted, "task")
            return None
        return self.resolve(wanted)


def unknown_task(name: str, known: Iterable[str], what: str, remedy: str) -> UnknownTask:
    """The error for a name that none of some tasks has.

    Args:
        name: of the task.
        known: names that would do.
        what: what these tasks are.
        remedy: what to do else.
    """
    names = set(known)
    return UnknownTask(
        f"Unknown task {name!r}.{did_you_mean(name, names)} {what}: {_named(names)}. {remedy}"
    )


def _named(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _MOST_NAMED} more" if len(ordered) > _MOST_NAMED else ""
    return f"{', '.join(ordered[:_MOST_NAMED]) or 'none'}{more}"
