"""Jobs that keep the CPU busy, with one and with more threads, on each Python at hand."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from .drain import drained
from .measure import Measure, Metric

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["Pythons"]

#: Jobs of about two milliseconds.
COUNT = 1_500

#: Threads: one, and one for each core.
CORES = max(2, os.cpu_count() or 1)


class Pythons(Measure):
    """A run measures one interpreter, by `--python`; the speed-up is what threads bring."""

    name = "cpu"
    title = f"CPU-bound jobs, 1 thread and {CORES}"
    metrics: ClassVar[dict[str, Metric]] = {
        "one thread": Metric("jobs/s"),
        "thread a core": Metric("jobs/s"),
        "speed-up": Metric("times", True, 2),
    }

    def takes(self, contestant: Contestant) -> bool:
        """One variant shows it."""
        return bool(contestant.options.get("retries"))

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """See `drained`."""
        count = COUNT // stage.share
        one = drained(stage, contestant, task="spin", count=count, slots=1)["rate"]
        stage.server.clear()
        all_cores = drained(stage, contestant, task="spin", count=count, slots=CORES)["rate"]
        return {"one thread": one, "thread a core": all_cores, "speed-up": all_cores / one}
