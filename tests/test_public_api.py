"""A public name changes when somebody means it: the snapshot tells what users import."""

from __future__ import annotations

import difflib
import importlib
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from spinach.brokers.base import Broker

ROOT = Path(__file__).parent.parent
SNAPSHOT = ROOT / "tests/public-api.txt"

tool: dict[str, Any] = runpy.run_path(str(ROOT / "tools/public_api.py"))


def test_public_names_are_what_the_snapshot_says() -> None:
    kept, found = SNAPSHOT.read_text(encoding="utf-8"), tool["page"]()
    difference = difflib.unified_diff(
        kept.splitlines(), found.splitlines(), "tests/public-api.txt", "found", lineterm="", n=2
    )
    assert kept == found, "\n".join(
        [
            "What users import has changed. If that is meant, write a fragment in changes/ and run",
            "python tools/public_api.py > tests/public-api.txt",
            "",
            *difference,
        ]
    )


@pytest.mark.parametrize("module", tool["PUBLIC"])
def test_snapshot_holds_what_the_module_offers(module: str) -> None:
    """The tool reads the sources; what Python makes of them has the same names."""
    loaded = importlib.import_module(module)
    listed = tool["exported"](module)
    assert set(loaded.__all__) <= set(listed)
    assert [name for name in listed if not hasattr(loaded, name)] == []


def test_everything_that_the_reference_documents_is_in_the_snapshot() -> None:
    reference = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    documented = re.findall(
        r"^\.\. auto(?:class|function):: (\S+)\.(\w+)$", reference, re.MULTILINE
    )
    assert documented
    assert [
        f"{module}.{name}"
        for module, name in documented
        if module not in tool["PUBLIC"] or name not in tool["exported"](module)
    ] == []


def test_default_that_is_a_constant_is_told_by_its_value() -> None:
    """Else a change of the constant would change what users get, and not the snapshot."""
    told = re.search(r"^ +def start_workers\(.*$", tool["page"](), re.MULTILINE)
    assert told is not None
    assert "queue: str | Sequence[str] | AllQueues='spinach'" in told[0]


def test_broker_is_told_with_the_methods_of_all_its_roles() -> None:
    told = re.search(r"class Broker\(ABC\)\n(?: {8}.*\n)*", tool["page"]())
    assert told is not None
    assert set(Broker.__abstractmethods__) == set(
        re.findall(r"@abstractmethod\n +def (\w+)", told[0])
    )


def test_type_for_ids_is_told_as_the_text_that_it_is() -> None:
    """Brokers of others make these records from what they read, which is text."""
    [told] = re.findall(r"class Deposit\(.*\)\n(?: {8}.*\n)*", tool["page"]())
    assert "stored_id: str" in told


def test_overloads_are_told_where_the_method_stands() -> None:
    """They are written once, for all classes that have the method."""
    told = re.findall(
        r"@overload\n +def (schedule(?:_at)?)\(self, task: Task\[.* -> (\w+)", tool["page"]()
    )
    assert sorted(told) == sorted(
        (method, answer)
        for method in ("schedule", "schedule_at")
        for answer in ("Job", "Job", "Job", "None", "None")
    )
