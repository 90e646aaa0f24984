"""How long a producer waits for what its job returned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..summary import percentile
from .measure import Measure, Metric

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["Result"]

#: Jobs, and those before them that do not count.
COUNT, WARM_UP = 400, 20


class Result(Measure):
    """From before the producer's call to the result in its hands, one job after the other."""

    name = "result"
    title = "Schedule a job, run it, and get its result"
    metrics: ClassVar[dict[str, Metric]] = {
        "p50": Metric("ms", False, 2),
        "p99": Metric("ms", False, 2),
    }
    quick = True

    def takes(self, contestant: Contestant) -> bool:
        """The floor returns nothing, nor did earlier Spinachs."""
        return contestant.kind not in ("floor", "before")

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Producer and worker have results on, which all other measures leave off."""
        if not stage.card(contestant)["has_results"]:
            return {}
        keeping = replace(contestant, options={**contestant.options, "results": True})
        count = COUNT // min(stage.share, 4)
        with stage.worker(keeping, 10) as work:
            stage.warm_up(keeping, work)
            asked = stage.play(keeping, "ask", count=WARM_UP + count)["asked"]
        late = [seconds * 1000 for seconds in asked[WARM_UP:]]
        return {"p50": percentile(late, 50), "p99": percentile(late, 99)}
