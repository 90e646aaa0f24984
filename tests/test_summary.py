"""The last lines of .ci/run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def junit(reports: Path, session: str, **counts: int) -> None:
    numbers = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0} | counts
    attributes = " ".join(f'{name}="{number}"' for name, number in numbers.items())
    text = f"<testsuites><testsuite {attributes}/></testsuites>"
    (reports / f"{session}.xml").write_text(text, encoding="utf-8")


def nox_report(reports: Path, **results: str) -> None:
    sessions = [{"signatures": [name], "result": result} for name, result in results.items()]
    text = json.dumps({"sessions": sessions})
    (reports / "default.json").write_text(text, encoding="utf-8")


def summary(reports: Path) -> tuple[int, list[str]]:
    answer = subprocess.run(
        [sys.executable, str(ROOT / ".ci/summary.py"), str(reports)],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert answer.stderr == ""
    return answer.returncode, answer.stdout.splitlines()


def test_counts_of_sessions_add_up(tmp_path: Path) -> None:
    nox_report(tmp_path, core="success", memory="success", lint="success")
    junit(tmp_path, "core", tests=5)
    junit(tmp_path, "memory", tests=3)
    assert summary(tmp_path) == (0, ["8 passed, 0 failed"])


def test_skipped_tests_are_shown(tmp_path: Path) -> None:
    nox_report(tmp_path, core="success")
    junit(tmp_path, "core", tests=5, skipped=2)
    assert summary(tmp_path) == (0, ["3 passed, 0 failed, 2 skipped"])


def test_errors_and_failures_count_as_failed(tmp_path: Path) -> None:
    nox_report(tmp_path, core="failed")
    junit(tmp_path, "core", tests=5, failures=1, errors=1)
    assert summary(tmp_path) == (1, ["FAILED: core", "3 passed, 2 failed"])


def test_failed_session_without_tests_counts_as_one(tmp_path: Path) -> None:
    nox_report(tmp_path, core="success", lint="failed", types="aborted")
    junit(tmp_path, "core", tests=5)
    assert summary(tmp_path) == (1, ["FAILED: lint", "FAILED: types", "5 passed, 2 failed"])


def test_failed_session_whose_tests_passed_counts_as_one(tmp_path: Path) -> None:
    nox_report(tmp_path, together="failed")
    junit(tmp_path, "together", tests=5)
    assert summary(tmp_path) == (1, ["FAILED: together", "5 passed, 1 failed"])


def test_parts_of_a_session_are_added_up_and_fail_once(tmp_path: Path) -> None:
    nox_report(tmp_path, together="failed")
    junit(tmp_path, "together", tests=5)
    junit(tmp_path, "together+traced", tests=3, failures=1)
    assert summary(tmp_path) == (1, ["FAILED: together", "7 passed, 1 failed"])


def test_session_that_was_skipped_has_failed(tmp_path: Path) -> None:
    nox_report(tmp_path, core="success", matrix="skipped")
    junit(tmp_path, "core", tests=5)
    assert summary(tmp_path) == (1, ["FAILED: matrix", "5 passed, 1 failed"])


def test_no_report_is_a_failure(tmp_path: Path) -> None:
    assert summary(tmp_path) == (1, ["FAILED: nox", "0 passed, 1 failed"])


def test_no_test_is_a_failure(tmp_path: Path) -> None:
    nox_report(tmp_path, lint="success")
    assert summary(tmp_path) == (1, ["0 passed, 0 failed"])


def test_durations_of_each_run_come_before_the_counts(tmp_path: Path) -> None:
    junit(tmp_path, "core", tests=5)
    runs = {
        "default": {"lint": 3.71, "core": 136.83},
        "matrix": {"matrix-3.13(core)": 60.0},
    }
    for run, sessions in runs.items():
        listed = [
            {"signatures": [name], "result": "success", "duration": seconds}
            for name, seconds in sessions.items()
        ]
        (tmp_path / f"{run}.json").write_text(json.dumps({"sessions": listed}), encoding="utf-8")
    assert summary(tmp_path) == (
        0,
        [
            "   136.8 s  core",
            "     3.7 s  lint",
            "   140.5 s  together: default",
            "    60.0 s  matrix-3.13(core)",
            "    60.0 s  together: matrix",
            "5 passed, 0 failed",
        ],
    )
