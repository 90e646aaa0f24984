"""What the fixtures of spinach-testing cost a suite, and whether it stays green.

Usage: python tools/fixture_cost.py [--check] [ROUNDS]

Writes a project with 200 small tests that schedule and drain, and the same number without
Spinach, which call a function. Measures what a test more costs with the fixtures, what the
plugin adds to `pytest --collect-only` where nobody uses it, which modules it imports there,
and how long a year of a daily task takes. Each figure has a goal; with --check the program
ends with an error when one is missed. Last it runs the 200 tests ROUNDS times (50; 0 for
none) with two processes of pytest-xdist, in an order that pytest-randomly draws each time;
its seed is shown when a run fails.

A machine is never quiet, and what it does otherwise lasts longer than one run. So the two
sides of a comparison take turns, in an order that changes, and the median of the differences
between neighbours counts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

#: Tests that a file holds: eight kinds, 25 of each.
COPIES = 25
#: Pairs of runs: of the tests, and of collecting one.
PAIRS = 7
COLLECTED_PAIRS = 41
ROUNDS = 50
#: How pytest is told to load the plugin.
PLUGIN = ["-p", "spinach_testing.plugin"]
#: Goals, in ms: for a test, for a collection, and for a year.
MOST_TEST_MS = 5.0
MOST_COLLECT_MS = 10.0
MOST_YEAR_MS = 1000.0
#: Of what a run wrote that failed.
SHOWN_CHARACTERS = 5000

APPLICATION = """
from spinach import RetryException, Tasks

tasks = Tasks()
sent = []


def send(to, subject="hello"):
    sent.append((to, subject))


def order(customers):
    for customer in customers:
        tasks.schedule("send", customer)


def poll(key, times):
    sent.append(key)
    if sent.count(key) < times:
        raise RetryException("not yet")


def broken(reason):
    raise ValueError(reason)


tasks.add(send, name="send", max_retries=3)
tasks.add(order, name="order")
tasks.add(poll, name="poll", max_retries=5)
tasks.add(broken, name="broken")
"""

CONFTEST = """
import pytest

import application


@pytest.fixture(scope="session")
def spinach_tasks():
    return [application.tasks]


@pytest.fixture(autouse=True)
def nothing_sent():
    application.sent.clear()
"""

WITH_FIXTURES = """
from datetime import timedelta

import pytest

from application import broken, order, poll, send, sent, tasks
from spinach import Batch, JobStatus

copies = pytest.mark.parametrize("copy", range({copies}))


@copies
def test_one_job(copy, spinach_worker):
    tasks.schedule(send, copy)
    spinach_worker.drain()
    assert sent == [(copy, "hello")]


@copies
def test_keyword(copy, spinach_worker):
    tasks.schedule(send, copy, subject="again")
    spinach_worker.drain()
    assert sent == [(copy, "again")]


@copies
def test_only_scheduled(copy, spinach_engine, spinach_jobs):
    tasks.schedule(send, copy)
    spinach_jobs.assert_scheduled(send, count=1)
    assert sent == []


@copies
def test_jobs_that_jobs_make(copy, spinach_worker, spinach_jobs):
    tasks.schedule(order, [copy, copy + 1])
    spinach_worker.drain()
    assert sorted(sent) == [(copy, "hello"), (copy + 1, "hello")]
    spinach_jobs.assert_scheduled(send, count=2)


@copies
def test_retries(copy, spinach_worker):
    tasks.schedule(poll, copy, 3)
    spinach_worker.run_until_finished()
    assert sent == [copy, copy, copy]


@copies
def test_failure(copy, spinach_worker, spinach_jobs):
    tasks.schedule(broken, str(copy))
    spinach_worker.drain(on_failure="collect")
    assert spinach_jobs.one().status is JobStatus.FAILED


@copies
def test_future(copy, spinach_worker, spinach_clock):
    tasks.schedule_at(send, spinach_clock.now() + timedelta(hours=1), copy)
    spinach_worker.drain()
    assert sent == []
    spinach_worker.advance(timedelta(hours=1))
    assert sent == [(copy, "hello")]


