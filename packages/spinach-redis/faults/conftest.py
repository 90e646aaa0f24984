"""Options and fixtures of the fault suite; `nox -s faults` runs it.

`--full` runs each fault as often as the documentation says, else a part of that. The seed
of the random choices is printed, and can be given with `--seed`.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Fixtures: a server to share, and one to maltreat, which writes every change to its disk.
from ..tests.conftest import binary, own_server, server  # noqa: F401
from .fleet import Fleet
from .results import NOT_RUN, Record, Row, merge, table
from .scene import Scene

#: A hang shows after this time, in seconds; `--full` runs some faults for minutes.
TIMEOUT_SECONDS = 900

#: Of the log of a test that failed.
LOG_CHARACTERS = 20_000

RESULTS = pytest.StashKey["Results"]()
OUTCOME = pytest.StashKey[str]()

#: Name under which the report of a test carries its rows.
ROW = "fault"

#: Name under which the seed of the session goes to processes that run tests of it.
SEED = "faults_seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--full", action="store_true", help="every fault as often as documented")
    group.addoption("--seed", type=int, help="of the random choices; default: a new one")
    group.addoption("--page", type=Path, help="page of the documentation to write the rows into")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = Results(config)
    config.pluginmanager.register(config.stash[RESULTS])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Processes that pytest-xdist runs tests in share the seed of the one that writes."""
    node.workerinput[SEED] = node.config.stash[RESULTS].seed


def pytest_report_header(config: pytest.Config) -> str:
    results = config.stash[RESULTS]
    return f"faults: {'full' if results.full else 'bounded'}, --seed {results.seed}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "call":
        item.stash[OUTCOME] = report.outcome
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    results = config.stash[RESULTS]
    if not results.rows:
        return
    terminalreporter.section(f"faults, --seed {results.seed}")
    terminalreporter.write(table(results.rows))
    path = config.getoption("--page", default=None)
    if path is not None:
        merge(path, results.rows)


class Results:
    """What the session was asked for, and what it found."""

    def __init__(self, config: pytest.Config) -> None:
        self.full: bool = config.getoption("--full", default=False)
        seed = config.getoption("--seed", default=None)
        if seed is None:
            seed = getattr(config, "workerinput", {}).get(SEED)
        self.seed: int = random.SystemRandom().getrandbits(31) if seed is None else seed
        self.rows: list[Row] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the rows of a test, which may have run in another process."""
        if report.when == "teardown":
            self.rows += [Row(**value) for name, value in report.user_properties if name == ROW]


@pytest.fixture
def record(request: pytest.FixtureRequest, seed: int) -> Iterator[Record]:
    """Takes down the rows of a test. One that fails before it has any gets its own."""
    record = Record(seed)
    yield record
    outcome = request.node.stash.get(OUTCOME, "failed")
    if outcome == "skipped":
        rows = [row for row in record.rows if row.outcome == NOT_RUN]
    else:
        if not record.rows:
            record(request.node.name, runs=0)
        rows = [dataclasses.replace(row, outcome=outcome) for row in record.rows]
    request.node.user_properties += [(ROW, dataclasses.asdict(row)) for row in rows]


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the session runs everything."""
    return request.config.stash[RESULTS].full


@pytest.fixture
def rounds(full: bool) -> Callable[..., int]:
    """How often to bring a fault about: `rounds(full=25, bounded=2)`.

    A bounded number of 0 skips the test unless all is run.
    """

    def rounds(*, full: int, bounded: int) -> int:
        number = full if everything else bounded
        if number == 0:
            pytest.skip("takes minutes: runs with --full")
        return number

    everything = full
    return rounds


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of all random choices of the session; printed at its head."""
    return request.config.stash[RESULTS].seed


@pytest.fixture
def rng(request: pytest.FixtureRequest, seed: int) -> random.Random:
    """Random choices of one test, which do not depend on the tests before it."""
    return random.Random(f"{seed} {request.node.name}")


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """Worker processes of the test, which end with it; of one that failed their log is shown."""
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.close()
    if request.node.stash.get(OUTCOME, "failed") == "failed":
        print(fleet.log()[-LOG_CHARACTERS:])


@pytest.fixture
def new_scene(fleet: Fleet) -> Iterator[Callable[..., Scene]]:
    """Makes namespaces with a producer; takes what `Scene` takes after the fleet."""
    scenes: list[Scene] = []

    def make(*args: Any, **kwargs: Any) -> Scene:
        scene = Scene(fleet, *args, **kwargs)
        scenes.append(scene)
        return scene

    yield make
    for scene in scenes:
        scene.close()
