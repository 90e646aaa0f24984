"""Several worker processes on one server, and what a job costs the server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar

from .drain import LIMIT_SECONDS, first_start
from .measure import Measure, Metric

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["ScaleOut"]

#: Worker processes.
PROCESSES = (1, 2, 4)

#: Jobs for each process.
SHARE = 20_000


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
        """The server's time is that of scheduling and draining with one process."""
        values: dict[str, float] = {}
        share = contestant.several(SHARE)
        for number in PROCESSES:
            stage.server.clear()
            count = share * number // stage.share
            before = stage.server.cpu_seconds()
            stage.enqueue(contestant, "noop", count)
            with contextlib.ExitStack() as stack:
                works = [stack.enter_context(stage.worker(contestant, 10)) for _ in range(number)]
                end, _ = stage.await_done(contestant, works, LIMIT_SECONDS)
                used = stage.server.cpu_seconds() - before
                values[f"{number} processes"] = count / (end - first_start(works))
            if number == 1:
                values["server"] = 1e6 * used / count
                values["one core"] = count / used
        return values