@copies
def test_batch(copy, spinach_worker):
    batch = Batch()
    for number in range(5):
        batch.schedule(send, number)
    tasks.schedule_batch(batch)
    spinach_worker.drain(workers=2)
    assert len(sent) == 5
"""

WITHOUT_FIXTURES = """
import pytest

from application import send, sent

copies = pytest.mark.parametrize("copy", range({tests}))


@copies
def test_call(copy):
    send(copy)
    assert sent == [(copy, "hello")]
"""

UNUSED = """
def test_nothing():
    pass
"""

MODULES = """
import json, sys

def pytest_unconfigure():
    print("MODULES", json.dumps(sorted(sys.modules)))
"""

YEAR = """
import time
from datetime import timedelta

import pytest
from spinach import Tasks

tasks, days = Tasks(), []
tasks.add(lambda: days.append(1), name="daily", periodicity=timedelta(days=1))


@pytest.fixture(scope="session")
def spinach_tasks():
    return [tasks]


@pytest.mark.parametrize("copy", range(5))
def test_a_year(copy, spinach_worker):
    days.clear()
    began = time.perf_counter()
    spinach_worker.advance(timedelta(days=365))
    print("YEAR", time.perf_counter() - began)
    assert len(days) == 365
"""


class Run(NamedTuple):
    """A run of pytest."""

    #: By the clock.
    seconds: float
    #: Of the processor.
    cpu_seconds: float
    #: What it wrote.
    text: str


class Goals:
    """Prints figures beside their goals, and knows how many were missed."""

    def __init__(self) -> None:
        self.missed = 0

    def compare(self, what: str, ms: float, most_ms: float, more: str = "") -> None:
        """Print one figure."""
        self.say(f"{what}: {ms:.2f} ms{more}, goal under {most_ms:g} ms", ms < most_ms)

    def say(self, text: str, met: bool) -> None:
        """Print whether a goal was met."""
        self.missed += not met
        print(f"{text}: {'met' if met else 'MISSED'}", flush=True)


def pytest(folder: Path, *options: str) -> Run:
    """Run pytest in a folder.

    Raises:
        SystemExit: it failed; shows what it wrote.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTEST_ADDOPTS", "PYTHONDONTWRITEBYTECODE"}
    }
    # What else is installed takes its time, too, and not always the same. And what the runs
    # compile is kept for the next ones, here and not beside the sources.
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    environment["PYTHONPYCACHEPREFIX"] = str(folder.parent / "compiled")
    began, cpu_began = time.perf_counter(), cpu()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    run = Run(time.perf_counter() - began, cpu() - cpu_began, done.stdout)
    if done.returncode:
        end = (done.stdout + done.stderr)[-SHOWN_CHARACTERS:]
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{end}")
    return run


def cpu() -> float:
    """Seconds of the processor that all programs took that ended."""
    if sys.platform == "win32":
        times = os.times()
        return times.children_user + times.children_system
    import resource

    # In microseconds; os.times counts ticks, of 10 ms each.
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def compare(
    more: tuple[Path, list[str]], less: tuple[Path, list[str]], pairs: int
) -> tuple[list[Run], list[Run], Run]:
    """Run pytest for two sides, folder and options, in turns.

    Returns:
        The runs of both, and the medians of their differences.
    """
    for folder, options in (more, less):  # what a first run compiles is no part of it
        pytest(folder, *options)
    runs: tuple[list[Run], list[Run]] = ([], [])
    for number in range(pairs):
        order = ((0, more), (1, less)) if number % 2 else ((1, less), (0, more))
        for index, (folder, options) in order:
            runs[index].append(pytest(folder, *options))
    wall, cpu_time = (
        statistics.median(
            getattr(one, field) - getattr(other, field) for one, other in zip(*runs, strict=True)
        )
        for field in ("seconds", "cpu_seconds")
    )
    return *runs, Run(wall, cpu_time, "")


