"""Short jobs beside long ones: whether a short one waits behind a long one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .measure import Measure, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["Mixed", "overtaken"]

#: Short jobs, of 1 ms each, and long ones, of 5 s, spread evenly among them.
SHORT, LONG = 2_000, 5

#: Threads of each of the two worker processes.
SLOTS = 5

#: How long it may take, in seconds.
LIMIT_SECONDS = 60.0


class Mixed(Measure):
    """Two processes that share a queue; long jobs may fill all threads of one."""

    name = "mixed"
    title = "2,000 jobs of 1 ms among 5 of 5 s, two processes with 5 threads"
    metrics: ClassVar[dict[str, Metric]] = {
        "wait": Metric("ms, longest wait of a short job behind later ones", False, 1),
        "all short": Metric("ms until the last short job started", False),
    }

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Jobs wait before the workers start."""
        step = SHORT // LONG
        calls: list[tuple[str, list[int]]] = []
        for number in range(SHORT):
            if number % step == step // 2:
                calls.append(("long", [number]))
            calls.append(("short", [number]))
        stage.schedule(contestant, calls)
        with stage.worker(contestant, SLOTS) as one, stage.worker(contestant, SLOTS) as other:
            stage.await_done(contestant, [one, other], LIMIT_SECONDS)
            events = one.events("short") + other.events("short")
        starts = {int(event["number"]): event["at"] for event in events}
        ordered = [starts[number] for number in sorted(starts)]
        return {
            "wait": 1000 * max(overtaken(ordered)),
            "all short": 1000 * (max(ordered) - min(ordered)),
        }


def overtaken(starts: list[float]) -> Iterable[float]:
    """How long each job started after the first of those behind it in the queue.

    Args:
        starts: in the order of the queue.
    """
    first_behind = float("inf")
    for start in reversed(starts):
        yield max(0.0, start - first_behind)
        first_behind = min(first_behind, start)
