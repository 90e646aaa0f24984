from __future__ import annotations

from pathlib import Path

from .results import Row, merge, page


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
