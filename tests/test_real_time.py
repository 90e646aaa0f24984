"""Spinach takes the time from one module, which a test that freezes time does not reach."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [
    path
    for path in sorted((ROOT / "packages").glob("*/src/*/**/*.py"))
    if path.parts[-2:] != ("support", "realtime.py")
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "packages")))
def test_a_module_has_its_time_from_realtime(path: Path) -> None:
    imported = {
        alias.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        node.module
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
    }
    assert "time" not in imported, "Write `from spinach.support.realtime import time`."
