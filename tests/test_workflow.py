"""The hosted workflow cannot run here; that it asks for the right sessions can."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent

#: Sessions for people: they change files, or measure for long.
BY_HAND = {"bump", "depth"}


@functools.cache
def nox_list(*options: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "nox", "--list", "--json", *options]
    answer = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=50
    )
    listed: list[dict[str, Any]] = json.loads(answer.stdout)
    return listed


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return table


@pytest.fixture(scope="module")
def checks(jobs: dict[str, Any]) -> list[str]:
    """Sessions of the checks. Some share a machine, because one needs what the other leaves."""
    names = " ".join(jobs["checks"]["strategy"]["matrix"]["session"])
    return names.split()


@pytest.fixture(scope="module")
def noxfile() -> str:
    return (ROOT / "noxfile.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def all_sessions(noxfile: str) -> set[str]:
    return set(re.findall(r"^@nox\.session(?:.*\n)(?:@.*\n)*def (\w+)\(", noxfile, re.MULTILINE))


def test_checks_hold_every_session_but_the_matrix(
    checks: list[str], all_sessions: set[str]
) -> None:
    assert len(checks) == len(set(checks))
    assert set(checks) == all_sessions - BY_HAND - {"matrix"}


def test_checks_hold_every_default_session(checks: list[str]) -> None:
    defaults = {session["name"] for session in nox_list()}
    assert defaults <= set(checks)


def test_files_that_the_noxfile_names_are_there(noxfile: str) -> None:
    # pytest ignores what is not there without a word, and would run what it should leave out.
    named = re.findall(r'"((?:packages|tests|tools|docs)/[\w./-]+)"', noxfile)
    assert named
    written = {"docs/_build/html"}
    assert [name for name in {*named} - written if not (ROOT / name).exists()] == []


def test_matrix_holds_the_pythons_of_the_noxfile(jobs: dict[str, Any]) -> None:
    pythons = {s["python"] for s in nox_list("-t", "matrix") if s["name"] == "matrix"}
    assert set(jobs["matrix"]["strategy"]["matrix"]["python"]) == pythons


def test_matrix_tests_every_package_and_leaves_out_only_redis_on_windows(
    jobs: dict[str, Any],
) -> None:
    include = jobs["matrix"]["strategy"]["matrix"]["include"]
    everywhere, windows = (set(row["sessions"].split(" or ")) for row in include)
    packages = {s["call_spec"]["package"] for s in nox_list("-t", "matrix") if s["call_spec"]}
    assert everywhere == packages
    assert windows == packages - {"redis"}


def test_every_job_has_a_time_limit_and_is_required(jobs: dict[str, Any]) -> None:
    assert all("timeout-minutes" in job for job in jobs.values())
    assert set(jobs["passed"]["needs"]) == set(jobs) - {"passed"}


def test_every_action_is_pinned_to_a_version(jobs: dict[str, Any]) -> None:
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action)] == []
