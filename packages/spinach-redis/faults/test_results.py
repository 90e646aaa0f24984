from __future__ import annotations

from pathlib import Path

from .results import Record, Row, merge, page, read

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "faults.md"


def test_page_of_the_documentation_is_read_as_it_is_written() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(read(text)) == text


def test_rows_of_a_new_run_replace_those_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "faults.md"
    one = Row("kill", "Valkey 9", 2, 10, 1, 3.0, "passed", "slow: 3 s")
    other = Row("kill", "Redis 7", 2, 10, 1, 3.0, "passed")
    again = Row("kill", "Valkey 9", 25, 99, 2, 4.4, "passed")
    merge(path, [one])
    assert read(path.read_text()) == [one]
    merge(path, [other, again])
    assert path.read_text() == page([other, again])
    assert "| kill | Valkey 9 | 25 | 99 | 2 | 4 | passed |" in path.read_text()


def test_test_that_failed_leaves_the_page_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "faults.md"
    one = Row("kill", "Valkey 9", 2, 10, 1, 3.0, "passed")
    merge(path, [one])
    merge(path, [Row("kill", "Valkey 9", 2, 10, 1, 3.0, "failed")])
    assert read(path.read_text()) == [one]


def test_row_of_what_could_not_be_tried_says_why_and_goes_when_it_is_tried(tmp_path: Path) -> None:
    path = tmp_path / "faults.md"
    record = Record(1)
    record.not_run("clock", "no library")
    merge(path, record.rows)
    assert "| clock |  | 0 | 0 | 1 | 0 | NOT RUN: no library |" in path.read_text()
    again = Row("clock", "Valkey 9", 5, 99, 2, 4.0, "passed")
    merge(path, [again])
    assert read(path.read_text()) == [again]
