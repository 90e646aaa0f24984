"""Every Python block of the documentation is executed, page by page.

The blocks of a page run in order in one process, as a reader would type them. A block
after the comment `<!-- not run: reason -->` is left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")]
    if "_build" not in path.parts
)
BLOCK = re.compile(r"^( *)(`{3,}|:{3,})python\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: .+ -->\n+$")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def program(page: str) -> str:
    """The blocks of a page, each on the lines it has there, so that tracebacks fit."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for match in BLOCK.finditer(text):
        if NOT_RUN.search(text, 0, match.start()):
            continue
        first = text.count("\n", 0, match.start(3))
        for number, line in enumerate(match[3].splitlines(), first):
            lines[number] = line.removeprefix(match[1])
    return "\n".join(lines)


@pytest.mark.parametrize("page", [page for page in PAGES if program(page).strip()])
def test_python_blocks_run(page: str, tmp_path: Path) -> None:
    path = tmp_path / "page.py"
    path.write_text(program(page), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        check=True,
        timeout=50,
    )


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "SECURITY.md", "changes/README.md"])
def test_links_inside_the_repository_lead_somewhere(page: str) -> None:
    links = LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def test_files_that_the_readme_runs_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    scripts = set(re.findall(r"\b(?:examples|benchmarks|tools)/[\w./-]+\.py\b", text))
    assert "examples/quickstart.py" in scripts
    assert [script for script in sorted(scripts) if not (ROOT / script).exists()] == []
