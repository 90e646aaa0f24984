"""Periodic tasks, and when each is due next (I15)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from spinach.brokers.calls import PeriodicDue, PeriodicState
from spinach.const import MAX_PERIODIC_SILENCE, STEP_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["PeriodicTasks"]

_SILENCE_MS: Final = MAX_PERIODIC_SILENCE // timedelta(milliseconds=1)


class _Entry:
    __slots__ = ("declared_ms", "due_ms", "interval_ms", "paused")

    def __init__(self, due_ms: int, interval_ms: int, now_ms: int) -> None:
        self.due_ms = due_ms
        self.interval_ms = interval_ms
        self.declared_ms = now_ms
        #: An operator has paused it; `due_ms` goes on along its grid.
        self.paused = False

    def go_on(self, now_ms: int) -> None:
        """Move on to the first instant of the grid after now."""
        if self.due_ms <= now_ms:
            self.due_ms += ((now_ms - self.due_ms) // self.interval_ms + 1) * self.interval_ms
        elif self.paused:
            # Where the clock was set back the grid lies far ahead.
            self.due_ms = min(self.due_ms, now_ms + self.interval_ms)


class PeriodicTasks:
    """The periodic tasks of a queue, each with its next instant.

    Members of several releases may declare different tasks. None removes what another one
    declares; a task that no member declares is not fired, and is forgotten after a while.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def declare(self, periods: Mapping[str, int], now_ms: int) -> None:
        """Add the tasks of a member that joins, or bring their instants forward.

        Args:
            periods: task → period in ms.
            now_ms: the store's now.
        """
        for task, interval_ms in periods.items():
            first_ms = now_ms + interval_ms
            entry = self._entries.get(task)
            if entry is None:
                self._entries[task] = _Entry(first_ms, interval_ms, now_ms)
                continue
            entry.interval_ms = interval_ms
            if not entry.paused:
                entry.due_ms = min(entry.due_ms, first_ms)
            entry.declared_ms = now_ms

    def catch_up(self, tasks: Iterable[str], now_ms: int) -> None:
        """Let no task wait for longer than its period after the clock was set back.

        Time servers set clocks back by up to a second all day. That changes nothing. What a
        paused one leaves out is over.
        """
        for task in tasks:
            entry = self._entries.get(task)
            if entry is not None and entry.paused:
                entry.go_on(now_ms)
            elif entry is not None and entry.due_ms > now_ms + entry.interval_ms + STEP_MS:
                entry.due_ms = now_ms + entry.interval_ms

    def seen(self, tasks: Iterable[str], now_ms: int) -> None:
        """Note that a member declares these tasks now."""
        for task in tasks:
            entry = self._entries.get(task)
            if entry is not None:
                entry.declared_ms = now_ms

    def forget(self, now_ms: int) -> None:
        """Drop tasks that no member has declared for long (I19)."""
        for task, entry in list(self._entries.items()):
            if entry.declared_ms < now_ms - _SILENCE_MS:
                del self._entries[task]

    def due(self, tasks: Iterable[str], now_ms: int) -> tuple[PeriodicDue, ...]:
        """Those of the tasks that are due now."""
        return tuple(
            PeriodicDue(task=task, due_ms=self._entries[task].due_ms)
            for task in tasks
            if task in self._entries
            and self._entries[task].due_ms <= now_ms
            and not self._entries[task].paused
        )

    def next_due_ms(
        self, tasks: Iterable[str], *, after_ms: int | None = None, running: bool = False
    ) -> int | None:
        """The earliest instant of the tasks; None without any.

        Args:
            tasks: to look at.
            after_ms: instants up to this one do not count.
            running: nor do those of paused tasks.
        """
        entries = [self._entries[task] for task in tasks if task in self._entries]
        instants = [entry.due_ms for entry in entries if not (running and entry.paused)]
        return min((at for at in instants if after_ms is None or at > after_ms), default=None)

    def states(self, now_ms: int) -> list[PeriodicState]:
        """All tasks, for operators."""
        self.catch_up([task for task, entry in self._entries.items() if entry.paused], now_ms)
        return [
            PeriodicState(
                task=task,
                interval_ms=entry.interval_ms,
                due_ms=entry.due_ms,
                paused=entry.paused,
            )
            for task, entry in self._entries.items()
        ]

    def pause(self, task: str, now_ms: int, *, paused: bool) -> bool | None:
        """Pause a task, or let it go on with the next instant of its grid.

        Returns:
            Whether it was not so before; None: there is no such task.
        """
        entry = self._entries.get(task)
        if entry is None:
            return None
        if entry.paused is paused:
            return False
        if not paused:
            entry.go_on(now_ms)
        entry.paused = paused
        return True

    def fire(self, task: str, due_ms: int, now_ms: int) -> bool:
        """Move a task that is due at exactly `due_ms` to its first later instant after now.

        Returns:
            False, and nothing moved, when it is not due at that instant.
        """
        entry = self._entries.get(task)
        if entry is None or entry.paused or entry.due_ms != due_ms or due_ms > now_ms:
            return False
        entry.go_on(now_ms)
        return True
