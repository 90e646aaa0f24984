"""Medians with their range, percentiles, and ratios; no I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Summary", "percentile", "summary"]


@dataclass(frozen=True)
class Summary:
    """Of the values of one metric over all repeats."""

    median: float
    low: float
    high: float
    count: int


def summary(values: Sequence[float]) -> Summary:
    """Summarise at least one value.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("There are no values to summarise.")
    return Summary(median(values), min(values), max(values), len(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed (nearest rank).

    Raises:
        ValueError: there are no values, or no such percentile.
    """
    if not values or not 0 < percent <= 100:
        raise ValueError(f"No percentile {percent} of {len(values)} values.")
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1]
