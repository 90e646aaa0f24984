"""What a worker process declares to its queues, made of the tasks that it knows.

Tasks come and go while workers run. What concerns this process alone counts at once; a
limit counts once the store has answered the join that declares it (I10).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spinach.brokers.calls import Enrolment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spinach.task import Task

__all__ = ["Declaration", "declare"]


@dataclass(frozen=True, slots=True)
class Declaration:
    """The tasks of a process at one time, and what each of its queues is told of them."""

    #: Name → task that this process can run.
    tasks: Mapping[str, Task[..., object]]
    #: Queue → what to join it with, in the order of preference.
    enrolments: Mapping[str, Enrolment]

    def runnable(
        self,
        queue: str,
        limits: Mapping[str, int],
        before: Mapping[str, Task[..., object]],
    ) -> Mapping[str, Task[..., object]]:
        """The tasks whose jobs may run while a queue was not told of all this yet.

        A task whose limit is new or lower there stays what it was; one that was not known
        is left out until the limit is declared.

        Args:
            queue: the jobs come from.
            limits: task → limit that the queue is sure to have from this process.
            before: name → task that could be run until now.
        """
        late = [
            name
            for name, limit in self.enrolments[queue].limits.items()
            if limits.get(name, math.inf) > limit
        ]
        if not late:
            return self.tasks
        tasks = dict(self.tasks)
        for name in late:
            if name in before:
                tasks[name] = before[name]
            else:
                del tasks[name]
        return tasks


def declare(
    tasks: Mapping[str, Task[..., object]],
    queues: Iterable[str],
    *,
    lease_ms: int,
    info: Mapping[str, str],
) -> Declaration:
    """What a process with these tasks declares to these queues.

    Args:
        tasks: name → task; not changed afterwards.
        queues: in the order of preference.
        lease_ms: that it asks for.
        info: for people who look at the store.
    """
    by_queue: dict[str, list[Task[..., object]]] = {queue: [] for queue in queues}
    for task in tasks.values():
        if task.queue in by_queue:
            by_queue[task.queue].append(task)
    return Declaration(
        tasks,
        {
            queue: Enrolment(
                lease_ms=lease_ms,
                limits={t.name: t.max_concurrency for t in own if t.max_concurrency is not None},
                periodic={
                    t.name: int(t.periodicity.total_seconds() * 1000)
                    for t in own
                    if t.periodicity is not None
                },
                info=info,
            )
            for queue, own in by_queue.items()
        },
    )
