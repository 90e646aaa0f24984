"""The same over a network with a round trip of 10 ms."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..proxy import proxied
from .drain import METRICS, drained
from .measure import Measure, Metric

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["ROUND_TRIP_SECONDS", "DistantBatch", "DistantDrain"]

ROUND_TRIP_SECONDS = 0.010


class DistantDrain(Measure):
    """Drain, with the delay between worker and server."""

    name = "distant drain"
    title = "Drain at a round trip of 10 ms, 10 threads"
    metrics: ClassVar[dict[str, Metric]] = METRICS

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Jobs are sent and looked at without the delay."""
        with proxied(stage.server.port, ROUND_TRIP_SECONDS / 2) as proxy:
            return drained(stage, contestant, count=contestant.distant, slots=10, url=proxy.url)


class DistantBatch(Measure):
    """A batch, with the delay between producer and server, and without."""

    name = "distant batch"
    title = "Schedule a batch of 10,000 at a round trip of 10 ms"
    metrics: ClassVar[dict[str, Metric]] = {
        "rate": Metric("jobs/s"),
        "share": Metric("% of its own rate without delay"),
    }

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """One right after the other, so that they compare."""
        if not stage.card(contestant)["has_batch"]:
            return {}
        count = contestant.batch
        near = stage.play(contestant, "batch", task="noop", count=count)["seconds"]
        stage.server.clear()
        with proxied(stage.server.port, ROUND_TRIP_SECONDS / 2) as proxy:
            far = stage.play(contestant, "batch", proxy.url, task="noop", count=count)["seconds"]
        return {"rate": count / far, "share": 100 * near / far}
