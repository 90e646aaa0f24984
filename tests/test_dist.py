"""What `nox -s build` refuses."""

from __future__ import annotations

import io
import runpy
import tarfile
import zipfile
from pathlib import Path

import pytest

tool = runpy.run_path(str(Path(__file__).parent.parent / "tools/check_dist.py"))

WHEEL = (
    "spinach/__init__.py",
    "spinach/py.typed",
    "spinach_core-1.0.0.dist-info/METADATA",
    "spinach_core-1.0.0.dist-info/licenses/LICENSE",
)
SDIST = (
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "pyproject.toml",
    "src/spinach/py.typed",
    "tests/test_engine.py",
)


def wheel(folder: Path, *names: str) -> Path:
    path = folder / "spinach_core-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


def sdist(folder: Path, *names: str) -> Path:
    path = folder / "spinach_core-1.0.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"spinach_core-1.0.0/{name}"), io.BytesIO())
    return path


def test_good_wheel_has_no_faults(tmp_path: Path) -> None:
    assert tool["wheel_faults"](wheel(tmp_path, *WHEEL), "spinach") == []


@pytest.mark.parametrize("missing", WHEEL[1:])
def test_wheel_that_lacks_a_file_is_refused(tmp_path: Path, missing: str) -> None:
    path = wheel(tmp_path, *(name for name in WHEEL if name != missing))
    (fault,) = tool["wheel_faults"](path, "spinach")
    assert fault.endswith(f"lacks {missing}")


@pytest.mark.parametrize("strange", ["spinach_redis/broker.py", "conftest.py"])
def test_wheel_with_files_of_others_is_refused(tmp_path: Path, strange: str) -> None:
    (fault,) = tool["wheel_faults"](wheel(tmp_path, *WHEEL, strange), "spinach")
    assert f"holds {strange}, which is neither" in fault


@pytest.mark.parametrize("test", ["spinach/tests/helper.py", "spinach/test_job.py"])
def test_wheel_with_tests_is_refused(tmp_path: Path, test: str) -> None:
    (fault,) = tool["wheel_faults"](wheel(tmp_path, *WHEEL, test), "spinach")
    assert fault.endswith(f"holds {test}, a test")


def test_good_sdist_has_no_faults(tmp_path: Path) -> None:
    assert tool["sdist_faults"](sdist(tmp_path, *SDIST), "spinach") == []


@pytest.mark.parametrize("missing", SDIST)
def test_sdist_that_lacks_a_file_is_refused(tmp_path: Path, missing: str) -> None:
    path = sdist(tmp_path, *(name for name in SDIST if name != missing))
    (fault,) = tool["sdist_faults"](path, "spinach")
    assert "lacks" in fault


def test_folder_without_distributions_is_refused(tmp_path: Path) -> None:
    assert len(tool["check"](tmp_path)) == 8
