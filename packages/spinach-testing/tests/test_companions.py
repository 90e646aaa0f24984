"""Beside other plugins of pytest: each test is a project of its own, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
    import pytest
    from spinach import Tasks

    tasks = Tasks()
    done = []

    @tasks.task(name="add")
    def add(name):
        done.append(name)

    @pytest.fixture(scope="session")
    def spinach_tasks():
        return [tasks]
"""


@pytest.fixture
def project(pytester, only_this_plugin):
    """Runs a project with the plugins it names, and no other ones."""
    pytester.makeconftest(textwrap.dedent(CONFTEST))

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(
            test_it="from conftest import *\nfrom datetime import *\n" + textwrap.dedent(source)
        )
        return pytester.runpytest_subprocess(
            "-p", "spinach_testing.plugin", "-p", "no:cacheprovider", *options, timeout=55
        )

    return run


def test_xdist_and_random_order(project):
    result = project("""
        @pytest.mark.parametrize("number", range(12))
        def test_it(number, spinach_engine, spinach_jobs, spinach_worker, worker_id):
            assert spinach_engine.namespace.startswith(f"test-{worker_id}-")
            tasks.schedule(add, number)
            spinach_worker.drain()
            assert done.pop() == number
            spinach_jobs.one(add)

        def test_that_fails(spinach_worker):
            tasks.schedule(add, "shown across processes")
            spinach_worker.drain()
            assert False
    """, "-p", "xdist", "-p", "randomly", "-n", "2")  # fmt: skip
    result.assert_outcomes(passed=12, failed=1)
    result.stdout.fnmatch_lines(["  add('shown across processes')  SUCCEEDED  attempt 1"])


def test_asyncio(project):
    result = project("""
        import asyncio

        @pytest.mark.asyncio
        async def test_it(spinach_worker):
            tasks.schedule(add, "a")
            await asyncio.to_thread(spinach_worker.drain)
            assert done.pop() == "a"

        @pytest.mark.asyncio
        async def test_failures_arrive(spinach_engine, spinach_worker, spinach_jobs):
            tasks.schedule(add, "a")
            with pytest.raises(AssertionError, match="Expected 1 attempt of task 'add'"):
                with spinach_jobs.expect_failure(add, ValueError):
                    await asyncio.to_thread(spinach_worker.advance, timedelta(hours=1))
    """, "-p", "asyncio", "-o", "asyncio_default_fixture_loop_scope=function")  # fmt: skip
    result.assert_outcomes(passed=2)


def test_anyio(project):
    project("""
        import anyio.to_thread

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_it(spinach_worker):
            tasks.schedule(add, "a")
            await anyio.to_thread.run_sync(spinach_worker.drain)
            assert done.pop() == "a"
    """, "-p", "anyio").assert_outcomes(passed=1)  # fmt: skip


def test_django(project, pytester):
    pytester.makepyfile(
        settings="""
            SECRET_KEY = "x"
            INSTALLED_APPS = ["shop"]
            USE_TZ = True
            DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
            DATABASES = {
                "default": {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": "shop.sqlite",
                    "TEST": {"NAME": "test.sqlite"},
                }
            }
        """
    )
    pytester.mkpydir("shop").joinpath("models.py").write_text(
        textwrap.dedent("""
            from django.db import models

            class Order(models.Model):
                customer = models.CharField(max_length=50)
                answered = models.BooleanField(default=False)
        """)
    )
    result = project("""
        from django.db import connections

        from spinach import signals

        @pytest.fixture(autouse=True)
        def close_connections(spinach_engine):
            # Each worker thread has connections of its own.
            def close(sender, **kwargs):
                connections.close_all()

            with signals.worker_terminated.connected_to(close, spinach_engine.namespace):
                yield

        @pytest.fixture(scope="session")
        def spinach_tasks():
            from shop.models import Order

            shop = Tasks()

            @shop.task(name="answer", max_retries=1)
            def answer(order):
                Order.objects.filter(id=order).update(answered=True)

            return [shop]

        @pytest.mark.django_db(transaction=True)
        def test_it(spinach_engine, spinach_worker):
            from shop.models import Order

            order = Order.objects.create(customer="ada")
            spinach_engine.schedule("answer", order.id)
            spinach_worker.drain()
            order.refresh_from_db()
            assert order.answered

        @pytest.mark.django_db(transaction=True)
        def test_crash(spinach_engine, spinach_worker):
            from shop.models import Order

            order = Order.objects.create(customer="bob")
            spinach_worker.crash(spinach_engine.schedule("answer", order.id))
            order.refresh_from_db()
            assert order.answered
    """, "-p", "django", "--ds=settings")  # fmt: skip
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("module", ["freezegun", "time_machine"])
def test_frozen_time(project, module):
    function = {"freezegun": "freeze_time", "time_machine": "travel"}[module]
    project(f"""
        import {module}

        # What the fixtures import is imported in frozen time, too.
        @pytest.fixture(autouse=True)
        def frozen():
            with {module}.{function}("2020-01-01"):
                yield

        def test_virtual(spinach_clock, spinach_engine, spinach_worker):
            assert spinach_clock.now().year == 2030
            spinach_engine.schedule_at(add, spinach_clock.now() + timedelta(days=1), "a")
            spinach_worker.advance(timedelta(days=2))
            assert done.pop() == "a"

        def test_live(spinach_clock, spinach_engine, spinach_live_worker):
            assert spinach_clock.now().year == 2020
            spinach_engine.schedule_at(add, spinach_clock.now() + timedelta(seconds=0.05), "b")
            event = __import__("threading").Event()
            spinach_live_worker.wait_idle()
            for _ in range(1000):
                if done:
                    break
                event.wait(0.01)
            assert done.pop() == "b"
    """).assert_outcomes(passed=2)


def test_coverage_counts_the_lines_that_tasks_run_and_those_of_import(pytester, project):
    pytester.makepyfile(
        app="""
            from spinach import Tasks

            tasks = Tasks()


            @tasks.task(name="work")
            def work(fast):
                if fast:
                    return 1
                return 2
        """
    )
    pytester.makepyfile(
        test_app="""
            import app
            import pytest

            @pytest.fixture(scope="session")
            def spinach_tasks():
                return [app.tasks]

            def test_it(spinach_engine, spinach_worker):
                app.tasks.schedule("work", True)
                spinach_worker.drain()
        """
    )
    run = subprocess.run(
        [sys.executable, "-m", "coverage", "run", "--source=app,spinach", "-m", "pytest",
         "-p", "spinach_testing.plugin", "test_app.py"],
        cwd=pytester.path, check=False, capture_output=True, text=True, timeout=55,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    report = subprocess.run(
        [sys.executable, "-m", "coverage", "report", "-m", "--include=app.py,*/spinach/const.py"],
        cwd=pytester.path, check=True, capture_output=True, text=True, timeout=55,
    ).stdout  # fmt: skip
    rows = {line.split()[0].rpartition("/")[2]: line.split() for line in report.splitlines()[2:4]}
    # All but the branch that no job took.
    assert rows["app.py"][3:] == ["86%", "10"]
    # The plugin imports nothing of Spinach before measuring begins.
    assert rows["const.py"][3] == "100%"
