"""The plugin as a user meets it: each test is a project of its own, run by pytester."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

PROJECT = """
    from datetime import timedelta
    import threading
    import pytest
    from spinach import RetryException, Tasks

    tasks = Tasks()
    done = []

    @tasks.task(name="add")
    def add(a, b):
        done.append(a + b)

    @tasks.task(name="chain")
    def chain(left):
        done.append(left)
        if left:
            tasks.schedule(chain, left - 1)

    @tasks.task(name="flaky", max_retries=5)
    def flaky():
        done.append("flaky")
        if done.count("flaky") < 3:
            raise RetryException("not yet")

    @tasks.task(name="broken")
    def broken(reason):
        raise ValueError(reason)

    @tasks.task(name="coffee", periodicity=timedelta(days=1))
    def coffee():
        done.append("coffee")

    @tasks.task(name="elsewhere", queue="other")
    def elsewhere():
        done.append("elsewhere")

    @pytest.fixture(autouse=True)
    def fresh():
        done.clear()

    @pytest.fixture(scope="session")
    def spinach_tasks():
        return [tasks]
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """A project whose tests are given as source; returns the result of its run."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(source: str) -> pytest.RunResult:
        pytester.makeconftest("")
        pytester.makepyfile(pytester_source(source))
        return pytester.runpytest_inprocess("-p", "no:cacheprovider")

    def pytester_source(source: str) -> str:
        import textwrap

        return textwrap.dedent(PROJECT) + textwrap.dedent(source)

    return run


def test_a_drain_runs_what_is_ready_and_what_it_leads_to(project):
    project("""
        def test_it(spinach_engine, spinach_worker):
            tasks.schedule(add, 1, 2)
            tasks.schedule(chain, 2)
            tasks.schedule(elsewhere)
            spinach_worker.drain()
            assert sorted(map(str, done)) == ["0", "1", "2", "3", "elsewhere"]
    """).assert_outcomes(passed=1)


def test_nothing_runs_between_two_calls(project):
    project("""
        def test_it(spinach_engine, spinach_worker):
            before = threading.active_count()
            spinach_worker.drain()
            assert threading.active_count() == before
            tasks.schedule(add, 1, 2)
            assert done == []
    """).assert_outcomes(passed=1)


def test_waiting_retries_do_not_hold_up_a_drain_and_run_when_the_clock_turns(project):
    project("""
        def test_it(spinach_engine, spinach_worker):
            tasks.schedule(flaky)
            spinach_worker.drain()
            assert done == ["flaky"]
            spinach_worker.advance(timedelta(minutes=1))
            assert done == ["flaky"] * 3
    """).assert_outcomes(passed=1)


def test_a_year_of_a_daily_task_passes_in_no_time(project):
    result = project("""
        def test_it(spinach_engine, spinach_worker, spinach_clock):
            start = spinach_clock.now()
            spinach_worker.advance(timedelta(days=365))
            assert done == ["coffee"] * 365
            assert spinach_clock.now() - start == timedelta(days=365)
    """)
    result.assert_outcomes(passed=1)


def test_what_a_task_raises_fails_the_test_with_a_note(project):
    result = project("""
        def test_it(spinach_engine, spinach_worker):
            tasks.schedule(broken, "no coffee")
            spinach_worker.drain()
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *ValueError: no coffee", "E *raised by job broken('no coffee'), attempt 1"]
    )


def test_several_failures_come_as_a_group(project):
    project("""
        def test_it(spinach_engine, spinach_worker):
            tasks.schedule(broken, "a")
            tasks.schedule(broken, "b")
            with pytest.raises(ExceptionGroup) as raised:
                spinach_worker.drain()
            assert sorted(str(e) for e in raised.value.exceptions) == ["a", "b"]
    """).assert_outcomes(passed=1)


def test_failures_can_be_collected(project):
    project("""
        def test_it(spinach_engine, spinach_worker):
            tasks.schedule(broken, "a")
            (err,) = spinach_worker.drain(on_failure="collect")
            assert isinstance(err, ValueError)
            assert spinach_worker.drain() == []
    """).assert_outcomes(passed=1)


def test_a_hang_ends_with_the_job_and_its_stack(project):
    project("""
        from spinach_testing.worker import DrainTimeout

        gate = threading.Event()

        @tasks.task(name="stuck")
        def stuck():
            gate.wait()

        def test_it(spinach_engine, spinach_worker):
            tasks.schedule(stuck)
            try:
                with pytest.raises(DrainTimeout) as raised:
                    spinach_worker.drain(timeout=0.2)
            finally:
                gate.set()
            assert "stuck" in str(raised.value)
            assert "gate.wait()" in str(raised.value)
    """).assert_outcomes(passed=1)


def test_each_test_gets_an_engine_of_its_own(project):
    project("""
        def test_one(spinach_engine, spinach_worker):
            tasks.schedule(add, 1, 2)

        def test_two(spinach_engine, spinach_worker):
            spinach_worker.drain()
            assert done == []
    """).assert_outcomes(passed=2)


@pytest.mark.parametrize("span", ["5", "timedelta(seconds=-1)"])
def test_a_span_that_makes_no_sense_is_refused(project, span):
    project(f"""
        from spinach.exc import InvalidArgument

        def test_it(spinach_engine, spinach_worker):
            with pytest.raises(InvalidArgument, match="timedelta"):
                spinach_worker.advance({span})
    """).assert_outcomes(passed=1)


def test_a_drain_inside_a_task_is_an_error_of_that_task(project):
    project("""
        from spinach.exc import WorkersRunning

        def test_it(spinach_engine, spinach_worker):
            spinach_engine.task(name="inner")(lambda: spinach_worker.drain())
            spinach_engine.schedule("inner")
            with pytest.raises(WorkersRunning):
                spinach_worker.drain()
    """).assert_outcomes(passed=1)


def test_the_plugin_imports_nothing_of_spinach_by_itself():
    code = (
        "import sys, spinach_testing.plugin;"
        "print([m for m in sys.modules if m.split('.')[0] in"
        " ('spinach', 'spinach_memory', 'redis')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
