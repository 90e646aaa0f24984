"""Engines of the user's own, and what a test leaves behind on an engine."""

from __future__ import annotations

import textwrap

import pytest

pytest_plugins = ["pytester"]

#: An engine that outlives the tests, and one that each test makes.
ENGINES = {
    "module": """
        @pytest.fixture
        def spinach_engine(spinach_broker):
            with spin.using_broker(spinach_broker):
                yield spin
    """,
    "factory": """
        @pytest.fixture
        def spinach_engine(spinach_broker):
            engine = Engine(spinach_broker, namespace="shop")
            engine.attach_tasks(tasks)
            yield engine
            engine.detach_tasks(tasks)
    """,
    "plugin": "",
}

CONFTEST = """
    import threading
    import pytest
    from spinach import Engine, JobStatus, MemoryBroker, Tasks

    tasks, other = Tasks(), Tasks()
    gate = threading.Event()
    CALLS = []

    @tasks.task(name="mail", max_retries=1)
    def mail(to):
        pass

    @tasks.task(name="broken")
    def broken(reason):
        raise ValueError(reason)

    @tasks.task(name="call")
    def call(number):
        CALLS[number]()

    @other.task(name="stray")
    def stray():
        pass

    spin = Engine(MemoryBroker(), namespace="shop")
    {attach}

    @pytest.fixture(scope="session")
    def spinach_tasks():
        return [tasks]
"""


@pytest.fixture(params=ENGINES)
def project(request, pytester, only_this_plugin):
    """Runs a project with each kind of engine; its test file is given as source."""
    attach = "spin.attach_tasks(tasks)" if request.param == "module" else ""
    pytester.makeconftest(
        textwrap.dedent(CONFTEST.format(attach=attach)) + textwrap.dedent(ENGINES[request.param])
    )

    def run(source: str) -> pytest.RunResult:
        pytester.makepyfile("from conftest import *\n" + textwrap.dedent(source))
        return pytester.runpytest_inprocess(
            "-p", "spinach_testing.plugin", "-p", "no:cacheprovider"
        )

    return run


def test_jobs_are_seen_that_were_scheduled_before_anybody_asked_for_them(project):
    project("""
        @pytest.fixture
        def ordered(spinach_engine):
            return tasks.schedule(mail, "ada")

        def test_order_of_fixtures(ordered, spinach_jobs):
            spinach_jobs.assert_scheduled(mail)
            with pytest.raises(AssertionError, match="Expected no job mail"):
                spinach_jobs.assert_not_scheduled(mail)

        def test_late(ordered, request):
            request.getfixturevalue("spinach_jobs").one(mail)

        def test_crash(ordered, spinach_worker):
            assert spinach_worker.crash(ordered).status is JobStatus.WAITING
    """).assert_outcomes(passed=3)


def test_a_report_lists_the_jobs_of_a_test_that_asks_for_its_engine_only(project):
    result = project("""
        def test_it(spinach_engine):
            tasks.schedule(mail, "ada")
            assert False
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- Spinach jobs -*", "  mail('ada')  QUEUED  attempt 1  due now"])


def test_workers_that_a_test_leaves_running_are_stopped(project):
    project("""
        def test_it(spinach_engine):
            spinach_engine.start_workers(2, block=False)

        def test_after(spinach_engine):
            prefix = spinach_engine.namespace[:4]
            assert [t.name for t in threading.enumerate() if t.name.startswith(prefix)] == []
            spinach_engine.start_workers(1, block=False)
    """).assert_outcomes(passed=2)


def test_what_fails_on_workers_of_the_test_itself_fails_the_test(project):
    result = project("""
        def test_it(spinach_engine):
            tasks.schedule(broken, "no ink")
            spinach_engine.start_workers(1, stop_when_queue_empty=True)

        def test_both(spinach_engine):
            for reason in "ab":
                tasks.schedule(broken, reason)
            spinach_engine.start_workers(1, stop_when_queue_empty=True)

        def test_expected(spinach_engine, spinach_jobs):
            tasks.schedule(broken, "no ink")
            with spinach_jobs.expect_failure(broken, ValueError):
                spinach_engine.start_workers(1, stop_when_queue_empty=True)
    """)
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_it*",
            "E *ValueError: no ink",
            "E *raised by job broken('no ink'), attempt 1",
            "*- Spinach jobs -*",
            "*ERROR at teardown of test_both*",
            "*ExceptionGroup: 2 attempts raised (2 sub-exceptions)",
        ]
    )


def test_what_fails_after_a_call_has_given_up_fails_the_test(project, monkeypatch):
    monkeypatch.setattr("spinach_testing.engine._PATIENCE_SECONDS", 20)
    result = project("""
        from spinach_testing import DrainTimeout

        def late():
            gate.wait()
            never.wait(0.2)  # until after the test
            raise ValueError("too late")

        CALLS[:] = [late]
        never = threading.Event()

        def test_it(spinach_engine, spinach_worker):
            tasks.schedule(call, 0)
            with pytest.raises(DrainTimeout):
                spinach_worker.drain(timeout=0.2)
            gate.set()

        def test_next(spinach_worker):
            tasks.schedule(mail, "ada")
            spinach_worker.drain()
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_it*", "E *ValueError: too late", "E *raised by job call(0)*"]
    )


