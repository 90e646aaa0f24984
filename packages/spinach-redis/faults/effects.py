"""What the jobs of a namespace did, as their processes wrote it down.

The file is on this machine's disk, so no fault of a server touches it. Instants are the
monotonic clock's, which all processes of a machine share.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Effect", "Effects"]


@dataclass(frozen=True, slots=True)
class Effect:
    """One line."""

    #: `start` of a job, `end` of it (its effect), or `failed` for good.
    event: str
    key: str
    #: Retries so far.
    retries: int
    #: Of a start the task, of an end a digest of its argument, of a failure the exception.
    detail: str
    pid: int
    at_ns: int


class Effects:
    """All lines that are there when it is made."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        # A line of a process that was killed is whole or not there: it is one write.
        self.all = [_parse(line) for line in text.splitlines()]
        self.starts = self._by_key("start")
        self.ends = self._by_key("end")
        self.failures = self._by_key("failed")

    def _by_key(self, event: str) -> dict[str, list[Effect]]:
        found: dict[str, list[Effect]] = defaultdict(list)
        for effect in self.all:
            if effect.event == event:
                found[effect.key].append(effect)
        return found

    def peak(
        self,
        task: str,
        ends: Mapping[int, int],
        sleeps: Collection[tuple[int, int]] = (),
        without: Collection[str] = (),
    ) -> int:
        """Most jobs of a task that ran at once.

        Args:
            task: its name.
            ends: process → instant of its end, which ended its jobs.
            sleeps: (process, instant) at which one was stopped for so long that others may
                have had its leases. From there on its jobs run outside of any limit.
            without: keys of jobs that are not counted.
        """
        edges: list[tuple[int, int]] = []
        running: dict[tuple[int, str], list[int]] = defaultdict(list)

        def ran(pid: int, start: int, end: int | None) -> None:
            until = [at for sleeper, at in sleeps if sleeper == pid and at >= start]
            until += [end] if end is not None else []
            edges.append((start, 1))
            if until:
                edges.append((min(until), -1))

        for effect in self.all:
            job = (effect.pid, effect.key)
            if effect.key in without:
                continue
            if effect.event == "start" and effect.detail == task:
                running[job].append(effect.at_ns)
            elif effect.event == "end" and running.get(job):
                ran(effect.pid, running[job].pop(), effect.at_ns)
        for (pid, _), starts in running.items():
            for start in starts:
                ran(pid, start, ends.get(pid))
        count = most = 0
        for _, step in sorted(edges):
            count += step
            most = max(most, count)
        return most

    def by_process(self) -> Counter[int]:
        """Process → jobs it started."""
        return Counter(effect.pid for effect in self.all if effect.event == "start")


def _parse(line: str) -> Effect:
    event, key, retries, detail, pid, at_ns = line.split(" ")
    return Effect(event, key, int(retries), detail, int(pid), int(at_ns))
