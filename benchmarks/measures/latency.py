"""How late jobs start on an idle worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..summary import percentile
from .measure import Measure, Metric

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["FutureJobs", "PickUp"]

#: Jobs of either measure.
COUNT = 200

#: Seconds between two jobs, long enough for the worker to be idle again.
INTERVAL_SECONDS = 0.030

#: When the future jobs are due, in seconds from when they are scheduled.
SPAN_SECONDS = (1.0, 4.0)

#: How long the last future job may take beyond its instant, in seconds.
PATIENCE_SECONDS = 20.0


class PickUp(Measure):
    """From before the producer's call to the start of the job."""

    name = "pick-up"
    title = "Pick-up by an idle worker, one job each 30 ms"
    metrics: ClassVar[dict[str, Metric]] = {
        "p50": Metric("ms", False, 2),
        "p99": Metric("ms", False, 2),
    }
    quick = True

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Both clocks are the machine's one monotonic clock."""
        count = COUNT // min(stage.share, 4)
        with stage.worker(contestant, 10) as work:
            stage.warm_up(contestant, work)
            stage.play(contestant, "trickle", count=count, interval=INTERVAL_SECONDS)
            stage.await_done(contestant, [work], PATIENCE_SECONDS)
            work.await_events("picked up", count, PATIENCE_SECONDS)
            late = [event["late"] * 1000 for event in work.events("picked up")]
        return {"p50": percentile(late, 50), "p99": percentile(late, 99)}


class FutureJobs(Measure):
    """Jobs due at known instants."""

    name = "future"
    title = "200 jobs due in 1 to 4 s: how late they start"
    metrics: ClassVar[dict[str, Metric]] = {
        "p50": Metric("ms", False, 2),
        "p99": Metric("ms", False, 2),
        "early": Metric("jobs", False),
    }

    def takes(self, contestant: Contestant) -> bool:
        """The floor knows no future."""
        return contestant.kind != "floor"

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """The instants are whole milliseconds, so that nobody gains by rounding."""
        with stage.worker(contestant, 10) as work:
            stage.warm_up(contestant, work)
            stage.play(contestant, "defer", count=COUNT, span=SPAN_SECONDS)
            work.await_events("came due", COUNT, SPAN_SECONDS[1] + PATIENCE_SECONDS)
            late = [event["late"] * 1000 for event in work.events("came due")]
        return {
            "p50": percentile(late, 50),
            "p99": percentile(late, 99),
            "early": sum(each < 0 for each in late),
        }
