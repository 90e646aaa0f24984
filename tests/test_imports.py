"""Import rules beyond those that import-linter checks in the types session."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("distribution", "package"),
    [
        ("spinach-core", "spinach"),
        ("spinach-memory", "spinach_memory"),
        ("spinach-redis", "spinach_redis"),
    ],
)
def test_every_module_and_folder_stands_in_a_layer(distribution: str, package: str) -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    settings = table["tool"]["importlinter"]
    # An import for types counts, too.
    assert settings["exclude_type_checking_imports"] is False
    (layers,) = [c["layers"] for c in settings["contracts"] if c.get("containers") == [package]]
    named = [name for layer in layers for name in re.findall(r"\w+", layer)]
    root = ROOT / "packages" / distribution / "src" / package
    there = [path.stem for path in root.glob("*.py") if path.stem != "__init__"]
    there += [path.parent.name for path in root.glob("*/__init__.py")]
    assert sorted(named) == sorted(there)


@pytest.mark.parametrize("package", ["spinach", "spinach_memory", "spinach_redis"])
def test_import_starts_no_thread_and_opens_no_file_or_socket(package: str) -> None:
    # An audit hook sees what the import does, from the first module on.
    program = f"""
import sys, threading

import concurrent.futures, logging, socket, ssl  # what they do is theirs

done = []

def watch(event, args):
    if event in ("socket.connect", "socket.bind", "_thread.start_new_thread", "subprocess.Popen"):
        done.append(event)
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        done.append(f"{{event}} {{args}}")

sys.dont_write_bytecode = True
sys.addaudithook(watch)
import {package}
assert not done, done
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)


def test_import_of_core_loads_no_broker() -> None:
    program = """
import sys
import spinach
loaded = [name for name in sys.modules if name.startswith("spinach_")]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)


def test_brokers_that_are_not_installed_are_missed_in_words_that_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tool that asks in the environment of each wheel would notice a poor answer."""
    tool = runpy.run_path(str(ROOT / "tools/ask_for_brokers.py"))
    fault, world = tool["fault"], tool["fault"].__globals__
    assert fault("MemoryBroker", "spinach-memory") is None
    monkeypatch.setitem(world, "installed", lambda distribution: False)
    assert "came without spinach-memory" in fault("MemoryBroker", "spinach-memory")
    monkeypatch.setitem(sys.modules, "spinach_memory", None)  # as if it were not there
    assert fault("MemoryBroker", "spinach-memory") is None
    assert "pip install spinach-memory" in capsys.readouterr().out
    assert "does not say how to install it" in fault("MemoryBroker", "spinach-leaves")
    monkeypatch.setitem(world, "installed", lambda distribution: True)
    assert "does not come although" in fault("MemoryBroker", "spinach-memory")
