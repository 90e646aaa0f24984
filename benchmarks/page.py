"""The tables of the documentation's page, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .goals import verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .measures import Measure
    from .results import Results

__all__ = ["page"]


def page(results: Results, measures: Sequence[Measure]) -> str:
    """All measures of a run, the goals, and the setting; for `docs/benchmarks.md`."""
    lines = [*_setting(results), *_contestants(results)]
    for measure in measures:
        if measure.name in results.values:
            lines += _measure(results, measure)
    lines += _goals(results)
    return "\n".join(lines)


def _setting(results: Results) -> Iterator[str]:
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


def _measure(results: Results, measure: Measure) -> Iterator[str]:
    of_measure = results.values[measure.name]
    metrics = [
        metric
        for metric in measure.metrics
        if any(metric in of_contestant for of_contestant in of_measure.values())
    ]
    if not metrics:
        return
    yield f"### {measure.title}"
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
        return ""
    digits = measure.metrics[metric].digits
    text = f"{found.median:,.{digits}f}"
    if found.count > 1:
        text += f" ({found.low:,.{digits}f} to {found.high:,.{digits}f})"
    return text


def _goals(results: Results) -> Iterator[str]:
    yield "### Goals"
    yield ""
    yield "| goal | found | |"
    yield "|---|---|---|"
    for verdict in verdicts(results):
        mark = "met" if verdict.met else "**missed**"
        yield f"| {verdict.measure}: {verdict.goal} | {verdict.found} | {mark} |"
    yield ""