def passed(text: str) -> int:
    """Number of tests that a run says have passed."""
    found = re.search(r"(\d+) passed", text)
    return int(found[1]) if found else 0


def project(folder: Path, **files: str) -> Path:
    """A project of its own; returns its folder."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def measure_tests(goals: Goals, used: Path, bare: Path, tests: int) -> None:
    """What the fixtures add to a test."""
    ran, ran_bare, added = compare((used, PLUGIN), (bare, []), PAIRS)
    for name, runs in (("with the fixtures", ran), ("without", ran_bare)):
        assert all(passed(run.text) == tests for run in runs), runs[-1].text
        seconds = statistics.median(run.seconds for run in runs)
        print(f"{tests} tests, {name}: {seconds:.2f} s")
    goals.compare(
        "a test's fixtures, and the jobs it runs", added.seconds / tests * 1000, MOST_TEST_MS,
        f" ({added.cpu_seconds / tests * 1000:.2f} ms of the processor)",
    )  # fmt: skip


def measure_collection(goals: Goals, unused: Path) -> None:
    """What the plugin adds to a project that does not use it."""
    options = ["--collect-only"]
    *_, added = compare((unused, [*options, *PLUGIN]), (unused, options), COLLECTED_PAIRS)
    # Of the processor: by the clock the machine's other work is a multiple of it.
    goals.compare(
        "the plugin in `pytest --collect-only` where nobody uses it, of the processor",
        added.cpu_seconds * 1000, MOST_COLLECT_MS, f" ({added.seconds * 1000:.2f} ms by the clock)",
    )  # fmt: skip
    (unused / "conftest.py").write_text(MODULES)
    modules = [
        set(json.loads(pytest(unused, *options, "-s", *plugin).text.partition("MODULES")[2]))
        for plugin in (PLUGIN, [])
    ]
    more = sorted(modules[0] - modules[1])
    heads = {name.partition(".")[0] for name in more}
    goals.say(
        f"it imports {', '.join(more)}; goal none of spinach, redis",
        not heads & {"spinach", "spinach_memory", "spinach_redis", "redis"},
    )


def measure_year(goals: Goals, year: Path) -> None:
    """How long a year of a daily task takes."""
    figures = re.findall(r"YEAR (\S+)", pytest(year, "-s", *PLUGIN).text)
    goals.compare(
        "a year of a daily task", statistics.median(map(float, figures)) * 1000, MOST_YEAR_MS
    )


def main(rounds: int, *, check: bool) -> int:
    """Measure and print; 1 for a goal that is missed, if that is to be checked."""
    tests = WITH_FIXTURES.count("@copies") * COPIES
    goals = Goals()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shared = {"application": APPLICATION, "conftest": CONFTEST}
        with_fixtures = WITH_FIXTURES.format(copies=COPIES)
        used = project(folder / "used", test_application=with_fixtures, **shared)
        without = WITHOUT_FIXTURES.format(tests=tests)
        bare = project(folder / "bare", test_application=without, **shared)
        measure_tests(goals, used, bare, tests)
        measure_collection(goals, project(folder / "unused", test_nothing=UNUSED))
        measure_year(goals, project(folder / "year", test_year=YEAR))
        for number in range(1, rounds + 1):
            text = pytest(used, *PLUGIN, "-p", "xdist", "-p", "randomly", "-n", "2").text
            assert passed(text) == tests, text
            print(f"\rround {number} of {rounds} passed", end="", flush=True)
    if rounds:
        print(f"\n{rounds} rounds under -n 2, in random order: no failure")
    return 1 if check and goals.missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What the fixtures of spinach-testing cost.")
    parser.add_argument("rounds", nargs="?", type=int, default=ROUNDS)
    parser.add_argument("--check", action="store_true", help="a missed goal is an error")
    given = parser.parse_args()
    sys.exit(main(given.rounds, check=given.check))
