"""How fast jobs are scheduled."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .measure import Measure, Metric

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["BatchOfMany", "OneByOne"]

#: Jobs scheduled one after the other.
ONE_BY_ONE = 5_000


class OneByOne(Measure):
    """One producer thread, one call a job."""

    name = "one by one"
    title = "Schedule one by one, one thread"
    metrics: ClassVar[dict[str, Metric]] = {"rate": Metric("jobs/s")}
    quick = True

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Time the calls in the producer's process."""
        count = ONE_BY_ONE // stage.share
        answer = stage.play(contestant, "enqueue", task="noop", count=count)
        return {"rate": count / answer["seconds"]}


class BatchOfMany(Measure):
    """One call for many jobs, where there is one."""

    name = "batch"
    title = "Schedule a batch of 10,000"
    metrics: ClassVar[dict[str, Metric]] = {"rate": Metric("jobs/s")}
    quick = True

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Time the call in the producer's process."""
        if not stage.card(contestant)["has_batch"]:
            return {}
        count = contestant.batch
        answer = stage.play(contestant, "batch", task="noop", count=count)
        return {"rate": count / answer["seconds"]}
