"""Several worker processes on one server, and what a job costs the server."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, ClassVar

from .drain import LIMIT_SECONDS, first_start
from .measure import Measure, Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..roster import Contestant
    from ..stage import Stage, Work

__all__ = ["ScaleOut"]

#: Worker processes.
PROCESSES = (1, 2, 4)

#: Pause between looks at processes that start, in seconds.
LOOK_SECONDS = 0.01

#: Jobs for each process, some for the time until the last of them has started.
SHARE = 60_000


class ScaleOut(Measure):
    """All of them."""

    name = "scale"
    title = "Drain by 1, 2 and 4 processes on one server"
    metrics: ClassVar[dict[str, Metric]] = {
        **{f"{n} processes": Metric("jobs/s") for n in PROCESSES},
        "server": Metric("µs of the server's CPU a job", False, 1),
        "one core": Metric("jobs/s that one core of a server carries"),
    }

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Count from the moment when all processes work.

        The server's time is that of scheduling and draining with one process.
        """
        values: dict[str, float] = {}
        share = contestant.several(SHARE)
        for number in PROCESSES:
            stage.server.clear()
            count = share * number // stage.share
            before = stage.server.cpu_seconds()
            stage.enqueue(contestant, "noop", count)
            with contextlib.ExitStack() as stack:
                works = [stack.enter_context(stage.worker(contestant, 10)) for _ in range(number)]
                left, begin = _all_at_work(stage, contestant, works)
                end, _ = stage.await_done(contestant, works, LIMIT_SECONDS)
                used = stage.server.cpu_seconds() - before
                if not left:
                    # Some were done before the last one began.
                    left, begin = count, first_start(works)
                values[f"{number} processes"] = left / (end - begin)
            if number == 1:
                values["server"] = 1e6 * used / count
                values["one core"] = count / used
        return values


def _all_at_work(stage: Stage, contestant: Contestant, works: Sequence[Work]) -> tuple[int, float]:
    """How many jobs are left when each process has begun with one, and when that is."""
    while True:
        left, now = stage.pending(contestant), time.monotonic()
        if not left or all(work.events("first") for work in works):
            return left, now
        for work in works:
            work.check()
        time.sleep(LOOK_SECONDS)
