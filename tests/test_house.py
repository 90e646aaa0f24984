"""The pictures of the packages show the code, and the guide names files that exist."""

from __future__ import annotations

import re
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

tool: dict[str, Any] = runpy.run_path(str(ROOT / "tools/draw_house.py"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose core is two folders, with a module above and one below them."""
    for package in ("memory", "redis"):
        source = tmp_path / f"packages/spinach-{package}/src/spinach_{package}"
        source.mkdir(parents=True)
        (source / "__init__.py").write_text('"""A broker."""\n')
    core = tmp_path / "packages/spinach-core/src/spinach"
    for name, text in {
        "__init__": '"""The package."""\nfrom spinach.engine import Engine\n',
        "engine": "def start() -> None:\n    from .worker import pool\n",
        "worker/__init__": '"""What works. And more."""\n',
        "worker/pool": "from spinach.record.wire import encode\nfrom .thread import Thread\n",
        "worker/thread": "from ..const import NAME\n",
        "record/__init__": '"""How a job is\nwritten."""\n',
        "record/wire": "import spinach.const\n",
        "const": "NAME = 'spinach'\n",
    }.items():
        path = core / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def change(checkout: Path, module: str, text: str) -> None:
    path = checkout / "packages/spinach-core/src/spinach" / f"{module}.py"
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize("name", tool["PICTURES"])
def test_picture_shows_the_code(name: str) -> None:
    drawn = tool["drawings"]()[name]
    assert (ROOT / "docs/design" / name).read_text(encoding="utf-8") == drawn, tool["RENEW"]


@pytest.mark.parametrize("distribution", tool["PACKAGES"])
def test_no_modules_or_folders_import_each_other_in_a_circle(distribution: str) -> None:
    assert tool["read"](ROOT, distribution).circles() == []


def test_folders_stand_above_what_they_import(checkout: Path) -> None:
    house = tool["read"](checkout, "spinach-core")
    rows = [[(box.title, box.says, box.entries) for box in row] for row in tool["boxes"](house)]
    assert rows == [
        [("spinach", "", [("__init__", 2), ("engine", 2)])],
        [("worker/", "What works", [("pool", 2), ("thread", 1)])],
        [("record/", "How a job is written.", [("__init__", 2), ("wire", 1)])],
        [("spinach", "", [("const", 1)])],
    ]


def test_picture_has_each_module_and_the_arrows_that_no_others_imply(checkout: Path) -> None:
    house = tool["read"](checkout, "spinach-core")
    svg = ET.fromstring(tool["picture"]([house]))
    texts = {text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"engine", "pool", "thread", "wire", "const"} <= texts
    paths = [
        path for path in svg.iter("{http://www.w3.org/2000/svg}path") if "style" not in path.attrib
    ]
    # From the engine to worker, from there to record, and from there to const.
    assert len(paths) == 3


@pytest.mark.parametrize(
    ("module", "text", "circle"),
    [
        ("const", "if TYPE_CHECKING:\n    from .engine import Engine\n", "const, engine, rec"),
        (
            "worker/thread",
            "def late():\n    import spinach.worker.pool\n",
            "worker.pool, worker.thread",
        ),
        # No two modules, but the folders.
        ("record/__init__", "from spinach.worker import thread\n", "record/, worker/"),
    ],
)
def test_circle_is_named_and_is_an_error(
    checkout: Path,
    module: str,
    text: str,
    circle: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [str(checkout), str(tmp_path / "house.svg")]
    assert tool["main"](command) == 0
    change(checkout, module, text)
    assert tool["main"](command) == 1
    assert f"spinach: a circle of imports: {circle}" in capsys.readouterr().out
    assert circle.partition(",")[0] in (tmp_path / "house.svg").read_text()


def test_small_edit_changes_no_picture(checkout: Path) -> None:
    change(checkout, "worker/pool", "# one more\n" * 400)
    before = tool["drawings"](checkout)
    change(checkout, "worker/pool", "# one more\n" * 10)
    assert tool["drawings"](checkout) == before
    change(checkout, "worker/pool", "# one more\n" * 50)
    assert tool["drawings"](checkout) != before


def test_files_that_the_guide_names_exist() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = guide.partition("### Where would I change …?")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 10
    roots = [ROOT, *ROOT.glob("packages/*/src"), *ROOT.glob("packages/*/tests")]
    for row in rows:
        named = [name for name in re.findall(r"`([\w./-]+)`", row) if "/" in name]
        assert named or "where it is logged" in row
        for name in named:
            assert any((root / name).exists() for root in roots), f"{name} is not there: {row}"
