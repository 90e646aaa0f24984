"""Every example is run as a person would run it; each ends by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
#: The README runs the first one, so it is asked for by name.
NAMES = sorted({"quickstart.py", *(path.name for path in EXAMPLES.glob("*.py"))})


@pytest.mark.parametrize("name", NAMES)
def test_example_ends_well_and_says_something(name: str, tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout.strip()
