"""What a run found, as it is kept in the JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .summary import Summary, summary

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Results"]


@dataclass
class Results:
    """Values of one run; all ratios are taken between values of one of these."""

    #: Machine, server, interpreter, when.
    setting: dict[str, Any] = field(default_factory=dict)
    #: Contestant → what its adapter and its environment say.
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Measure → contestant → metric → a value for each repeat.
    values: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    #: What went wrong, in words.
    troubles: list[str] = field(default_factory=list)

    def add(self, measure: str, contestant: str, values: dict[str, float]) -> None:
        """Add what one repeat found."""
        of_contestant = self.values.setdefault(measure, {}).setdefault(contestant, {})
        for metric, value in values.items():
            of_contestant.setdefault(metric, []).append(value)

    def summary(self, measure: str, contestant: str, metric: str) -> Summary | None:
        """Of all repeats; None if there are no values."""
        values = self.values.get(measure, {}).get(contestant, {}).get(metric)
        return summary(values) if values else None

    def median(self, measure: str, contestant: str, metric: str) -> float | None:
        """Of all repeats; None if there are no values."""
        found = self.summary(measure, contestant, metric)
        return None if found is None else found.median

    def best(
        self, measure: str, metric: str, contestants: list[str], *, most: bool
    ) -> tuple[str, float] | None:
        """The contestant with the best median, and the median; None if there is none."""
        medians = [(name, self.median(measure, name, metric)) for name in contestants]
        known = [(name, value) for name, value in medians if value is not None]
        if not known:
            return None
        return (max if most else min)(known, key=lambda pair: pair[1])

    def save(self, path: Path) -> None:
        """Write the JSON file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a JSON file that `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
