from __future__ import annotations

import dataclasses
from pathlib import Path

from .results import Record, Row, merge, page


def test_rows_of_a_new_run_replace_those_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    one = Row("kill", "Valkey 9", 2, 10, 1, 3.0, "failed", "slow")
    other = Row("kill", "Redis 7", 2, 10, 1, 3.0, "passed")
    again = Row("kill", "Valkey 9", 25, 99, 2, 4.4, "passed")
    merge(path, [one])
    assert merge(path, [other, again]) == [again, other]
    assert "| kill | Valkey 9 | 25 | 99 | 2 | 4 | passed |" in page(merge(path, []))


def test_row_of_a_test_that_failed_early_goes_when_it_is_run_again(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    merge(path, [Row("test_kill", "", 0, 0, 1, 3.0, "failed", test="test_kill")])
    again = Row("kill", "Valkey 9", 25, 99, 2, 4.4, "passed", test="test_kill")
    assert merge(path, [again]) == [again]


def test_row_of_what_could_not_be_tried_says_why_and_goes_when_it_is_tried(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    record = Record(1)
    record.not_run("clock", "no library")
    [row] = [dataclasses.replace(row, test="test_clock") for row in record.rows]
    assert "| clock |  | 0 | 0 | 1 | 0 | NOT RUN: no library |" in page(merge(path, [row]))
    again = Row("clock", "Valkey 9", 5, 99, 2, 4.4, "passed", test="test_clock")
    assert merge(path, [again]) == [again]
