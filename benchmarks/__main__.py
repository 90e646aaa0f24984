"""The command: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from .chart import write_charts
from .environment import ROOT, Environments
from .measures import ALL
from .page import page
from .report import report
from .results import Results
from .roster import AT_LEAST_ONCE, AT_MOST_ONCE, FLOOR, ROSTER, before
from .runner import run
from .server import private_server
from .stage import Stage

#: Environments and results, unless the command line says otherwise.
CACHE = ROOT / "benchmarks" / ".cache"

#: Contestants of a quick run: those that need no minutes.
QUICK = [FLOOR, AT_LEAST_ONCE, AT_MOST_ONCE, "Dramatiq", "Huey", "SAQ"]

#: A quick run divides numbers of jobs by this.
QUICK_SHARE = 10


def main(arguments: list[str]) -> int:
    """Measure, save, draw and print."""
    options = _parser().parse_args(arguments)
    results = Results.load(options.report) if options.report else _measure(options)
    charts = write_charts(results, ALL, ROSTER, options.plots)
    for path in charts:
        print(f"Wrote {path}")
    if options.page:
        options.page.write_text(page(results, ALL, charts) + "\n", encoding="utf-8")
    print(report(results, ALL))
    return 0


def _measure(options: argparse.Namespace) -> Results:
    names = options.only or (QUICK if options.quick else None)
    contestants = [c for c in ROSTER if names is None or c.name in names]
    if options.before:
        contestants += before(options.before)
    measures = [
        measure
        for measure in ALL
        if (
            measure.name in options.measure
            if options.measure
            else measure.quick or not options.quick
        )
    ]
    python = Path(shutil.which(options.python) or options.python)
    environments = Environments(CACHE / Environments.key(python), python, here=options.here)
    with private_server() as server:
        stage = Stage(server, environments, QUICK_SHARE if options.quick else 1)
        repeats = options.repeats or (1 if options.quick else 3)
        return run(
            stage,
            measures,
            contestants,
            repeats,
            say=lambda line: print(line, flush=True),
            keep=lambda results: results.save(options.json),
            earlier=Results.load(options.json) if options.resume else None,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Spinach beside its peers on one private server.",
    )
    parser.add_argument("--quick", action="store_true", help="a subset, under two minutes")
    parser.add_argument("--repeats", type=int, help="of each measure; 3, or 1 for a quick run")
    parser.add_argument(
        "--measure", action="append", choices=[m.name for m in ALL], help="only this; repeatable"
    )
    parser.add_argument(
        "--only", action="append", choices=[c.name for c in ROSTER], help="only this contestant"
    )
    parser.add_argument(
        "--before", type=Path, help="measure the Spinach of another checkout as well"
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter of all contestants")
    parser.add_argument(
        "--here", action="store_true", help="run Spinach and the floor in this environment"
    )
    parser.add_argument("--json", type=Path, default=CACHE / "results.json", help="where to save")
    parser.add_argument(
        "--resume", action="store_true", help="add the measures that the saved run lacks"
    )
    parser.add_argument("--plots", type=Path, default=CACHE / "plots", help="where to draw")
    parser.add_argument("--page", type=Path, help="where to write the tables as Markdown")
    parser.add_argument("--report", type=Path, help="measure nothing; show a saved run")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
