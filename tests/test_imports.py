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
CORE = ROOT / "packages/spinach-core/src/spinach"


def modules(folder: Path) -> set[str]:
    """Dotted names of the modules in a package, packages themselves left out."""
    return {
        ".".join(path.relative_to(folder.parent).with_suffix("").parts)
        for path in folder.rglob("*.py")
        if path.name != "__init__.py"
    }


def test_every_module_of_core_stands_in_a_layer() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = table["tool"]["importlinter"]["contracts"]
    (inside_core,) = [c for c in contracts if c["name"] == "Inside core, only downwards"]
    named = [re.findall(r"[\w.]+", layer) for layer in inside_core["layers"]]
    assert modules(CORE) == {module for layer in named for module in layer}


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
