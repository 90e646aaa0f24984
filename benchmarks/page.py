"""The documentation's page of results, as Markdown: tables, and charts where there are some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .chart import file_name
from .goals import check_goals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .measures import Measure
    from .results import Results

__all__ = ["page"]


HEAD = """\
# Results of one run

<!-- Written by `nox -s bench -- --page ...`; the other page says how, and what it means. -->

What is measured, how, and what it means stands in [Benchmarks](../benchmarks.md). A value is
the median of all repeats, with the lowest and the highest behind it. *n/a* stands where
a contestant offers no such thing, where it would take minutes, or where it cannot be seen from
outside.
"""


def page(results: Results, measures: Sequence[Measure], charts: Sequence[Path]) -> str:
    """All measures of a run, the goals, and the setting.

    Args:
        results: of the run.
        measures: in the order of the page.
        charts: files beside the page.
    """
    lines = [HEAD, *_goals(results), *_setting(results), *_contestants(results)]
    names = {path.name for path in charts}
    for measure in measures:
        if measure.name in results.values:
            lines += _measure(results, measure, file_name(measure) in names)
    return "\n".join(lines)


def _setting(results: Results) -> Iterator[str]:
    yield "## Setting and contestants"
    yield ""
    yield "| setting | |"
    yield "|---|---|"
    for name, value in results.setting.items():
        yield f"| {name} | {value} |"
    yield ""


def _contestants(results: Results) -> Iterator[str]:
    yield "| contestant | version | a job whose worker is killed, as measured here |"
    yield "|---|---|---|"
    for name, card in results.cards.items():
        yield f"| {name} | {card['version']} | {card['guarantee']} |"
    yield ""


def _measure(results: Results, measure: Measure, drawn: bool) -> Iterator[str]:
    of_measure = results.values[measure.name]
    metrics = [
        metric
        for metric in measure.metrics
        if any(metric in of_contestant for of_contestant in of_measure.values())
    ]
    if not metrics:
        return
    yield f"## {measure.title}"
    yield ""
    if drawn:
        yield f"![{measure.title}]({file_name(measure)})"
        yield ""
    yield "| | " + " | ".join(f"{m}, {measure.metrics[m].unit}" for m in metrics) + " |"
    yield "|---|" + "---:|" * len(metrics)
    for name in of_measure:
        cells = [_cell(results, measure, name, metric) for metric in metrics]
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""


def _cell(results: Results, measure: Measure, name: str, metric: str) -> str:
    found = results.summary(measure.name, name, metric)
    if found is None:
        return "n/a"
    digits = measure.metrics[metric].digits
    text = f"{found.median:,.{digits}f}"
    if found.count > 1:
        text += f" ({found.low:,.{digits}f} to {found.high:,.{digits}f})"
    return text


def _goals(results: Results) -> Iterator[str]:
    yield "## Goals"
    yield ""
    yield "| goal | found | |"
    yield "|---|---|---|"
    for check in check_goals(results):
        mark = "met" if check.met else "**missed**"
        yield f"| {check.measure}: {check.goal} | {check.found} | {mark} |"
    yield ""
