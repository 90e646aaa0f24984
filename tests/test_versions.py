from __future__ import annotations

import re
import runpy
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECTS = sorted(ROOT.glob("packages/*/pyproject.toml"))
CONSTANTS = "packages/spinach-core/src/spinach/const.py"

bump = runpy.run_path(str(ROOT / "tools/bump.py"))["bump"]


def project(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]


def sibling_pins(path: Path) -> list[str]:
    return [d for d in project(path)["dependencies"] if d.startswith("spinach-")]


def constant(root: Path) -> str:
    found = re.search(r'VERSION: Final = "(.+)"', (root / CONSTANTS).read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


def test_there_are_four_packages() -> None:
    assert [project(path)["name"] for path in PYPROJECTS] == [
        "spinach-core",
        "spinach-memory",
        "spinach-redis",
        "spinach-testing",
    ]


def test_all_packages_and_the_constant_carry_one_version() -> None:
    assert {project(path)["version"] for path in PYPROJECTS} == {constant(ROOT)}


@pytest.mark.parametrize("path", PYPROJECTS, ids=lambda path: path.parent.name)
def test_siblings_are_pinned_to_that_version(path: Path) -> None:
    names = {"spinach-memory": 1, "spinach-redis": 1, "spinach-testing": 2}
    pins = sibling_pins(path)
    assert len(pins) == names.get(path.parent.name, 0)
    assert all(pin.endswith(f"=={constant(ROOT)}") for pin in pins)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files of the repository that hold the version."""
    for path in [*PYPROJECTS, ROOT / CONSTANTS]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True)
        shutil.copy(path, target)
    return tmp_path


def test_bump_sets_every_version_and_every_pin(copy: Path) -> None:
    changed = bump(copy, "12.3.4rc1")
    assert len(changed) == 5
    assert constant(copy) == "12.3.4rc1"
    for path in copy.glob("packages/*/pyproject.toml"):
        assert project(path)["version"] == "12.3.4rc1"
        assert all(pin.endswith("==12.3.4rc1") for pin in sibling_pins(path))


def test_bump_there_and_back_changes_nothing(copy: Path) -> None:
    bump(copy, "12.3.4")
    bump(copy, constant(ROOT))
    for path in [*PYPROJECTS, ROOT / CONSTANTS]:
        assert (copy / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("version", ["", "1", "1.2", "v1.2.3", "1.2.3-rc1", "1.2.3\n"])
def test_bump_refuses_what_is_no_version(copy: Path, version: str) -> None:
    with pytest.raises(ValueError, match=r"not a version\. Write X\.Y\.Z"):
        bump(copy, version)
    assert constant(copy) == constant(ROOT)


def test_bump_writes_nothing_when_one_file_has_no_version(copy: Path) -> None:
    odd = copy / "packages/spinach-redis/pyproject.toml"
    odd.write_text("[project]\n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds its version 0 times"):
        bump(copy, "12.3.4")
    assert constant(copy) == constant(ROOT)