def test_what_is_told_by_nobody_comes_with_a_leaked_thread(project, monkeypatch):
    monkeypatch.setattr("spinach_testing.engine._GRACE_SECONDS", 0.1)
    result = project("""
        def hang():
            started.set()
            gate.wait()

        started = threading.Event()
        CALLS[:] = [hang]

        def test_it(spinach_engine):
            tasks.schedule(broken, "no ink")
            tasks.schedule(call, 0)
            spinach_engine.start_workers(1, block=False)
            assert started.wait(20)

        def test_next():
            gate.set()
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "E *LeakedThreads: 1 thread of engine *",
            "E *Meanwhile: ValueError: no ink (raised by job broken('no ink'), attempt 1)",
        ]
    )


def test_a_job_that_hangs_and_then_fails_is_none_of_the_next_test(project):
    result = project("""
        from spinach_testing import DrainTimeout

        def late():
            gate.wait()
            raise ValueError("too late")

        CALLS[:] = [late]
        hung = []

        def test_it(spinach_engine, spinach_worker):
            tasks.schedule(call, 0)
            with pytest.raises(DrainTimeout):
                spinach_worker.drain(timeout=0.2)
            prefix = f"{spinach_engine.namespace}-worker-"
            hung.extend(t for t in threading.enumerate() if t.name.startswith(prefix))
            assert len(hung) == 1

        def test_next(spinach_engine, spinach_jobs, spinach_worker):
            gate.set()
            for thread in hung:
                thread.join(20)
                assert not thread.is_alive()
            assert spinach_worker.drain() == []
            assert spinach_jobs.all() == []
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["E *LeakedThreads: 1 thread of engine *"])


def test_registries_are_attached_after_a_test_as_they_were_before_it(project):
    project("""
        def test_it(spinach_engine):
            spinach_engine.attach_tasks(other)
            spinach_engine.detach_tasks(tasks)
            spinach_engine.schedule(stray)

        def test_after(spinach_engine, spinach_jobs):
            with pytest.raises(RuntimeError, match="attach"):
                other.schedule(stray)
            tasks.schedule(mail, "ada")
            spinach_jobs.one(mail)
    """).assert_outcomes(passed=2)


STUBBED = """
    from spinach.exc import DuplicateTask

    def test_it(spinach_engine):
        tasks.schedule(broken, "no ink")
        spinach_engine.start_workers(1, stop_when_queue_empty=True)
        spinach_engine.detach_tasks(tasks)
        spinach_engine.task(name="mail")(print)
"""


def test_a_task_of_the_plugins_own_engine_can_be_replaced_for_good(pytester, only_this_plugin):
    pytester.makeconftest(textwrap.dedent(CONFTEST.format(attach="")))
    pytester.makepyfile("from conftest import *\n" + textwrap.dedent(STUBBED))
    result = pytester.runpytest_inprocess("-p", "spinach_testing.plugin")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E *ValueError: no ink"])
    result.stdout.no_fnmatch_line("*DuplicateTask*")


def test_a_registry_that_cannot_be_attached_again_is_told_with_all_the_rest(
    pytester, only_this_plugin
):
    pytester.makeconftest(
        textwrap.dedent(CONFTEST.format(attach="spin.attach_tasks(tasks)"))
        + textwrap.dedent(ENGINES["module"])
    )
    pytester.makepyfile("from conftest import *\n" + textwrap.dedent(STUBBED))
    result = pytester.runpytest_inprocess("-p", "spinach_testing.plugin")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "E *DuplicateTask: *mail*",
            "E *The registry with mail, broken, call was detached by the test, and could not be *",
            "E *Meanwhile: ValueError: no ink (raised by job broken('no ink'), attempt 1)",
        ]
    )


