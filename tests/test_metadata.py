from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))


def load(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def each_package(test: Any) -> Any:
    return pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)(test)


@each_package
def test_licence_is_a_copy_of_the_repository_s(package: Path) -> None:
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@each_package
def test_licence_is_declared_and_shipped(package: Path) -> None:
    project = load(package)["project"]
    assert project["license"] == "BSD-2-Clause"
    assert project["license-files"] == ["LICENSE"]


@each_package
def test_classifiers_name_the_pythons_of_the_matrix(package: Path) -> None:
    pythons = re.search(r"^PYTHONS = (\[.+\])$", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    assert pythons is not None
    tested = {version.rstrip("t") for version in re.findall(r'"([\d.]+t?)"', pythons[1])}
    classifiers = load(package)["project"]["classifiers"]
    prefix = "Programming Language :: Python :: 3."
    assert {c.rsplit(" ", 1)[1] for c in classifiers if c.startswith(prefix)} == tested


@each_package
def test_oldest_python_is_the_same_everywhere(package: Path) -> None:
    root = load(ROOT)["tool"]
    oldest = load(package)["project"]["requires-python"]
    assert oldest == f">={root['mypy']['python_version']}"
    assert root["pyright"]["pythonVersion"] == root["mypy"]["python_version"]
    assert root["ruff"]["target-version"] == "py" + root["mypy"]["python_version"].replace(".", "")


@each_package
def test_package_is_typed(package: Path) -> None:
    assert len(list(package.glob("src/*/py.typed"))) == 1
    assert "Typing :: Typed" in load(package)["project"]["classifiers"]


@each_package
def test_every_dependency_has_its_reason_beside_it(package: Path) -> None:
    text = (package / "pyproject.toml").read_text(encoding="utf-8")
    block = text.split("\ndependencies = [\n")[1].split("\n]")[0].splitlines()
    entries = [number for number, line in enumerate(block) if not line.strip().startswith("#")]
    assert entries
    for number in entries:
        assert number > 0, block[number]
        assert block[number - 1].strip().startswith("#"), block[number]


def test_pre_commit_runs_the_ruff_of_the_lint_session() -> None:
    pinned = {d.split("==")[0]: d.split("==")[1] for d in load(ROOT)["dependency-groups"]["lint"]}
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert f"rev: v{pinned['ruff']}\n" in hooks


def test_changelog_fragments_are_named_as_the_folder_s_readme_says() -> None:
    kinds = {kind["directory"] for kind in load(ROOT)["tool"]["towncrier"]["type"]}
    taught = (ROOT / "changes/README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", taught, re.MULTILINE)) == kinds
    name = re.compile(rf"\+[a-z0-9-]+\.({'|'.join(sorted(kinds))})\.md")
    fragments = [path.name for path in (ROOT / "changes").iterdir() if path.name != "README.md"]
    assert [fragment for fragment in fragments if not name.fullmatch(fragment)] == []
