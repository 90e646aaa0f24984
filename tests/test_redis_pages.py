"""The generated pages about Redis say what the code says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from spinach_redis import keys
from spinach_redis import scripts as script

ROOT = Path(__file__).parent.parent
RENEW = "run: python docs/redis_pages.py"

tool: dict[str, Any] = runpy.run_path(str(ROOT / "docs/redis_pages.py"))


@pytest.mark.parametrize("name", tool["PAGES"])
def test_page_is_what_the_code_says(name: str) -> None:
    page = ROOT / "docs/reference" / name
    assert page.read_text(encoding="utf-8") == tool["PAGES"][name](), RENEW


def test_table_of_keys_has_every_key_that_a_script_declares() -> None:
    declared = {name for each in script.SCRIPTS for name in getattr(keys, each.name.upper())}
    described = {name for name, _, _ in tool["table"]()}
    assert declared <= described
    # The others have the name of a member, a session, a call or a job behind a colon.
    others = {name.partition(":")[0] for name in described - declared}
    assert others == {"running", "producer", "taken", "result"}


def test_rows_of_the_tables_have_as_many_cells_as_their_heads() -> None:
    # A bar ends a cell unless a backslash stands before it.
    cells = [
        len(re.findall(r"(?<!\\)\|", line)) - 1
        for line in tool["keys_page"]().splitlines()
        if line.startswith("| ")
    ]
    assert set(cells) == {2, 4}


def test_messages_of_the_page_hold_no_password() -> None:
    assert "secret" not in tool["messages_page"]()
