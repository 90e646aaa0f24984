"""Whether a job costs more when many others wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from ..stage import TimeIsUp
from .drain import LIMIT_SECONDS, first_start
from .measure import Measure, Metric

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["Growth"]

#: Jobs that wait in the same queue, by what the metric says.
WAITING = {"1e3": 1_000, "1e5": 100_000, "1e6": 1_000_000}

#: More waiting jobs than this only for those whose batches make it a matter of seconds.
MOST_OF_PEERS = 100_000

#: Jobs due in an hour, and jobs held back by a limit.
FUTURE, HELD = 100_000, 100_000

#: Jobs scheduled and drained for one value.
COUNT = 10_000

#: How many jobs of the task with a limit were put aside.
HELD_KEY = ["HLEN", "{bench/spinach}:held"]

#: Jobs that one producer schedules at most.
PORTION = 100_000

#: An hour from now, as a span.
LATER = (3600.0, 3700.0)


class Growth(Measure):
    """Cost is CPU time of the server a job, and the rates.

    A peer has fewer sizes: a million jobs that it schedules one by one would take minutes.
    """

    name = "growth"
    title = "Cost of a job beside waiting, future and held ones"
    metrics: ClassVar[dict[str, Metric]] = {
        f"{what} {size}": metric
        for size in (*WAITING, "future", "held")
        for what, metric in (
            ("drain", Metric("jobs/s")),
            ("schedule", Metric("jobs/s")),
            ("server", Metric("µs of the server's CPU a job", False, 1)),
        )
    }

    def takes(self, contestant: Contestant) -> bool:
        """One variant of each, to save time."""
        return not contestant.twin and super().takes(contestant)

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Jobs wait first; those that are scheduled for the value come on top."""
        values: dict[str, float] = {}
        is_peer = contestant.kind == "peer"
        for size, waiting in WAITING.items():
            if is_peer and waiting > MOST_OF_PEERS:
                continue
            stage.server.clear()
            for count in _portions(waiting // stage.share):
                stage.enqueue(contestant, "noop", count)
            values |= self._cost(stage, contestant, size)
        if contestant.kind == "floor":
            return values
        stage.server.clear()
        stage.play(contestant, "defer", count=FUTURE // stage.share, span=LATER)
        values |= self._cost(stage, contestant, "future")
        if is_peer:
            # None holds jobs back at the server.
            return values
        stage.server.clear()
        self._hold(stage, contestant, HELD // stage.share)
        return values | self._cost(stage, contestant, "held")

    def _hold(self, stage: Stage, contestant: Contestant, count: int) -> None:
        """Have jobs wait for a slot whose owner has died, which is not noticed for now."""
        stage.enqueue(contestant, "stuck", count)
        deadline = time.monotonic() + LIMIT_SECONDS
        with stage.worker(contestant, 2, kill=True) as work:
            while stage.server.count([HELD_KEY]) < count - 1:
                work.check()
                if time.monotonic() > deadline:
                    raise TimeIsUp("The jobs beyond the limit were not put aside.")
                time.sleep(0.1)

    def _cost(self, stage: Stage, contestant: Contestant, size: str) -> dict[str, float]:
        count = contestant.several(COUNT) // min(stage.share, 5)
        before = stage.pending(contestant)
        cpus = [stage.server.cpu_seconds()]
        seconds = stage.enqueue(contestant, "noop", count)
        cpus.append(stage.server.cpu_seconds())
        with stage.worker(contestant, 10) as work:
            end, left = stage.await_done(contestant, [work], LIMIT_SECONDS, before)
            cpus.append(stage.server.cpu_seconds())
            # It goes on with the jobs that waited before, and may be ahead by some.
            drained = before + count - left
            rate = drained / (end - first_start([work]))
        cost = (cpus[1] - cpus[0]) / count + (cpus[2] - cpus[1]) / drained
        return {
            f"schedule {size}": count / seconds,
            f"drain {size}": rate,
            f"server {size}": 1e6 * cost,
        }


def _portions(count: int) -> list[int]:
    return [min(PORTION, count - start) for start in range(0, count, PORTION)]
