"""What a process and its children take of the machine, from Linux's /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "usage"]

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """Of a process with all its descendants."""

    #: CPU time used so far, in seconds; that of children that ended is in it.
    cpu_seconds: float
    #: Resident memory. What processes share is counted once for each.
    rss_bytes: int
    processes: int


def usage(pid: int) -> Usage:
    """Look at a process now."""
    pids = _family(pid)
    cpu, rss = 0.0, 0
    for each in pids:
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # Counted from the field after the name: user, system, and both of the children.
        cpu += sum(int(ticks) for ticks in fields[11:15]) / _TICK
        rss += int(fields[21]) * _PAGE
    return Usage(cpu_seconds=cpu, rss_bytes=rss, processes=len(pids))


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for thread in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, thread.read_text().split())
            except OSError:
                continue
    return found
