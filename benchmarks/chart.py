"""Bar charts as SVG, written by hand: no library, and they look alike everywhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .measures import Measure
    from .results import Results
    from .roster import Contestant

__all__ = ["bars", "file_name", "write_charts"]

#: Colours by kind of contestant; readable on light and dark pages.
COLOURS = {"floor": "#9aa0a6", "spinach": "#2e9e4f", "before": "#a8d5b5", "peer": "#5b8def"}

#: Widths and heights in pixels.
WIDTH, LABEL, VALUE, BAR, GAP, TOP = 720, 180, 90, 18, 8, 44


def write_charts(
    results: Results,
    measures: Sequence[Measure],
    contestants: Sequence[Contestant],
    folder: Path,
) -> list[Path]:
    """A chart of the first metric of each measure that a run has values for.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {contestant.name: contestant.kind for contestant in contestants}
    written = []
    for measure in measures:
        metric, meaning = next(iter(measure.metrics.items()))
        rows = []
        for name in results.values.get(measure.name, ()):
            found = results.summary(measure.name, name, metric)
            if found is not None:
                rows.append((name, kinds.get(name, "before"), found.median, found.low, found.high))
        if len(rows) < 2:
            continue
        path = folder / file_name(measure)
        better = {True: ", more is better", False: ", less is better", None: ""}
        subtitle = f"{metric}, {meaning.unit}{better[meaning.more_is_better]}"
        path.write_text(
            bars(measure.title, subtitle, rows, meaning.digits) + "\n", encoding="utf-8"
        )
        written.append(path)
    return written


def file_name(measure: Measure) -> str:
    """Of a measure's chart."""
    return measure.name.replace(" ", "-") + ".svg"


def bars(
    title: str,
    subtitle: str,
    rows: Sequence[tuple[str, str, float, float, float]],
    digits: int = 0,
) -> str:
    """A horizontal bar for each row, with a line from its lowest to its highest value.

    Args:
        title: first line.
        subtitle: second line.
        rows: name, kind, median, lowest, highest.
        digits: after the decimal point.
    """
    scale = (WIDTH - LABEL - VALUE) / (max(row[4] for row in rows) or 1)
    height = TOP + len(rows) * (BAR + GAP) + GAP
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'font-family="sans-serif" font-size="12" role="img" fill="#6b7280">'
        ),
        f"<title>{escape(title)}</title>",
        f'<text x="0" y="16" font-size="15" font-weight="bold">{escape(title)}</text>',
        f'<text x="0" y="34">{escape(subtitle)}</text>',
    ]
    for number, (name, kind, median, low, high) in enumerate(rows):
        y = TOP + number * (BAR + GAP)
        middle = y + BAR / 2
        end = LABEL + median * scale
        parts += [
            f'<text x="{LABEL - 8}" y="{middle + 4:g}" text-anchor="end">{escape(name)}</text>',
            (
                f'<rect x="{LABEL}" y="{y}" width="{max(1.0, median * scale):.1f}" '
                f'height="{BAR}" fill="{COLOURS[kind]}"/>'
            ),
            (
                f'<line x1="{LABEL + low * scale:.1f}" x2="{LABEL + high * scale:.1f}" '
                f'y1="{middle:g}" y2="{middle:g}" stroke="#374151" stroke-width="2"/>'
            ),
            (
                f'<text x="{max(end, LABEL + high * scale) + 6:.1f}" y="{middle + 4:g}">'
                f"{median:,.{digits}f}</text>"
            ),
        ]
    return "\n".join([*parts, "</svg>"])
