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
    """One or more rows of the table; keeps nothing between runs."""

    #: Unique, for the command line and the results.
    name: ClassVar[str]
    #: What the row says.
    title: ClassVar[str]
    #: Name of a metric → what it is. The first one is plotted.
    metrics: ClassVar[dict[str, Metric]]
    #: Whether `--quick` includes it.
    quick: ClassVar[bool] = False

    def takes(self, contestant: Contestant) -> bool:
        """Whether a contestant takes part: the peers, Spinach, and one floor."""
        return contestant.kind != "floor" or contestant.name == FLOOR

    @abstractmethod
    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Measure once, on an empty server.

        Returns:
            Values by name of the metric; those that cannot be had are left out, all of them
            where the contestant does not offer such a thing.

        Raises:
            TimeIsUp: the contestant did not get done.
        """
