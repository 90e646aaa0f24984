"""Workers say that the older distribution is installed beside this one, and how to get out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spinach import Engine, MemoryBroker
from spinach.support.installation import older_spinach, warn_of_older_spinach


@pytest.fixture(autouse=True)
def unsaid() -> Iterator[None]:
    warn_of_older_spinach.cache_clear()
    yield
    warn_of_older_spinach.cache_clear()


def work() -> None:
    Engine(MemoryBroker()).start_workers(1, stop_when_queue_empty=True)


def test_start_of_workers_names_the_other_distribution_once_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spinach-0.0.25.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    Engine(MemoryBroker())
    assert caplog.records == []
    work()
    work()
    [told] = [each for each in caplog.records if each.levelname == "WARNING"]
    assert told.name == "spinach.engine"
    assert f"({tmp_path / 'spinach-0.0.25.dist-info'})" in told.getMessage()
    assert told.getMessage().endswith(
        "Run: pip uninstall -y spinach spinach-core && pip install spinach-core"
    )


def test_nothing_is_said_where_it_is_not_installed(caplog: pytest.LogCaptureFixture) -> None:
    work()
    assert [each for each in caplog.records if each.levelname == "WARNING"] == []


@pytest.mark.parametrize(
    ("name", "is_it"),
    [
        ("spinach-0.0.25.dist-info", True),
        ("spinach-0.0.25-py3.11.egg-info", True),
        ("spinach.egg-info", True),
        ("spinach_core-0.1.0.dist-info", False),
        ("spinach_redis-0.1.0.dist-info", False),
        ("spinachy-1.0.dist-info", False),
        ("spinach", False),
        ("spinach.py", False),
    ],
)
def test_it_is_known_by_its_record(tmp_path: Path, name: str, is_it: bool) -> None:
    (tmp_path / name).mkdir()
    found = older_spinach(["/nowhere", str(tmp_path / name), str(tmp_path)])
    assert found == (str(tmp_path / name) if is_it else None)


def test_looking_loads_no_module() -> None:
    program = (
        "import spinach.support.installation, sys\n"
        "before = set(sys.modules)\n"
        "spinach.support.installation.warn_of_older_spinach()\n"
        "assert not set(sys.modules) - before\n"
        "assert 'importlib.metadata' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
