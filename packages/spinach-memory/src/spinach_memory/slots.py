"""Limits on how many jobs of a task are leased at once (I10)."""

from __future__ import annotations

from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from spinach.brokers.calls import Place

from .jobs import Line, Whereabouts, task_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from .jobs import StoredJob

__all__ = ["Limits", "TaskSlots"]

_ORDER: Final = attrgetter("order")


class TaskSlots:
    """The slots of one limited task and the jobs that wait for one."""

    __slots__ = ("declared", "held", "limit", "override", "taken")

    def __init__(self) -> None:
        #: Member → the limit it declares.
        self.declared: dict[str, int] = {}
        #: What an operator set in the place of these; None: nothing.
        self.override: int | None = None
        #: The limit in force, that of the operator or the lowest declared one.
        self.limit = 1
        #: Slots taken; more than the limit for a while after it was lowered.
        self.taken = 0
        #: Jobs that found no slot, by `StoredJob.order`.
        self.held = Line()

    @property
    def free(self) -> int:
        """Slots that can be taken."""
        return max(0, self.limit - self.taken)

    def hold(self, job: StoredJob) -> None:
        """Let a job wait that found no slot.

        A job may be held a second time: the limit was lowered, or others were released
        in front of it. It then waits where it waited before.
        """
        job.where = Whereabouts(Place.HELD, lane=task_of(job.record) or "")
        held = self.held
        if not held or held[-1].order < job.order:
            held.append(job)
            return
        index = next(i for i, other in enumerate(held) if other.order > job.order)
        held.insert(index, job)

    def promote(self, limit: int) -> list[StoredJob]:
        """Take out up to `limit` held jobs for which slots are free, in order."""
        held = self.held
        promoted: list[StoredJob] = []
        for _ in range(min(limit, self.free, held.jobs)):
            promoted.append(_ready_again(held.popleft()))
            if held.gaps:
                held.close_up()
        return promoted


class Limits:
    """The limited tasks of a queue. A task that nobody limits has no slots."""

    __slots__ = ("_orders", "occupied", "tasks")

    def __init__(self) -> None:
        #: Task → its slots.
        self.tasks: dict[str, TaskSlots] = {}
        #: Stored id of a leased job → the slots of which it occupies one. Once no member
        #: limits the task any more, these slots are no longer among `tasks`.
        self.occupied: dict[str, TaskSlots] = {}
        self._orders = count(1)

    @property
    def held(self) -> int:
        """Number of jobs that wait for a slot."""
        return sum(slots.held.jobs for slots in self.tasks.values())

    def occupy(self, job: StoredJob, slots: TaskSlots) -> None:
        """Give the job one of the slots."""
        self.occupied[job.stored_id] = slots
        slots.taken += 1

    def free(self, job: StoredJob) -> list[StoredJob]:
        """Take the slot back of a job whose lease ended, if it occupied one.

        Returns:
            A held job to put to the front of the queue, if there is one.
        """
        slots = self.occupied.pop(job.stored_id, None)
        if slots is None:
            return []
        slots.taken -= 1
        return slots.promote(1)

    def slots_of(self, job: StoredJob) -> TaskSlots | None:
        """The slots of a job at the head of the queue; None for an unlimited task."""
        task = task_of(job.record)
        slots = None if task is None else self.tasks.get(task)
        if slots is not None and not job.order:
            job.order = next(self._orders)
        return slots

    def declare(
        self, member: str, limits: Mapping[str, int], leased: Iterable[StoredJob]
    ) -> list[StoredJob]:
        """Take note of a member's limits.

        Args:
            member: name of the member.
            limits: task → limit, at least 1.
            leased: every leased job of the queue, in the order they were leased. Those
                of a task that was unlimited until now occupy slots from now on.

        Returns:
            Jobs to put to the front of the queue, in order.
        """
        self._add(limits, leased)
        promoted: list[StoredJob] = []
        for task, limit in limits.items():
            self.tasks[task].declared[member] = max(1, limit)
            promoted += self._changed(task)
        promoted.sort(key=_ORDER)
        return promoted

    def set(self, task: str, limit: int | None, leased: Iterable[StoredJob]) -> list[StoredJob]:
        """Take note of the limit that an operator set.

        Args:
            task: its name.
            limit: at least 1; None leaves it to the members.
            leased: as for `declare`.

        Returns:
            Jobs to put to the front of the queue, in order.
        """
        if limit is not None:
            self._add((task,), leased)
        elif task not in self.tasks:
            return []
        self.tasks[task].override = limit
        return self._changed(task)

    def _add(self, tasks: Iterable[str], leased: Iterable[StoredJob]) -> None:
        fresh = {task: TaskSlots() for task in tasks if task not in self.tasks}
        if not fresh:
            return
        self.tasks.update(fresh)
        for job in leased:
            slots = fresh.get(task_of(job.record) or "")
            if slots is not None:
                # Should it come back, it goes before those that wait by then.
                job.order = job.order or next(self._orders)
                self.occupy(job, slots)

    def withdraw(self, member: str, kept: Container[str] = ()) -> list[StoredJob]:
        """Forget the limits of a member.

        Args:
            member: name of the member that goes, or declares anew.
            kept: tasks that it goes on to limit.

        Returns:
            Jobs to put to the front of the queue, in order.
        """
        promoted: list[StoredJob] = []
        for task, slots in list(self.tasks.items()):
            if task not in kept and slots.declared.pop(member, None) is not None:
                promoted += self._changed(task)
        promoted.sort(key=_ORDER)
        return promoted

    def _changed(self, task: str) -> list[StoredJob]:
        slots = self.tasks[task]
        if slots.override is not None or slots.declared:
            lowest = slots.override
            slots.limit = min(slots.declared.values()) if lowest is None else lowest
            return slots.promote(slots.held.jobs)
        del self.tasks[task]
        released = [_ready_again(job) for job in slots.held if not job.cancelled]
        slots.held = Line()
        return released


def _ready_again(job: StoredJob) -> StoredJob:
    job.where = None
    return job
