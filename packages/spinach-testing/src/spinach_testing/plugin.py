"""The pytest plugin: an engine, its broker, its clock and real workers as fixtures.

Nothing of Spinach is imported before a test asks for a fixture. Test suites that only have the
plugin installed stay as fast as they were.
"""

from __future__ import annotations

import os
import sys
import traceback
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from . import settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from spinach import Engine, Tasks
    from spinach.brokers.base import Broker

    from .clock import VirtualClock
    from .jobs import Jobs
    from .live import LiveWorker
    from .live_clock import LiveClock
    from .recording import Recording
    from .worker import TestWorker

__all__ = [
    "spinach_broker",
    "spinach_clock",
    "spinach_engine",
    "spinach_jobs",
    "spinach_live_worker",
    "spinach_tasks",
    "spinach_worker",
]

#: Of a test's engine, while the test runs.
_RECORDING: pytest.StashKey[Recording] = pytest.StashKey()

#: Which of the two workers a test has asked for.
_WORKER = pytest.StashKey[str]()

_SECTION = "Spinach jobs"


# -- fixtures ------------------------------------------------------------------


@pytest.fixture(scope="session")
def spinach_tasks() -> Iterable[Tasks]:
    """The registries under test; override it to return yours. Empty by default."""
    return ()


@pytest.fixture
def spinach_clock(request: pytest.FixtureRequest) -> VirtualClock | LiveClock:
    """A clock that stands at a fixed date until the test turns it.

    In a test with spinach_live_worker it is the machine's, and cannot be turned.
    """
    if "spinach_live_worker" in request.fixturenames:
        from .live_clock import LiveClock

        return LiveClock()
    from .clock import VirtualClock

    return VirtualClock()


@pytest.fixture
def spinach_broker(spinach_clock: VirtualClock) -> Broker:
    """A new memory broker on the test's clock; override it to test on another one."""
    from spinach_memory import MemoryBroker

    return MemoryBroker(clock=spinach_clock)


@pytest.fixture
def spinach_engine(spinach_broker: Broker, spinach_tasks: Iterable[Tasks]) -> Iterator[Engine]:
    """A new engine with the tasks attached; stopped and detached after the test.

    It has a namespace of its own, so that tests can share a server.
    """
    from .engine import new_engine

    with new_engine(spinach_broker, _namespace(), spinach_tasks) as engine:
        yield engine


@pytest.fixture
def spinach_jobs(request: pytest.FixtureRequest, spinach_engine: Engine) -> Iterator[Jobs]:
    """The jobs that were scheduled on `spinach_engine`, to assert on."""
    from .jobs import Jobs

    # An engine of the user's own, of a wider scope, is not recorded yet.
    with _adopted(request.node, spinach_engine) as recorded:
        yield Jobs(recorded)


@pytest.fixture
def spinach_worker(request: pytest.FixtureRequest, spinach_jobs: Jobs) -> TestWorker:
    """Real workers that run only during its calls: `drain`, `advance` and others."""
    from .worker import TestWorker

    chosen = _choose(request, "spinach_worker")
    return TestWorker(spinach_jobs.recording, workers=chosen.workers, timeout=chosen.timeout)


@pytest.fixture
def spinach_live_worker(request: pytest.FixtureRequest, spinach_jobs: Jobs) -> Iterator[LiveWorker]:
    """Real workers that run during the whole test, on the machine's clock."""
    from .live import live_worker

    chosen, recorded = _choose(request, "spinach_live_worker"), spinach_jobs.recording
    remedy = _live_remedy(request, recorded)
    with live_worker(recorded, chosen.workers, chosen.timeout, remedy=remedy) as worker:
        yield worker


