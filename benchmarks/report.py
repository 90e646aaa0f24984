"""The tables in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .goals import check_goals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .measures import Measure, Metric
    from .results import Results
    from .summary import Summary

__all__ = ["report"]


def report(results: Results, measures: Sequence[Measure]) -> str:
    """All measures that a run has values for, then the goals, then what went wrong."""
    lines = [", ".join(f"{name} {value}" for name, value in results.setting.items()), ""]
    for measure in measures:
        if measure.name in results.values:
            lines += [*_table(results, measure), ""]
    lines += _guarantees(results)
    lines += _goals(results)
    if results.troubles:
        lines += ["", "What went wrong", *(f"  {each}" for each in results.troubles)]
    return "\n".join(lines)


def _table(results: Results, measure: Measure) -> Iterator[str]:
    yield f"{measure.title}  (median, lowest to highest)"
    for metric, meaning in measure.metrics.items():
        found = {
            name: found
            for name in results.values[measure.name]
            if (found := results.summary(measure.name, name, metric)) is not None
        }
        if not found:
            continue
        yield f"  {metric}, {meaning.unit}"
        for name, values in found.items():
            yield f"    {name:24} {_cell(values, meaning)}"


def _cell(values: Summary, meaning: Metric) -> str:
    digits = meaning.digits
    text = f"{values.median:>12,.{digits}f}"
    if values.count > 1:
        text += f"   {values.low:,.{digits}f} to {values.high:,.{digits}f}"
    return text


def _guarantees(results: Results) -> Iterator[str]:
    yield "Delivery, as measured here"
    for name, card in results.cards.items():
        yield f"  {name:24} {card['version']:10} {card['guarantee']}"
    yield ""


def _goals(results: Results) -> Iterator[str]:
    yield "Goals"
    for check in check_goals(results):
        mark = "met   " if check.met else "MISSED"
        yield f"  {mark} {check.measure}: {check.goal}: {check.found}"
