"""What the fixtures of spinach-testing cost a suite, and whether it stays green.

Usage: python tools/fixture_cost.py [ROUNDS]

Writes a project with 200 small tests that schedule and drain, and the same tests without
Spinach, which call the functions. Runs both three times one after the other and compares
the medians. Then measures what the plugin adds to `pytest --collect-only` where nobody
uses it. Last it runs the 200 tests ROUNDS times (50) with two processes of pytest-xdist, in
an order that pytest-randomly draws each time; its seed is shown when a run fails.
"""

from __future__ import annotations

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
REPEATS = 3
ROUNDS = 50
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
    spinach_jobs.expect_failure(broken, ValueError)
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


class Run(NamedTuple):
    """A run of pytest."""

    #: By the clock.
    seconds: float
    #: Of the processor.
    cpu_seconds: float
    #: What it wrote.
    text: str


def pytest(folder: Path, *options: str) -> Run:
    """Run pytest in a folder.

    Raises:
        SystemExit: it failed; shows what it wrote.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    began, cpu_began = time.perf_counter(), cpu()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    run = Run(time.perf_counter() - began, cpu() - cpu_began, done.stdout)
    if done.returncode:
        end = (done.stdout + done.stderr)[-SHOWN_CHARACTERS:]
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{end}")
    return run


def cpu() -> float:
    """Seconds of the processor that all programs took that ended."""
    times = os.times()
    return times.children_user + times.children_system


def difference(more: list[Run], less: list[Run], unit: float) -> str:
    """Medians of two kinds of runs, one taken from the other and divided by `unit`, in ms."""
    wall, cpu_time = (
        statistics.median(getattr(run, field) for run in more)
        - statistics.median(getattr(run, field) for run in less)
        for field in ("seconds", "cpu_seconds")
    )
    return f"{wall / unit * 1000:.2f} ms, {cpu_time / unit * 1000:.2f} ms of the processor"


def passed(text: str) -> int:
    """Number of tests that a run says have passed."""
    found = re.search(r"(\d+) passed", text)
    return int(found[1]) if found else 0


def project(folder: Path, tests: str) -> Path:
    """A project of its own; returns its folder."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:randomly -p no:asyncio\n")
    (folder / "application.py").write_text(APPLICATION)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_application.py").write_text(tests)
    return folder


def main(rounds: int) -> None:
    """Measure and print; ends with an error when a test fails."""
    kinds = WITH_FIXTURES.count("@copies")
    tests = kinds * COPIES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        used = project(folder / "with Spinach", WITH_FIXTURES.format(copies=COPIES))
        bare = project(folder / "without", WITHOUT_FIXTURES.format(tests=tests))
        runs: dict[Path, list[Run]] = {used: [], bare: []}
        for _ in range(REPEATS):
            for each, done in runs.items():
                done.append(pytest(each))
                assert passed(done[-1].text) == tests, done[-1].text
        for each, done in runs.items():
            seconds = statistics.median(run.seconds for run in done)
            print(f"{tests} tests, {each.name}: {seconds:.2f} s")
        print(f"the fixtures, and the jobs they run: {difference(runs[used], runs[bare], tests)}")

        unused = folder / "unused"
        unused.mkdir()
        (unused / "test_nothing.py").write_text(UNUSED)
        collect: dict[str, list[Run]] = {"": [], "-p no:spinach": []}
        for _ in range(10 * REPEATS):
            for plugin, done in collect.items():
                options = ["--collect-only", "-p", "no:randomly", "-p", "no:asyncio"]
                done.append(pytest(unused, *options, *plugin.split()))
        added = difference(collect[""], collect["-p no:spinach"], 1)
        print(f"the plugin in `pytest --collect-only` where nobody uses it: {added}")

        for number in range(1, rounds + 1):
            text = pytest(used, "-o", "addopts=-p no:asyncio", "-n", "2").text
            assert passed(text) == tests, text
            print(f"\rround {number} of {rounds} passed", end="", flush=True)
        print(f"\n{rounds} rounds under -n 2, in random order: no failure")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
