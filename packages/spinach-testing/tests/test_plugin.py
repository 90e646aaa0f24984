"""The fixtures as a user wires them: three layouts, and a project that uses none."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

pytest_plugins = ["pytester"]

#: An application in each of the three layouts; its test file is the same.
LAYOUTS = {
    "registries": {
        "shop": """
            from spinach import Tasks

            tasks = Tasks()
            sent = []

            @tasks.task(name="mail", max_retries=1)
            def mail(to):
                sent.append(to)

            def order(customer):
                tasks.schedule(mail, customer)
        """,
        "conftest": """
            import pytest
            import shop

            @pytest.fixture(scope="session")
            def spinach_tasks():
                return [shop.tasks]

            @pytest.fixture
            def order(spinach_engine):
                return shop.order
        """,
    },
    "factory": {
        "shop": """
            from spinach import Engine, RedisBroker, Tasks

            tasks = Tasks()
            sent = []

            @tasks.task(name="mail", max_retries=1)
            def mail(to):
                sent.append(to)

            class App:
                def __init__(self, broker=None):
                    self.spin = Engine(broker or RedisBroker(), namespace="shop")
                    self.spin.attach_tasks(tasks)

                def order(self, customer):
                    self.spin.schedule(mail, customer)
        """,
        "conftest": """
            import pytest
            import shop

            @pytest.fixture
            def app(spinach_broker):
                app = shop.App(spinach_broker)
                yield app
                app.spin.detach_tasks(shop.tasks)

            @pytest.fixture
            def spinach_engine(app):
                return app.spin

            @pytest.fixture
            def order(app):
                return app.order
        """,
    },
    "module": {
        "shop": """
            from spinach import Engine, MemoryBroker

            spin = Engine(MemoryBroker(), namespace="shop")
            sent = []

            @spin.task(name="mail", max_retries=1)
            def mail(to):
                sent.append(to)

            def order(customer):
                spin.schedule(mail, customer)
        """,
        "conftest": """
            import pytest
            import shop

            @pytest.fixture
            def spinach_engine(spinach_broker):
                with shop.spin.using_broker(spinach_broker):
                    yield shop.spin

            @pytest.fixture
            def order(spinach_engine):
                return shop.order
        """,
    },
}

TESTS = """
    from unittest.mock import call

    import pytest
    import shop

    @pytest.mark.parametrize("customer", ["ada", "bob"])
    def test_an_order_is_answered(order, customer, spinach_jobs, spinach_worker):
        shop.sent.clear()
        order(customer)
        spinach_jobs.assert_scheduled(shop.mail, call(to=customer))
        assert shop.sent == []
        spinach_worker.drain()
        assert shop.sent == [customer]
        assert len(spinach_jobs) == 1

    def test_a_lost_worker_does_no_harm(order, spinach_jobs, spinach_worker):
        shop.sent.clear()
        order("eve")
        spinach_worker.crash(spinach_jobs.one(), "before_start")
        spinach_worker.run_until_finished()
        assert shop.sent == ["eve"]

    def test_live(order, spinach_live_worker):
        shop.sent.clear()
        order("sam")
        spinach_live_worker.wait_idle()
        assert shop.sent == ["sam"]
"""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_tests_fit_each_layout_of_an_application(pytester, only_this_plugin, layout):
    pytester.makepyfile(
        **{name: textwrap.dedent(text) for name, text in LAYOUTS[layout].items()},
        test_shop=textwrap.dedent(TESTS),
    )
    result = pytester.runpytest_inprocess(
        "-p", "spinach_testing.plugin", "-p", "no:cacheprovider", "-W", "error"
    )
    result.assert_outcomes(passed=4)


def test_each_test_gets_an_engine_a_namespace_and_a_store_of_its_own(pytester, only_this_plugin):
    pytester.makepyfile("""
        import re
        from spinach import Tasks
        import pytest

        tasks = Tasks()
        tasks.add(print, name="print")
        seen = set()

        @pytest.fixture(scope="session")
        def spinach_tasks():
            return [tasks]

        @pytest.mark.parametrize("number", range(3))
        def test_it(number, spinach_engine, spinach_jobs, spinach_clock, spinach_worker):
            assert spinach_engine.namespace not in seen
            seen.add(spinach_engine.namespace)
            assert re.fullmatch("test-gw7-[0-9a-f]{12}", spinach_engine.namespace)
            assert spinach_jobs.all() == []
            assert spinach_worker.drain() == []
            assert spinach_clock.monotonic() == 0
            tasks.schedule("print", "left to nobody")
            assert len(tasks._engines) == 1
    """)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_XDIST_WORKER", "gw7")
        result = pytester.runpytest_inprocess("-p", "spinach_testing.plugin")
    result.assert_outcomes(passed=3)


def test_no_fixture_is_automatic_and_all_are_listed(pytester, only_this_plugin):
    result = pytester.runpytest_inprocess("-p", "spinach_testing.plugin", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.spinach(workers=, timeout=): *"])
    result = pytester.runpytest_inprocess("-p", "spinach_testing.plugin", "--fixtures")
    for name in ("tasks", "clock", "broker", "engine", "jobs", "worker", "live_worker"):
        result.stdout.fnmatch_lines([f"spinach_{name}*"])
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_inprocess("-p", "spinach_testing.plugin", "--setup-show")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*spinach_*")


def test_the_fixtures_can_be_planned(pytester, only_this_plugin):
    pytester.makepyfile("def test_it(spinach_engine, spinach_jobs): pass")
    result = pytester.runpytest_inprocess("-p", "spinach_testing.plugin", "--setup-plan")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*SETUP    F spinach_engine*", "*TEARDOWN F spinach_engine*"])


# -- a project that has the plugin and does not use it ---------------------------


@pytest.mark.parametrize("run", [[], ["--collect-only"]], ids=["run", "collect"])
def test_a_project_that_does_not_use_the_plugin_imports_nothing_of_spinach(
    pytester, only_this_plugin, run
):
    pytester.makepyfile("""
        def test_it():
            pass
    """)
    pytester.makeconftest("""
        import json, sys

        def pytest_unconfigure():
            print("MODULES", json.dumps(sorted(sys.modules)))
    """)
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", *run]
    imported = []
    for options in ([], ["-p", "spinach_testing.plugin"]):
        out = subprocess.run(
            [*command, *options], capture_output=True, text=True, check=True, cwd=pytester.path,
            timeout=50,
        ).stdout  # fmt: skip
        (line,) = [each for each in out.splitlines() if each.startswith("MODULES")]
        imported.append(set(json.loads(line.removeprefix("MODULES"))))
    without, with_plugin = imported
    assert not {"spinach", "spinach_memory", "spinach_redis", "redis"} & with_plugin
    # An editable install brings finders of its own, which are loaded either way.
    assert with_plugin - without == {
        "spinach_testing",
        "spinach_testing.plugin",
        "spinach_testing.settings",
        "spinach_testing.timeouts",
    }


def test_names_of_the_package_are_imported_when_they_are_used():
    code = (
        "import sys, spinach_testing\n"
        "assert 'spinach' not in sys.modules\n"
        "for name in spinach_testing.__all__:\n"
        "    assert getattr(spinach_testing, name).__name__ == name\n"
        "try:\n"
        "    spinach_testing.Nothing\n"
        "except AttributeError as exc:\n"
        "    print(exc)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "module 'spinach_testing' has no attribute 'Nothing'\n"
