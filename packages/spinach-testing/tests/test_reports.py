"""What pytest prints: each test is a project of its own, run by pytester."""

from __future__ import annotations

import textwrap

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
    import threading
    import pytest
    from spinach import Tasks

    tasks = Tasks()
    other = Tasks()
    gate = threading.Event()

    @tasks.task(name="mail")
    def mail(to):
        pass

    @tasks.task(name="broken")
    def broken(reason):
        raise ValueError(reason)

    @tasks.task(name="stuck")
    def stuck():
        gate.wait()

    @other.task(name="stray")
    def stray():
        pass

    @pytest.fixture(scope="session")
    def spinach_tasks():
        return [tasks]
"""


@pytest.fixture
def project(pytester, only_this_plugin):
    """Runs a project whose test file is given as source."""
    pytester.makeconftest(textwrap.dedent(CONFTEST))

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(
            "from conftest import *\nfrom datetime import timedelta\n" + textwrap.dedent(source)
        )
        return pytester.runpytest_inprocess(
            "-p", "spinach_testing.plugin", "-p", "no:cacheprovider", *options
        )

    return run


def test_a_failing_test_shows_its_jobs_and_their_outcomes_a_passing_one_does_not(project):
    result = project("""
        def test_fails(spinach_engine, spinach_worker):
            tasks.schedule(mail, "ada")
            tasks.schedule(broken, "no ink")
            tasks.schedule("mail", to="bob")
            spinach_worker.drain(on_failure="collect")
            tasks.schedule(mail, "eve")
            assert False

        def test_fails_without_a_worker(spinach_engine):
            tasks.schedule(mail, "sam")
            assert False

        def test_passes(spinach_engine, spinach_worker):
            tasks.schedule(mail, "zoe")

        def test_uses_nothing():
            assert False
    """)
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*- Spinach jobs -*",
            "  mail('ada')  SUCCEEDED  attempt 1",
            "  broken('no ink')  FAILED  attempt 1  ValueError: no ink",
            "  mail(to='bob')  SUCCEEDED  attempt 1",
            "  mail('eve')  QUEUED  attempt 1  due now",
            "*- Spinach jobs -*",
            "  mail('sam')  QUEUED  attempt 1  due now",
            "1 job is ready to run. spinach_worker.drain() runs it.",
        ]
    )
    assert str(result.stdout).count("- Spinach jobs -") == 2
    result.stdout.no_fnmatch_line("*zoe*")


def test_a_task_that_raises_fails_the_test_at_the_task(project):
    result = project("""
        def test_it(spinach_worker):
            tasks.schedule(broken, "no ink")
            spinach_worker.drain()
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">       spinach_worker.drain()",
            ">       raise ValueError(reason)",
            "E       ValueError: no ink",
            "E       raised by job broken('no ink'), attempt 1",
            (
                "E       If the test means this to happen, write around the call: "
                "with spinach_jobs.expect_failure(broken, ValueError)"
            ),
            "conftest.py:*: ValueError",
        ]
    )
    # The plugin's own frames help nobody.
    result.stdout.no_fnmatch_line("*spinach_testing*worker.py*")


