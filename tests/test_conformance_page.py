"""The suite's table tells what the suite holds, and each invariant is held by something."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from spinach_testing.conformance import BROKER_INVARIANTS
from spinach_testing.conformance.breakers import BREAKERS
from spinach_testing.conformance.table import catches

ROOT = Path(__file__).parent.parent
RENEW = "run: python docs/conformance_page.py"

tool: dict[str, Any] = runpy.run_path(str(ROOT / "docs/conformance_page.py"))


@pytest.fixture(scope="module")
def page() -> str:
    text: str = tool["PAGE"].read_text(encoding="utf-8")
    return text


def told(page: str) -> dict[str, list[str]]:
    """Behaviour → breakers that it catches, as the page says."""
    rows = re.findall(r"^\| `(\w+Behaviour)` \| .* \| (.*) \|$", page, re.MULTILINE)
    return {behaviour: re.findall(r"`(\w+)`", cell) for behaviour, cell in rows}


def test_page_holds_every_behaviour_every_test_and_every_breaker(page: str) -> None:
    caught = told(page)
    assert {name for names in caught.values() for name in names} == {
        breaker.__name__ for breaker in BREAKERS
    }, RENEW
    assert tool["page"](caught) == page, RENEW


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_behaviours_catch_the_breakers_that_the_page_says(page: str) -> None:
    assert catches(tool["MemoryHarness"]) == told(page), RENEW


def test_each_invariant_is_held_by_the_suite_or_by_tests_of_core() -> None:
    states = (ROOT / "docs/design/states.md").read_text(encoding="utf-8")
    invariants = re.findall(r"^\*\*(I\d+) ", states, re.MULTILINE)
    assert invariants == [f"I{number}" for number in range(1, len(invariants) + 1)]
    of_processes = set(invariants) - set(BROKER_INVARIANTS)
    assert of_processes == {"I16", "I17"}
    files = (ROOT / "packages/spinach-core/tests").rglob("test_*.py")
    cited = {name for path in files for name in re.findall(r"\bI\d+\b", path.read_text("utf-8"))}
    assert of_processes <= cited
