"""What the jobs of a namespace did, as their processes wrote it down.

The file is on this machine's disk, so no fault of a server touches it. Instants are the
monotonic clock's, which all processes of a machine share.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
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

    def peak(self, task: str, deaths: Mapping[int, int]) -> int:
        """Most jobs of a task that ran at once.

        Args:
            task: its name.
            deaths: process → instant it was killed, which ended its jobs.
        """
        edges: list[tuple[int, int]] = []
        running: dict[tuple[int, str], list[int]] = defaultdict(list)
        for effect in self.all:
            job = (effect.pid, effect.key)
            if effect.event == "start" and effect.detail == task:
                running[job].append(effect.at_ns)
            elif effect.event == "end" and running.get(job):
                edges += [(running[job].pop(), 1), (effect.at_ns, -1)]
        for (pid, _), starts in running.items():
            for start in starts:
                edges.append((start, 1))
                if pid in deaths:
                    edges.append((deaths[pid], -1))
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
