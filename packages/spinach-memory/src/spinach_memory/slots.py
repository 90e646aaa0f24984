"""Limits on how many jobs of a task are leased at once (I10)."""

from __future__ import annotations

from collections import deque
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from .jobs import task_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from .jobs import StoredJob

__all__ = ["Limits", "TaskSlots"]

_TURN: Final = attrgetter("turn")


class TaskSlots:
    """The slots of one limited task and the jobs that wait for one."""

    __slots__ = ("declared", "held", "leased", "limit")

    def __init__(self) -> None:
        #: Member → the limit it declares.
        self.declared: dict[str, int] = {}
        #: The limit in force, the lowest declared one.
        self.limit = 1
        #: Slots taken; more than the limit for a while after it was lowered.
        self.leased = 0
        #: Jobs set aside, in the order of their turns.
        self.held: deque[StoredJob] = deque()

    @property
    def free(self) -> int:
        """Slots that can be taken."""
        return max(0, self.limit - self.leased)

    def take(self, job: StoredJob) -> None:
        """Give the job a slot."""
        job.slots = self
        self.leased += 1

    def hold(self, job: StoredJob) -> None:
        """Set a job aside that found no slot.

        One that was at the head before, and comes back because the limit was lowered
        or others were released in front of it, gets its old place.
        """
        held = self.held
        if not held or held[-1].turn < job.turn:
            held.append(job)
            return
        place = next(i for i, other in enumerate(held) if other.turn > job.turn)
        held.insert(place, job)

    def promote(self, limit: int) -> list[StoredJob]:
        """Take out up to `limit` held jobs for which slots are free, in order."""
        number = min(limit, self.free, len(self.held))
        return [self.held.popleft() for _ in range(number)]


class Limits:
    """The limited tasks of a queue. A task that no member limits has no slots."""

    __slots__ = ("_turns", "tasks")

    def __init__(self) -> None:
        #: Task → its slots.
        self.tasks: dict[str, TaskSlots] = {}
        self._turns = count(1)

    @property
    def held(self) -> int:
        """How many jobs wait for a slot."""
        return sum(len(slots.held) for slots in self.tasks.values())

    def slots_of(self, job: StoredJob) -> TaskSlots | None:
        """The slots of a job at the head of the queue; None for an unlimited task."""
        task = task_of(job.record)
        slots = None if task is None else self.tasks.get(task)
        if slots is not None and not job.turn:
            job.turn = next(self._turns)
        return slots

    def declare(
        self, member: str, limits: Mapping[str, int], leased: Iterable[StoredJob]
    ) -> list[StoredJob]:
        """Take note of a member's limits.

        Args:
            member: who declares them.
            limits: task → limit, at least 1.
            leased: every leased job of the queue, in the order they were leased. Those
                of a task that was unlimited until now occupy slots from now on.

        Returns:
            Jobs to put to the front of the queue, in order.
        """
        fresh = {task: TaskSlots() for task in limits if task not in self.tasks}
        if fresh:
            self.tasks.update(fresh)
            for job in leased:
                slots = fresh.get(task_of(job.record) or "")
                if slots is not None:
                    # Should it come back, its place is before those that wait by then.
                    job.turn = job.turn or next(self._turns)
                    slots.take(job)
        promoted: list[StoredJob] = []
        for task, limit in limits.items():
            self.tasks[task].declared[member] = max(1, limit)
            promoted += self._changed(task)
        promoted.sort(key=_TURN)
        return promoted

    def withdraw(self, member: str, kept: Container[str] = ()) -> list[StoredJob]:
        """Forget the limits of a member.

        Args:
            member: that goes, or declares anew.
            kept: tasks that it goes on to limit.

        Returns:
            Jobs to put to the front of the queue, in order.
        """
        promoted: list[StoredJob] = []
        for task, slots in list(self.tasks.items()):
            if task not in kept and slots.declared.pop(member, None) is not None:
                promoted += self._changed(task)
        promoted.sort(key=_TURN)
        return promoted

    def _changed(self, task: str) -> list[StoredJob]:
        slots = self.tasks[task]
        if slots.declared:
            slots.limit = min(slots.declared.values())
            return slots.promote(len(slots.held))
        # Jobs that still occupy a slot of it give it back to the orphaned object.
        del self.tasks[task]
        released = list(slots.held)
        slots.held.clear()
        return released