# -- hooks ---------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the settings of the configuration file."""
    settings.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark, and refuse a wrong configuration at once."""
    config.addinivalue_line(
        "markers",
        "spinach(workers=, timeout=): threads and real seconds of this test's workers",
    )
    settings.configured(config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a wrong mark, also where no fixture reads it."""
    settings.check_mark(item)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Record the engine as soon as it is made, also one of the user's own."""
    __tracebackhide__ = True
    result = yield
    # With --setup-plan nothing is set up, and the result is no engine.
    planned = request.config.getoption("setupplan", False)
    if fixturedef.argname == "spinach_engine" and fixturedef.scope == "function" and not planned:
        from spinach.exc import InvalidArgument, WorkersRunning

        record = _adopted(request.node, result)
        try:
            record.__enter__()
        except (InvalidArgument, WorkersRunning) as exc:
            # Without the frames of contextlib, which cannot be hidden otherwise.
            raise exc.with_traceback(None) from None

        def end() -> None:
            __tracebackhide__ = True
            record.__exit__(None, None, None)

        fixturedef.addfinalizer(end)  # before the end of the fixture itself
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a failing test's jobs, and what to do about an unknown task."""
    recorded = item.stash.get(_RECORDING, None)
    # Otherwise it cannot be an error of Spinach.
    if call.excinfo is not None and "spinach.exc" in sys.modules:
        from .hints import add_hint

        # An exception of the user's own class may refuse a note.
        with suppress(Exception):
            add_hint(call.excinfo.value, engine=recorded is not None)
    report = yield
    if recorded is not None:
        if report.failed:
            if call.excinfo is not None:
                recorded.told(call.excinfo.value)
            report.sections.append((_SECTION, _section(recorded)))
        if call.when == "teardown":
            del item.stash[_RECORDING]
    return report


# -- helpers -------------------------------------------------------------------


@contextmanager
def _adopted(item: pytest.Item, engine: Engine) -> Iterator[Recording]:
    """The recording of a test's engine, for the block or, if it has begun earlier, for longer."""
    __tracebackhide__ = True
    from .engine import adopted

    before = item.stash.get(_RECORDING, None)
    if before is not None and before.engine is engine:
        yield before
        return
    with adopted(engine) as recorded:
        item.stash[_RECORDING] = recorded
        yield recorded


def _choose(request: pytest.FixtureRequest, name: str) -> settings.Settings:
    """The settings of a test's worker. Refuses a second kind of worker, since the two need
    different clocks."""
    asked = {request.node.stash.setdefault(_WORKER, name), name}
    asked |= {"spinach_worker", "spinach_live_worker"} & set(request.fixturenames)
    if len(asked) > 1:
        pytest.fail(
            "A test cannot have both spinach_worker and spinach_live_worker: the clock of the "
            "one stands until it is turned, the clock of the other runs. Take one of them.",
            pytrace=False,
        )
    return settings.settings_of(request.node)


def _live_remedy(request: pytest.FixtureRequest, recorded: Recording) -> str:
    """Why the clock of a live test may stand still, and what to do about it."""
    # Fixtures that the test's arguments lead to, without those of getfixturevalue().
    if "spinach_live_worker" not in request.node.fixturenames:
        return (
            "Take spinach_live_worker as an argument of the test, so that spinach_clock knows, "
            "and build the broker with clock=spinach_clock."
        )
    if (
        "spinach_clock" in request.fixturenames
        and request.getfixturevalue("spinach_clock") is recorded.broker.clock
    ):
        return (
            "It is what the overridden fixture spinach_clock returned. Do not override "
            "spinach_clock for this test: the plugin's own is the machine's clock then."
        )
    return (
        "It is one that the overridden fixture spinach_broker or spinach_engine built. Build the "
        "broker with clock=spinach_clock."
    )


def _section(recorded: Recording) -> str:
    """The jobs as text, or the error instead: one that leaves a hook ends the whole run."""
    try:
        return recorded.listing() + recorded.advice()
    except Exception as exc:  # noqa: BLE001 - the broker and its clock may be the user's own
        return "The jobs cannot be listed:\n" + "".join(traceback.format_exception(exc))


def _namespace() -> str:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return f"test-{worker}-{uuid.uuid4().hex[:12]}"
