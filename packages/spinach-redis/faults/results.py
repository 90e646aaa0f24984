"""What the fault suite found: rows of a table, in the terminal and in the documentation.

With `--page docs/reference/faults.md` a run writes its rows into that page. Rows of other
faults and of other servers stay.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NOT_RUN", "Record", "Row", "merge", "page", "read", "table"]

#: Outcome of a fault that cannot be brought about on this machine.
NOT_RUN = "NOT RUN"

COLUMNS = ("fault", "server", "runs", "jobs", "seed", "seconds", "outcome")

HEAD = """\
# Faults that were tried

Each line is a fault that `nox -s faults` brings about on real servers, with worker
processes of the operating system and with effects that are counted outside the server
that suffers. After each of them these things are checked:

- jobs that run at most once started once or not at all, and those that did not succeed are
  in the failed store;
- jobs that may repeat succeeded at least once;
- what is left on the server belongs to the failed store, or is bookkeeping of bounded size;
- slots of limited tasks are free again, and no limit was exceeded meanwhile.

Where no worker was lost, each job succeeded exactly once and spent no attempt but by raising.
Where the server forgot what it had confirmed, its file tells which writes those were: a job
suffered nothing that its own lost writes do not explain, and the line says what that cost, as
[Delivery](../delivery.md) has it. A job in the hands of a worker that slept past its lease
counts for a limit until the worker fell asleep. Leases last 10 seconds here, the shortest there
are.

`nox -s faults` brings about a part of it. `nox -s faults -- --full` brings about all of it and
writes its lines into this page; those of servers of other kinds stay. `--seed` repeats the random
choices of a run, but not the order in which processes and threads run.

"""


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, and how the processes came through it."""

    fault: str
    #: Kind and version of the server.
    server: str
    #: How often the fault was brought about.
    runs: int
    #: Jobs that were scheduled in all of the runs.
    jobs: int
    #: Of the random choices of the test.
    seed: int
    #: Of all runs; many run side by side.
    seconds: float
    #: `passed`, `failed` or `NOT RUN`.
    outcome: str
    #: What was measured, for people.
    note: str = ""


class Record:
    """Takes down what one test tried."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._started = time.monotonic()
        self.rows: list[Row] = []

    def __call__(
        self,
        fault: str,
        *,
        runs: int,
        jobs: int = 0,
        server: str = "",
        note: str = "",
        seconds: float | None = None,
    ) -> None:
        """Add a row; whether the test passed is added at its end.

        Args:
            fault: as the table names it.
            runs: how often it was brought about.
            jobs: scheduled in all of the runs.
            server: kind and version.
            note: what was measured.
            seconds: that it took; None: since the test began.
        """
        if seconds is None:
            seconds = time.monotonic() - self._started
        self.rows.append(Row(fault, server, runs, jobs, self._seed, seconds, "passed", note))

    def not_run(self, fault: str, reason: str) -> None:
        """Add a row for a fault that cannot be brought about here."""
        self.rows.append(Row(fault, "", 0, 0, self._seed, 0.0, NOT_RUN, reason))


def read(text: str) -> list[Row]:
    """The rows of a page, with seconds as it shows them."""
    _, _, lines = text.partition("|---|")
    rows = []
    for line in lines.splitlines()[1:]:
        fault, server, runs, jobs, seed, seconds, last = line.strip("| ").split(" | ")
        outcome, _, note = last.partition(": ")
        numbers = int(runs), int(jobs), int(seed), float(seconds)
        rows.append(Row(fault, server.strip(), *numbers, outcome, note))
    return rows


def merge(path: Path, rows: list[Row]) -> None:
    """Put rows into a page, in the place of earlier ones of the same fault and server.

    A test that failed leaves the page as it is. A fault that could not be brought about has a
    row without a server, which goes when it is.
    """
    rows = [row for row in rows if row.outcome != "failed"]
    faults = {row.fault for row in rows}
    earlier = read(path.read_text(encoding="utf-8")) if path.exists() else []
    kept = [row for row in earlier if row.runs or row.fault not in faults]
    merged = {(row.fault, row.server): row for row in [*kept, *rows]}
    path.write_text(page(list(merged.values())), encoding="utf-8")


def table(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|--:|--:|--:|--:|---|"]
    for row in rows:
        outcome = f"{row.outcome}: {row.note}" if row.note else row.outcome
        cells = (row.fault, row.server, row.runs, row.jobs, row.seed, f"{row.seconds:.0f}", outcome)
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def page(rows: list[Row]) -> str:
    """The page of the documentation."""
    return HEAD + table(sorted(rows, key=lambda row: (row.fault.lower(), row.server)))
