"""Add up what the sessions of .ci/run left, for its last lines.

Usage: python .ci/summary.py REPORTS

REPORTS holds a nox report (*.json) of each run and a JUnit file (*.xml) of each session
with tests. Exits with 1 if anything failed or no test ran.
"""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple


class Counts(NamedTuple):
    """Tests by their end; an error in a fixture is a failure."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


def read_junit(path: Path) -> Counts:
    """Count the tests of one session."""
    suites = ET.parse(path).getroot().iter("testsuite")
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return Counts(total - failed - skipped, failed, skipped)


def failed_sessions(report: Path) -> list[str]:
    """Names of the sessions that did not succeed."""
    sessions = json.loads(report.read_text(encoding="utf-8"))["sessions"]
    return [s["signatures"][0] for s in sessions if s["result"] != "success"]


def durations(report: Path) -> list[str]:
    """Lines that tell how long the sessions of one run took, the longest first."""
    sessions = json.loads(report.read_text(encoding="utf-8"))["sessions"]
    taken = {s["signatures"][0]: s["duration"] for s in sessions if "duration" in s}
    lines = [
        f"{seconds:8.1f} s  {name}"
        for name, seconds in sorted(taken.items(), key=lambda item: -item[1])
    ]
    if lines:
        lines.append(f"{sum(taken.values()):8.1f} s  together: {report.stem}")
    return lines


def summarise(reports: Path) -> tuple[Counts, list[str]]:
    """Add up all reports of a folder.

    Returns:
        The counts, in which a session that failed without a failed test counts as one,
        and the names of the sessions that failed.
    """
    counts = [(path.stem, read_junit(path)) for path in reports.glob("*.xml")]
    # A session may test in parts: `together+traced.xml` is one of `together`.
    failing = {name.partition("+")[0] for name, count in counts if count.failed}
    runs = sorted(reports.glob("*.json"))
    broken = [name for run in runs for name in failed_sessions(run)]
    if not runs:
        broken.append("nox")
    silent = sum(name not in failing for name in broken)
    return (
        Counts(
            sum(count.passed for _, count in counts),
            sum(count.failed for _, count in counts) + silent,
            sum(count.skipped for _, count in counts),
        ),
        broken,
    )


if __name__ == "__main__":
    for nox_report in sorted(Path(sys.argv[1]).glob("*.json")):
        for line in durations(nox_report):
            print(line)
    sums, broken_sessions = summarise(Path(sys.argv[1]))
    for session in broken_sessions:
        print(f"FAILED: {session}")
    tail = f", {sums.skipped} skipped" if sums.skipped else ""
    print(f"{sums.passed} passed, {sums.failed} failed{tail}")
    sys.exit(sums.failed > 0 or sums.passed == 0)
