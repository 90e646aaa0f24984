"""What examples and pages print from several worker threads comes in whole lines.

`print` writes its text and the line break one after the other, so that two threads get in
each other's way where output is not buffered: on a terminal that is unbuffered, in a container
with PYTHONUNBUFFERED. Here the output notes each write, and which thread it came from, so
that no race has to be hit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .test_docs import ON_SERVER, PAGES, program
from .test_examples import ALL, ARGUMENTS, ENDLESS, EXAMPLES, ON_REDIS, PARTS, TESTED

#: Runs a program, and prints at its end each write that was made while worker threads lived:
#: text, whether it was one of them that wrote it, and how many of them there were.
WATCH = """
import json, os, runpy, sys, threading

class Watched:
    def __init__(self, stream):
        self.stream, self.writes = stream, []

    def write(self, text):
        workers = sum("-worker-" in each.name for each in threading.enumerate())
        if workers:
            mine = "-worker-" in threading.current_thread().name
            self.writes.append((text, mine, workers))
        return self.stream.write(text)

    def __getattr__(self, name):
        return getattr(self.stream, name)

path = sys.argv[1]
sys.path.insert(0, os.path.dirname(path))
sys.argv[:] = sys.argv[1:]
sys.stdout = watched = Watched(sys.stdout)
try:
    runpy.run_path(path, run_name="__main__")
except SystemExit as exc:
    assert not exc.code, exc.code
finally:
    sys.__stdout__.write("\\n" + json.dumps(watched.writes))
"""


def broken_lines(path: Path, *arguments: str, cwd: Path) -> list[str]:
    """Writes of a program that another thread may come in between."""
    answer = subprocess.run(
        [sys.executable, "-c", WATCH, str(path), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
    )
    assert answer.returncode == 0, answer.stderr
    writes = json.loads(answer.stdout.splitlines()[-1])
    lines = {True: 0, False: 0}  # by worker threads, and by others
    for text, by_worker, _ in writes:
        lines[by_worker] += text.count("\n")

    def shared(by_worker: bool, workers: int) -> bool:
        """Whether another thread writes lines as well, which may come in between."""
        return lines[not by_worker] > 0 or (by_worker and workers > 1 and lines[True] > 1)

    return [
        text
        for text, by_worker, workers in writes
        if text and not text.endswith("\n") and shared(by_worker, workers)
    ]


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name in ALL - PARTS - ENDLESS - ON_REDIS - TESTED
        if not Path(name).stem.startswith("test_")
        # Programs of the original library, as they were.
        and not name.startswith("original/")
    ),
)
def test_an_example_writes_whole_lines(name: str, tmp_path: Path) -> None:
    assert broken_lines(EXAMPLES / name, *ARGUMENTS.get(name, []), cwd=tmp_path) == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "print(" in program(page) and page not in ON_SERVER]
)
def test_a_page_writes_whole_lines(page: str, tmp_path: Path) -> None:
    path = tmp_path / "page.py"
    path.write_text(program(page), encoding="utf-8")
    assert broken_lines(path, cwd=tmp_path) == []


def test_a_line_that_comes_in_two_parts_is_found(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        "from spinach import Engine, MemoryBroker\n"
        "spin = Engine(MemoryBroker())\n"
        "spin.task(name='say')(print)\n"
        "spin.schedule('say', 'a')\n"
        "spin.schedule('say', 'b')\n"
        "spin.start_workers(2, stop_when_queue_empty=True)\n",
        encoding="utf-8",
    )
    assert sorted(broken_lines(path, cwd=tmp_path)) == ["a", "b"]
