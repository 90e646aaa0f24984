"""Pages that state how many failed jobs are kept state the numbers of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spinach.const import MAX_FAILED, MAX_FAILED_AGE, MAX_FAILED_BYTES

ROOT = Path(__file__).parent.parent
NUMBER = f"{MAX_FAILED:,}"
AGE = f"{MAX_FAILED_AGE.days} days"
SIZE = f"{MAX_FAILED_BYTES // 2**20} MiB"

#: Each page, and which of the numbers it states.
PAGES = {
    "docs/delivery.md": (NUMBER, AGE, SIZE),
    "docs/guides/redis.md": (AGE,),
    "docs/guides/retries-and-failures.md": (NUMBER, AGE, SIZE),
    "docs/reference/redis-keys.md": (NUMBER, AGE, SIZE),
    "packages/spinach-core/src/spinach/failed.py": (NUMBER, AGE, SIZE),
}

#: What tells a sentence about them. Decisions and benchmarks are about other numbers.
TELLING = re.compile(
    r"[0-9,]+ a queue, [0-9]+ days"
    r"|[0-9,]+ jobs a queue, [0-9]+ days"
    r"|wait for a person for [0-9]+ days"
    r"|[0-9,]+ (?:at most|failed jobs), for [0-9]+ days"
)


def text_of(path: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8").split())


@pytest.mark.parametrize("page", PAGES)
def test_page_states_the_numbers_of_the_code(page: str) -> None:
    text = text_of(ROOT / page)
    sentences = [text[max(0, m.start() - 60) : m.end() + 90] for m in TELLING.finditer(text)]
    assert sentences, "no sentence about failed jobs was found"
    for number in PAGES[page]:
        assert any(number in each for each in sentences), (number, sentences)


def test_no_other_page_states_them() -> None:
    files = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("packages/*/src/**/*.py"), ROOT / "README.md"]
    telling = {path.relative_to(ROOT).as_posix() for path in files if TELLING.search(text_of(path))}
    assert telling == set(PAGES)
