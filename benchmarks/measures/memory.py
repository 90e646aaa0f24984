"""What a waiting job takes of the server's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .measure import Measure, Metric

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["JobBytes"]

#: Jobs that wait.
COUNT = 4_000


class JobBytes(Measure):
    """Jobs without arguments."""

    name = "job bytes"
    title = "Memory of the server for a waiting job"
    metrics: ClassVar[dict[str, Metric]] = {"bytes": Metric("bytes", False)}

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """The first jobs pay for keys and connections and do not count."""
        stage.enqueue(contestant, "noop", 100)
        before = stage.server.used_bytes()
        stage.enqueue(contestant, "noop", COUNT)
        return {"bytes": (stage.server.used_bytes() - before) / COUNT}