def test_a_broker_that_never_answers_is_named_and_not_waited_for(project, monkeypatch):
    monkeypatch.setattr("spinach_testing.engine._GRACE_SECONDS", 0.2)
    monkeypatch.setattr("spinach_testing.engine._STOP_SECONDS", 0.2)
    result = project("""
        class Hanging(MemoryBroker):
            def fetch(self, turns, **options):
                asked.set()
                gate.wait()
                return super().fetch(turns, **options)

        asked = threading.Event()

        @pytest.fixture
        def spinach_broker(spinach_clock):
            return Hanging(clock=spinach_clock)

        def test_it(spinach_engine):
            spinach_engine.start_workers(1, block=False)
            assert asked.wait(20)

        def test_next():
            gate.set()
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["E *LeakedThreads: * of engine *", "E *in fetch"])


def test_a_broker_that_a_test_puts_under_its_engine_is_recorded(project):
    project("""
        def test_it(spinach_engine, spinach_clock, spinach_jobs, spinach_worker):
            broker = MemoryBroker(clock=spinach_clock)
            with spinach_engine.using_broker(broker) as given:
                assert given is broker
                tasks.schedule(mail, "ada")
                tasks.schedule(broken, "no ink")
                with spinach_jobs.expect_failure(broken, ValueError):
                    spinach_worker.drain()
            spinach_jobs.assert_scheduled(mail)
            assert spinach_jobs.one(broken).status is JobStatus.FAILED
            tasks.schedule(mail, "bob")
            spinach_jobs.assert_scheduled(mail, count=2)
            with pytest.raises(TypeError, match="expected a Broker"):
                with spinach_engine.using_broker(5):
                    pass

        def test_after():
            assert "using_broker" not in vars(spin)
    """).assert_outcomes(passed=2)


def test_an_engine_keeps_a_using_broker_of_its_own(pytester, only_this_plugin):
    pytester.makeconftest(textwrap.dedent(CONFTEST.format(attach="spin.attach_tasks(tasks)")))
    pytester.makepyfile("""
        from conftest import *

        plain = spin.using_broker
        USED = []

        def noted(broker):
            USED.append(broker)
            return plain(broker)

        spin.using_broker = noted

        @pytest.fixture
        def spinach_engine():
            return spin

        @pytest.mark.parametrize("number", range(2))
        def test_it(number, spinach_engine, spinach_clock):
            del USED[:]
            with spinach_engine.using_broker(MemoryBroker(clock=spinach_clock)):
                assert len(USED) == 1
            assert spin.using_broker is not noted

        def test_after():
            assert spin.using_broker is noted
    """)
    pytester.runpytest_inprocess("-p", "spinach_testing.plugin").assert_outcomes(passed=3)


def test_an_engine_that_is_built_on_the_plugins_own_is_recorded_once(pytester, only_this_plugin):
    pytester.makeconftest(textwrap.dedent(CONFTEST.format(attach="")))
    pytester.makepyfile("""
        from conftest import *

        @pytest.fixture
        def spinach_engine(spinach_engine):
            tasks.schedule(mail, "welcome")
            return spinach_engine

        def test_it(spinach_engine, spinach_jobs, spinach_worker):
            assert len(spinach_jobs) == 1
            spinach_worker.drain()
            assert spinach_jobs.one().status is JobStatus.SUCCEEDED
    """)
    pytester.runpytest_inprocess("-p", "spinach_testing.plugin").assert_outcomes(passed=1)


def test_an_engine_for_several_tests_is_recorded_for_each_that_asks_for_its_jobs(
    pytester, only_this_plugin
):
    pytester.makeconftest(textwrap.dedent(CONFTEST.format(attach="spin.attach_tasks(tasks)")))
    pytester.makepyfile("""
        from conftest import *

        @pytest.fixture(scope="module")
        def spinach_engine():
            with spin.using_broker(MemoryBroker()):
                yield spin

        @pytest.mark.parametrize("number", range(2))
        def test_it(number, spinach_engine, spinach_jobs, spinach_worker):
            tasks.schedule(mail, number)
            spinach_worker.drain()
            assert spinach_jobs.one().task_args == (number,)
    """)
    pytester.runpytest_inprocess("-p", "spinach_testing.plugin").assert_outcomes(passed=2)


def test_an_engine_that_is_none_is_refused(pytester, only_this_plugin):
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def spinach_engine():
            return "spin"

        def test_it(spinach_engine):
            pass
    """)
    result = pytester.runpytest_inprocess("-p", "spinach_testing.plugin")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["E *The fixture spinach_engine returned 'spin', expected an Engine. Return the engine of*"]
    )
    result.stdout.no_fnmatch_line("*__enter__*")  # no line of the plugin or of contextlib


def test_an_engine_whose_workers_run_already_is_refused(pytester, only_this_plugin):
    pytester.makeconftest(textwrap.dedent(CONFTEST.format(attach="spin.attach_tasks(tasks)")))
    pytester.makepyfile("""
        from conftest import *

        @pytest.fixture
        def spinach_engine(spinach_broker):
            with spin.using_broker(spinach_broker):
                spin.start_workers(1, block=False)
                yield spin
                spin.stop_workers()

        def test_it(spinach_engine):
            pass

        def test_after():
            assert [t.name for t in threading.enumerate() if t.name.startswith("shop-")] == []
    """)
    result = pytester.runpytest_inprocess("-p", "spinach_testing.plugin")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            (
                "E *WorkersRunning: The engine 'shop' that the fixture spinach_engine returned has "
                "workers already, and what those do cannot be recorded. Start workers in the test, "
                "or let spinach_worker or spinach_live_worker do so."
            )
        ]
    )
