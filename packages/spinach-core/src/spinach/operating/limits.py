"""Limits of tasks, as operators see them: who has a slot, who waits, and a limit in their place."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spinach.const import MAX_RETRIES_LIMIT
from spinach.operating.lookup import unknown_task
from spinach.record.ids import job_id_of
from spinach.support.checks import require_int

if TYPE_CHECKING:
    from spinach.brokers.calls import LimitState
    from spinach.definition.task import Wanted
    from spinach.operating.lookup import Lookup

__all__ = ["LimitView", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitView:
    """A task whose jobs are limited in number."""

    task: str
    queue: str
    #: How many may run at once, over all processes; None: there is no limit any more, and the
    #: last jobs that had one are on their way.
    limit: int | None
    #: The limit that an operator set, which goes before all others; None: none did.
    override: int | None
    #: The lowest `max_concurrency` that a worker process declares; None: none does.
    declared: int | None
    #: How many slots are occupied: more than the limit for a while after it was lowered.
    taken: int
    #: The jobs that occupy them, the first hundred.
    holders: tuple[uuid.UUID, ...]
    #: Jobs that found no slot and wait for one. Others may stand in the queue behind them.
    waiting: int


class Limits:
    """The limits of a namespace's tasks; thread safe. Made by the engine: `engine.limits`."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def list(self) -> list[LimitView]:
        """All limited tasks of which a worker lives, a job runs or waits, or an operator set the
        limit; by queue and name.

        Raises:
            BrokerError: the broker could not answer.
        """
        lookup = self._lookup
        return [
            _view(queue, state)
            for queue in lookup.queues()
            for state in sorted(lookup.broker.limits(queue), key=lambda state: state.task)
        ]

    def set(self, task: Wanted, limit: int | None, *, queue: str | None = None) -> None:
        """Set how many jobs of a task may run at once, over all processes.

        It goes before every `max_concurrency`, be that lower or higher, and holds until it is
        set anew, whichever processes start and end. Jobs that run beyond a lower limit end as
        usual.

        Args:
            task: its name, its function, or the `Task`. A name need not be attached here if
                workers limit it, or with `queue`.
            limit: at least 1; None takes it back: what workers declare counts again.
            queue: of its jobs; None takes that of the attached task or, where none is attached,
                each queue that limits a task of that name.

        Raises:
            InvalidArgument: a limit below 1.
            InvalidName: bad task or queue name.
            UnknownTask: a task that is neither attached nor limited anywhere.
            UnknownQueue: no such queue.
            BrokerError: the broker could not do it.
        """
        if limit is not None:
            limit = require_int(limit, "limit", 1, MAX_RETRIES_LIMIT)
        lookup = self._lookup
        found = lookup.attached(task)
        name = str(task) if found is None else found.name
        if queue is not None:
            queues = [lookup.queue(queue)]
        elif found is not None:
            queues = [found.queue]
        else:
            limited = self.list()
            queues = [each.queue for each in limited if each.task == name]
            if not queues:
                raise unknown_task(
                    name,
                    (each.task for each in limited),
                    "Limited tasks",
                    "Attach its registry to this engine, or pass queue=.",
                )
        for each in queues:
            lookup.broker.set_limit(each, name, limit)


def _view(queue: str, state: LimitState) -> LimitView:
    return LimitView(
        task=state.task,
        queue=queue,
        limit=state.limit,
        override=state.override,
        declared=state.declared,
        taken=state.taken,
        holders=tuple(uuid.UUID(job_id_of(each)) for each in state.holders),
        waiting=state.held,
    )
