"""One test file runs unchanged in memory and, with one fixture overridden, on a server."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest_plugins = ["pytester"]

HERE = Path(__file__).parent
REDIS_TESTS = HERE.parent.parent / "spinach-redis" / "tests"

ON_REDIS = """
    import os
    import pytest
    from spinach_redis import RedisBroker

    @pytest.fixture
    def spinach_broker(spinach_clock):
        # A server's time cannot be stopped, so the clock runs along with it.
        spinach_clock.flow()
        broker = RedisBroker.from_url(os.environ["SERVER_URL"], clock=spinach_clock)
        yield broker
        broker.close()
"""


@pytest.fixture
def run(pytester, only_this_plugin):
    pytester.makepyfile(test_shop=(HERE / "shop_tests.py").read_text(encoding="utf-8"))
    return lambda: pytester.runpytest_subprocess(
        "-p", "spinach_testing.plugin", "-p", "no:cacheprovider", "-W", "error", timeout=55
    )


@pytest.fixture
def server_url():
    servers = load_servers()
    try:
        servers.find_binary()
    except servers.NoServer as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    with servers.running_server() as server:
        yield server.unix_url


def load_servers() -> ModuleType:
    """The servers of the Redis broker's tests, which lie in a folder that is not installed."""
    name = "spinach_redis_tests"
    if name not in sys.modules:
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = [str(REDIS_TESTS)]
    return importlib.import_module(f"{name}.servers")


def test_in_memory(run):
    run().assert_outcomes(passed=9)


def test_on_a_server(run, pytester, server_url, monkeypatch):
    monkeypatch.setenv("SERVER_URL", server_url)
    pytester.makeconftest(ON_REDIS)
    run().assert_outcomes(passed=9)
