"""What a measure is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..roster import FLOOR

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["Measure", "Metric"]


@dataclass(frozen=True)
class Metric:
    """One number that a measure yields for a contestant."""

    unit: str
    #: Whether more is better; None where neither is.
    more_is_better: bool | None = True
    digits: int = 0


class Measure(ABC):
    """One table of the results; an instance keeps nothing between runs.

    `benchmarks/README.md` tells how to add one.
    """

    #: Unique; for `--measure` and the results.
    name: ClassVar[str]
    #: Heading of its table and of its chart.
    title: ClassVar[str]
    #: Name of a metric → what it is. The first one is drawn.
    metrics: ClassVar[dict[str, Metric]]
    #: Whether `--quick` includes it.
    quick: ClassVar[bool] = False

    def takes(self, contestant: Contestant) -> bool:
        """Whether a contestant takes part: the peers, Spinach, and one floor."""
        return contestant.kind != "floor" or contestant.name == FLOOR

    @abstractmethod
    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Measure once, on an empty server.

        Args:
            stage: runs the contestant's producer and workers.
            contestant: one that `takes` let take part.

        Returns:
            Name of a metric → its value. What a contestant does not offer is left out; an
            empty dict says that it offers nothing of it.

        Raises:
            TimeIsUp: the contestant was not done in time. This is noted in the results, and
                the next contestant takes its turn.
        """
