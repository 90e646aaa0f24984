"""What a job costs that fails and is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .drain import METRICS, drained
from .measure import Measure, Metric

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["Retries"]

#: Jobs, each of which fails once.
COUNT = 10_000


class Retries(Measure):
    """Jobs that fail at the first attempt and are tried again at once, ten threads."""

    name = "retries"
    title = "Drain jobs that fail once, 10 threads"
    metrics: ClassVar[dict[str, Metric]] = METRICS

    def takes(self, contestant: Contestant) -> bool:
        """Spinach alone. Peers wait between attempts, each in its own way."""
        return contestant.kind in {"spinach", "before"} and not contestant.twin

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """See `drained`; a job counts once, with both of its attempts."""
        count = COUNT // stage.share
        calls = [("fails_once", [number]) for number in range(count)]
        return drained(stage, contestant, count=count, slots=10, calls=calls)