def test_a_failure_after_its_block_names_the_count_that_was_seen_in_the_whole_test(project):
    result = project("""
        def test_it(spinach_engine, spinach_jobs):
            with spinach_jobs.expect_failure(broken, ValueError):
                tasks.schedule(broken, "no ink")
                spinach_engine.start_workers(1, stop_when_queue_empty=True)
            tasks.schedule(broken, "no paper")
            spinach_engine.start_workers(1, stop_when_queue_empty=True)

        def test_as_it_says(spinach_engine, spinach_jobs):
            with spinach_jobs.expect_failure(broken, ValueError, count=2):
                tasks.schedule(broken, "no ink")
                tasks.schedule(broken, "no paper")
                spinach_engine.start_workers(1, stop_when_queue_empty=True)
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "E * raised by job broken('no paper'), attempt 1",
            "E * with spinach_jobs.expect_failure(broken, ValueError, count=2)",
        ]
    )


def test_a_failed_assertion_shows_no_frame_of_the_plugin(project):
    result = project("""
        def test_it(spinach_jobs):
            spinach_jobs.assert_scheduled("mail")
    """)
    result.stdout.fnmatch_lines(
        [
            '>       spinach_jobs.assert_scheduled("mail")',
            "E       AssertionError: Expected 1 job mail(...), found 0. Jobs:",
            "E         none",
        ]
    )
    result.stdout.no_fnmatch_line("*spinach_testing*jobs.py*")


def test_a_task_that_never_ends_is_named_once_with_its_thread(project):
    result = project("""
        def test_it(spinach_worker):
            tasks.schedule(stuck)
            spinach_worker.drain(timeout=0.3)

        def test_next(spinach_worker):
            gate.set()
            tasks.schedule(mail, "ada")
            spinach_worker.drain()
    """)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E * spinach_testing.errors.DrainTimeout: Jobs were not done after 0.3 s. Running:",
            "E * stuck() *, attempt 1, in test-*-worker-*:",
            "E * gate.wait()",
        ]
    )


@pytest.mark.parametrize(
    "test",
    [
        # Of a hang that the test expected nobody has told yet.
        """
        def test_it(spinach_worker):
            tasks.schedule(stuck)
            with pytest.raises(AssertionError):
                spinach_worker.drain(timeout=0.3)
        """,
        # Nor is it told by another failure, not even if it was one that pytest shows.
        """
        def test_it(spinach_worker):
            tasks.schedule(stuck)
            with pytest.raises(AssertionError):
                spinach_worker.drain(timeout=0.3)
            assert not "something else"
        """,
    ],
)
def test_a_hang_that_failed_no_test_is_told_at_its_end(project, test):
    result = project(
        test
        + """
        def test_next(spinach_worker):
            gate.set()
            tasks.schedule(mail, "ada")
            spinach_worker.drain()
        """
    )
    result.assert_outcomes(passed=1 + ("else" not in test), failed="else" in test, errors=1)
    result.stdout.fnmatch_lines(
        [
            (
                "E * spinach_testing.errors.LeakedThreads: 1 thread of engine test-* outlives "
                "the test. End what jobs wait for before the test ends."
            ),
            "E * test-*-worker-* still runs stuck() *, attempt 1:",
            "E * gate.wait()",
        ]
    )


def test_the_end_of_the_process_does_not_wait_for_a_task_that_never_ends(
    pytester, only_this_plugin
):
    pytester.makeconftest(textwrap.dedent(CONFTEST))
    pytester.makepyfile("""
        from conftest import *

        def test_it(spinach_live_worker):
            tasks.schedule(stuck)
            spinach_live_worker.wait_idle(timeout=0.3)
    """)
    result = pytester.runpytest_subprocess(
        "-p", "spinach_testing.plugin", "-o", "spinach_timeout=0.5", timeout=50
    )
    result.assert_outcomes(failed=1)


def test_other_threads_are_none_of_the_plugins_business(project):
    project("""
        def test_it(spinach_worker):
            thread = threading.Thread(target=gate.wait, args=(20,), daemon=True, name="mine")
            thread.start()
            spinach_worker.drain()

        def test_after():
            gate.set()
    """).assert_outcomes(passed=2)


def test_workers_that_the_test_started_are_stopped_for_it(project):
    project("""
        def test_it(spinach_engine):
            spinach_engine.start_workers(2, block=False)

        def test_after():
            assert [t.name for t in threading.enumerate() if t.name.startswith("test-")] == []
            assert tasks._engines == []
    """).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("spinach_engine.schedule('mial', 1)", "UnknownTask: Unknown task 'mial'. Did you mean*"),
        ("other.schedule(stray)", "TasksNotAttached: This registry (tasks: stray) is attached*"),
    ],
)
def test_the_error_of_an_unknown_task_says_what_to_override(project, call, error):
    result = project(f"""
        def test_it(spinach_engine):
            {call}
    """)
    result.stdout.fnmatch_lines(
        [
            f"E *spinach.exc.{error}",
            (
                "E *The engine of this test knows the tasks that the fixture spinach_tasks "
                "returns. Override it in conftest.py: @pytest.fixture(scope='session') "
                "def spinach_tasks(): "
                "return [[]your_tasks[]]"
            ),
        ]
    )


@pytest.mark.parametrize("takes", ["", "order"])
def test_the_error_of_a_registry_in_a_test_without_an_engine_names_the_fixture(project, takes):
    result = project(f"""
        @pytest.fixture
        def order():
            tasks.schedule(mail, "ada")

        def test_it({takes}):
            tasks.schedule(mail, "ada")
    """)
    result.stdout.fnmatch_lines(
        [
            "E *spinach.exc.TasksNotAttached: This registry *",
            "E *In a test the fixture spinach_engine attaches the tasks *: def test_it(spin*)",
        ]
    )
    result.stdout.no_fnmatch_line("*The engine of this test knows*")


def test_an_unknown_task_of_an_engine_of_ones_own_is_left_alone(project):
    project("""
        from spinach import Engine, MemoryBroker

        def test_it():
            Engine(MemoryBroker()).schedule("mail")
    """).stdout.no_fnmatch_line("*spinach_tasks*")


def test_registries_that_are_none_are_refused(project):
    result = project("""
        import pytest

        @pytest.fixture
        def spinach_tasks():
            return tasks

        def test_it(spinach_engine):
            pass
    """)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [("E *The fixture spinach_tasks returned <*Tasks*>, expected the registries under test. "
         "Return a list: [[]tasks[]].")]
    )  # fmt: skip


def test_registries_that_only_one_test_would_get_are_refused(project):
    result = project("""
        import pytest

        @pytest.fixture(scope="module")
        def spinach_tasks():
            return (each for each in [tasks])

        def test_it(spinach_engine):
            pass

        def test_next(spinach_engine):
            pass
    """)
    result.assert_outcomes(errors=2)
    line = (
        "E *The fixture spinach_tasks returned <generator *>, which can be gone through only once, "
        "but each test needs the registries. Return a list: [[]tasks[]]."
    )
    result.stdout.fnmatch_lines([line, line])


def test_both_workers_in_one_test_are_refused(project):
    result = project("""
        def test_it(spinach_worker, spinach_live_worker):
            pass

        def test_one_by_one(spinach_worker):
            pass

        def test_at_last(spinach_engine, request):
            request.getfixturevalue("spinach_worker")
            request.getfixturevalue("spinach_live_worker")
    """)
    result.assert_outcomes(errors=1, passed=1, failed=1)
    line = (
        "A test cannot have both spinach_worker and spinach_live_worker: the clock of the one "
        "stands until it is turned, the clock of the other runs. Take one of them."
    )
    result.stdout.fnmatch_lines([line, line])


def test_a_failure_that_nobody_acknowledged_fails_the_live_test_at_its_end(project):
    result = project("""
        def test_it(spinach_live_worker):
            tasks.schedule(broken, "no ink")
            spinach_live_worker.wait_idle()

        def test_known(spinach_live_worker, spinach_jobs):
            with spinach_jobs.expect_failure(broken, ValueError):
                tasks.schedule(broken, "no ink")
                spinach_live_worker.wait_idle()
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_it*",
            "E *ValueError: no ink",
            "E *raised by job broken('no ink'), attempt 1",
            "*- Spinach jobs -*",
            "  broken('no ink')  FAILED  attempt 1  ValueError: no ink",
        ]
    )
