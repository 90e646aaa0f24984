"""Periodic tasks, as operators see them: when each is due, and how to pause it or run it now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from spinach.clock import from_ms
from spinach.exc import InvalidArgument
from spinach.operating.lookup import unknown_task

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from spinach.definition.task import Wanted
    from spinach.job import Job
    from spinach.operating.lookup import Lookup

__all__ = ["Periodic", "PeriodicView"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicView:
    """A periodic task that a worker declared within the last 30 days."""

    task: str
    queue: str
    period: timedelta
    #: When it is due next; None while it is paused. In the past where no worker that knows it
    #: lives.
    next_due: datetime | None
    paused: bool


class Periodic:
    """The periodic tasks of a namespace; thread safe. Made by the engine: `engine.periodic`."""

    def __init__(self, lookup: Lookup, schedule: Callable[[str], Job]) -> None:
        self._lookup = lookup
        self._schedule = schedule

    def list(self) -> list[PeriodicView]:
        """All periodic tasks that workers declared, by queue and name.

        Raises:
            BrokerError: the broker could not answer.
        """
        lookup = self._lookup
        return [
            PeriodicView(
                task=state.task,
                queue=queue,
                period=timedelta(milliseconds=state.interval_ms),
                next_due=None if state.paused else from_ms(state.due_ms),
                paused=state.paused,
            )
            for queue in lookup.queues()
            for state in sorted(lookup.broker.periodic_tasks(queue), key=lambda state: state.task)
        ]

    def run_now(self, task: Wanted) -> Job:
        """Schedule one job of a periodic task now, in addition to those of its period.

        Its next instants stay what they are. A task that is paused runs, too: you ask for it.

        Args:
            task: its name, its function, or the `Task`; attached to this engine.

        Returns:
            A snapshot of the job.

        Raises:
            UnknownTask: not attached to this engine.
            InvalidArgument: the task is not periodic.
            BrokerError: the broker did not accept the job.
        """
        found = self._lookup.resolve(task)
        if found.periodicity is None:
            raise InvalidArgument(
                f"Task {found.name!r} is not periodic, so there is nothing to run ahead of its "
                f"time. Schedule a job of it: schedule({found.name!r})."
            )
        return self._schedule(found.name)

    def pause(self, task: Wanted) -> bool:
        """Schedule no job of a periodic task any more, until `resume`.

        Jobs that are scheduled already run. Workers that start, and other releases of the task,
        change nothing of it.

        Args:
            task: its name, its function, or the `Task`. A name need not be attached here.

        Returns:
            Whether it was not paused before.

        Raises:
            InvalidName: bad task name.
            UnknownTask: no worker declared such a periodic task.
            BrokerError: the broker could not do it.
        """
        return self._set_paused(task, paused=True)

    def resume(self, task: Wanted) -> bool:
        """Let a paused task go on with the next instant of its grid; what it missed is left out.

        Args:
            task: as for `pause`.

        Returns:
            Whether it was paused before.

        Raises:
            InvalidName: bad task name.
            UnknownTask: no worker declared such a periodic task.
            BrokerError: the broker could not do it.
        """
        return self._set_paused(task, paused=False)

    def _set_paused(self, task: Wanted, *, paused: bool) -> bool:
        lookup = self._lookup
        found = lookup.attached(task)
        name = str(task) if found is None else found.name
        # A task that moved to another queue may be declared in both.
        answers = [
            lookup.broker.set_periodic_paused(queue, name, paused=paused)
            for queue in lookup.queues()
        ]
        if all(answer is None for answer in answers):
            raise unknown_task(
                name,
                (each.task for each in self.list()),
                "Periodic tasks that workers declared",
                "A periodic task is known once a worker of its queue has started.",
            )
        return any(answers)
