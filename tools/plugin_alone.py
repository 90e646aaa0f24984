"""Run a small project's tests where nothing is installed but spinach-testing and its needs.

Usage: python -I tools/plugin_alone.py

What the plugin forgot to declare is missing here. It has to be found by its entry point, to
run jobs, and to fail a test whose job fails; a project that does not use it stays as it was.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

#: What `pip install spinach-testing` brings of this repository.
OURS = {"spinach-core", "spinach-memory", "spinach-testing"}

APPLICATION = """
from datetime import timedelta

from spinach import Tasks

tasks = Tasks()
done = []


@tasks.task(name="mail", max_retries=3)
def mail(to):
    done.append(to)


@tasks.task(name="broken")
def broken():
    raise ValueError("no ink")


@tasks.task(name="daily", periodicity=timedelta(days=1))
def daily():
    done.append("daily")
"""

CONFTEST = """
import application
import pytest


@pytest.fixture(scope="session")
def spinach_tasks():
    return [application.tasks]


@pytest.fixture(autouse=True)
def nothing_done():
    application.done.clear()
"""

TESTS = """
from datetime import timedelta
from unittest.mock import call

import pytest
from application import broken, done, mail, tasks
from spinach import JobStatus


def test_jobs_run(spinach_jobs, spinach_worker):
    tasks.schedule(mail, to="ada")
    spinach_jobs.assert_scheduled(mail, call("ada"))
    spinach_worker.drain()
    assert done == ["ada"]


def test_time_passes(spinach_worker):
    spinach_worker.advance(timedelta(days=30))
    assert done == ["daily"] * 30


def test_a_worker_is_lost(spinach_worker):
    assert spinach_worker.crash(tasks.schedule(mail, "ada")).status is JobStatus.WAITING
    spinach_worker.run_until_finished()
    assert done == ["ada", "ada"]


def test_live(spinach_jobs, spinach_live_worker):
    tasks.schedule(mail, "ada")
    spinach_live_worker.wait_idle()
    assert spinach_jobs.one().status is JobStatus.SUCCEEDED


@pytest.mark.spinach(workers=1)
def test_that_fails(spinach_worker):
    tasks.schedule(broken)
    spinach_worker.drain()
"""

#: Of what pytest writes about these tests.
EXPECTED = (
    r"^plugins: .*\bspinach-testing-",
    r"^E +ValueError: no ink$",
    r"^E +raised by job broken\(\), attempt 1$",
    r"^  broken\(\)  FAILED  attempt 1  ValueError: no ink$",
    r"\b1 failed, 4 passed\b",
)


def strangers() -> list[str]:
    """What is installed of this repository beyond what belongs here, or is missing of it."""
    names = {each.metadata["Name"] for each in importlib.metadata.distributions()}
    ours = {name for name in names if name.startswith("spinach-")}
    return sorted(ours ^ OURS)


def pytest(folder: Path) -> str:
    """What pytest writes about the tests of a folder, run as a user runs them."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHON"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    return done.stdout + done.stderr


def main() -> int | str:
    """Run the project; returns what is wrong, or 0."""
    if found := strangers():
        return f"Installed besides {', '.join(sorted(OURS))}, or missing: {', '.join(found)}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        (folder / "application.py").write_text(APPLICATION)
        (folder / "conftest.py").write_text(CONFTEST)
        (folder / "test_application.py").write_text(TESTS)
        text = pytest(folder)
    for pattern in EXPECTED:
        if re.search(pattern, text, re.MULTILINE) is None:
            return f"Expected {pattern} in what pytest wrote:\n{text}"
    print("spinach-testing alone: 4 tests passed, and the one that has to fail failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
