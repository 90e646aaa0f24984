"""What jobs and their brokers do may fail a test, but neither skip it nor end the run."""

from __future__ import annotations

import textwrap

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
    import asyncio
    import unittest
    import pytest
    from spinach import Tasks

    tasks = Tasks()

    @tasks.task(name="call")
    def call(number):
        CALLS[number]()

    @tasks.task(name="mail")
    def mail(to):
        pass

    CALLS = []

    @pytest.fixture(scope="session")
    def spinach_tasks():
        return [tasks]
"""


@pytest.fixture
def project(pytester, only_this_plugin):
    """Runs a project whose test file is given as source."""
    pytester.makeconftest(textwrap.dedent(CONFTEST))

    def run(source: str) -> pytest.RunResult:
        pytester.makepyfile("from conftest import *\n" + textwrap.dedent(source))
        return pytester.runpytest_inprocess(
            "-p", "spinach_testing.plugin", "-p", "no:cacheprovider", "-rA"
        )

    return run


def test_jobs_that_cannot_be_listed_do_not_end_the_run(project):
    result = project("""
        from spinach.clock import SystemClock
        from spinach_memory import MemoryBroker

        class Clock(SystemClock):
            broken = False

            def now(self):
                if self.broken:
                    raise OverflowError("date value out of range")
                return super().now()

        @pytest.fixture
        def spinach_broker():
            return MemoryBroker(clock=Clock())

        def test_it(spinach_engine, spinach_broker):
            tasks.schedule(mail, "ada")
            spinach_broker.clock.broken = True
            assert False

        def test_next(spinach_engine):
            pass
    """)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*- Spinach jobs -*",
            "The jobs cannot be listed:",
            "*OverflowError: date value out of range",
        ]
    )


def test_an_exception_that_refuses_a_note_does_not_end_the_run(project):
    result = project("""
        from spinach.exc import UnknownTask

        class Stubborn(UnknownTask):
            def add_note(self, note):
                raise TypeError("no notes")

        def test_it(spinach_engine):
            raise Stubborn("who?")

        def test_next(spinach_engine):
            pass
    """)
    result.assert_outcomes(failed=1, passed=1)


def test_a_clock_turned_too_far_fails_one_test_and_not_the_run(project):
    result = project("""
        from datetime import timedelta

        @pytest.mark.parametrize("turner", ["spinach_clock", "spinach_worker"])
        def test_it(turner, request, spinach_worker):
            tasks.schedule(mail, "ada")
            request.getfixturevalue(turner).advance(timedelta(days=365 * 9000))

        def test_next():
            pass
    """)
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*InvalidArgument: Cannot advance the clock by *: it shows 2030-01-01 * and goes up *",
            "  mail('ada')  QUEUED  attempt 1  due now",
        ]
    )


#: Texts of what tasks do that pytest would take for something else than a failure.
ESCAPES = [
    "pytest.skip('so it goes')",
    "pytest.xfail('so it goes')",
    "pytest.exit('so it goes')",
    "raises(unittest.SkipTest('so it goes'))",
    "raises(KeyboardInterrupt('so it goes'))",
    "raises(SystemExit('so it goes'))",
    "raises(GeneratorExit('so it goes'))",
    "raises(StopIteration('so it goes'))",
    "raises(BaseExceptionGroup('so it goes', [pytest.skip.Exception('a')]))",
]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("escape", ESCAPES)
def test_no_task_skips_its_test_or_ends_the_run(project, escape, number):
    result = project(f"""
        def raises(err):
            raise err

        CALLS[:] = [lambda: {escape}]

        def test_virtual(spinach_worker):
            for _ in range({number}):
                tasks.schedule(call, 0)
            spinach_worker.drain()

        def test_live(spinach_live_worker):
            for _ in range({number}):
                tasks.schedule(call, 0)
            spinach_live_worker.wait_idle()

        def test_next(spinach_worker):
            tasks.schedule(mail, "ada")
            spinach_worker.drain()
    """)
    result.assert_outcomes(failed=1, passed=2, errors=1)
    text = str(result.stdout)
    assert text.count("TaskRaised: A task raised what is no failure to pytest: ") >= 2 * number
    assert text.count("so it goes") >= 4 * number
    assert text.count("raised by job call(0), attempt 1") >= 4 * number


def test_an_exception_that_refuses_to_be_shown_fails_its_test_alone(project):
    result = project("""
        class Meta(type):
            def __getattribute__(cls, name):
                if name in {"__module__", "__qualname__", "__name__"}:
                    raise RuntimeError(name)
                return super().__getattribute__(name)

        class Nameless(Exception, metaclass=Meta):
            pass

        def raises():
            raise Nameless("so it goes")

        CALLS[:] = [raises]

        def test_it(spinach_worker):
            tasks.schedule(call, 0)
            spinach_worker.drain()

        def test_next(spinach_worker):
            tasks.schedule(mail, "ada")
            spinach_worker.drain()
    """)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*TaskRaised: A task raised what cannot be shown*so it goes"])


def test_what_a_crash_leaves_fails_the_test_at_its_end(project):
    result = project("""
        def raises():
            raise ValueError("no ink")

        CALLS[:] = [raises]

        def test_it(spinach_worker):
            spinach_worker.crash(tasks.schedule(call, 0), on_failure="collect")

        def test_next(spinach_worker):
            pass
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_it*",
            "E *ValueError: no ink",
            "E *raised by job call(0), attempt 1",
            "*- Spinach jobs -*",
        ]
    )
