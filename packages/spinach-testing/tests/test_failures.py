"""Attempts that raise: how a test hears of them, and how it says that it knows."""

from __future__ import annotations

import asyncio
import traceback
import unittest
from datetime import timedelta

import pytest

from spinach import AbortException, JobStatus, RetryException, Tasks
from spinach.exc import InvalidArgument, UnknownTask
from spinach_testing import TaskRaised
from spinach_testing.failures import Failures

tasks = Tasks()


class Mute(Exception):
    def add_note(self, note):
        raise TypeError("no notes")

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


kinds = {
    "Mute": Mute,
    "ValueError": ValueError,
    "KeyError": KeyError,
    "Abort": AbortException,
    "Fail": pytest.fail.Exception,
    "Skip": pytest.skip.Exception,
    "SkipTest": unittest.SkipTest,
    "ExpectedToFail": pytest.xfail.Exception,
    "EndOfRun": pytest.exit.Exception,
    "Interrupt": KeyboardInterrupt,
    "Exit": SystemExit,
    "Cancelled": asyncio.CancelledError,
    "Stop": StopIteration,
}


@tasks.task(name="broken")
def broken(reason, *, kind="ValueError"):
    raise kinds[kind](reason)


@tasks.task(name="flaky", max_retries=2)
def flaky():
    raise ConnectionError("no answer")


@tasks.task(name="patient", max_retries=2)
def patient():
    raise RetryException("not yet")


SAME = ValueError("again")
SAME.add_note("its own")


@tasks.task(name="always_the_same", max_retries=2)
def always_the_same():
    raise SAME


class NoCopy(Exception):
    def __reduce_ex__(self, protocol):
        raise TypeError("not to be copied")


class Declined(Exception):
    def __init__(self, code):
        super().__init__(f"declined: {code}")


class Numbered(Exception):
    def __str__(self):
        return f"no. {id(self)}"


NO_COPY = NoCopy()
DECLINED = Declined(51)
NUMBERED = Numbered()


@tasks.task(name="no_copy")
def no_copy(name):
    raise NO_COPY


@tasks.task(name="declined")
def declined():
    raise DECLINED


@tasks.task(name="numbered")
def numbered():
    raise NUMBERED


#: How the note begins that says what to write if a failure is meant to happen.
REMEDY = "If the test means this to happen, write around the call: "

#: What a test says about itself, which no test expects.
VERDICTS = {"Skip", "EndOfRun", "ExpectedToFail"}


@pytest.fixture(scope="module")
def spinach_tasks():
    return [tasks]


def test_the_original_exception_comes_with_its_traceback_and_a_note(spinach_worker):
    tasks.schedule(broken, "no ink", kind="KeyError")
    with pytest.raises(KeyError) as raised:
        spinach_worker.drain()
    frames = traceback.extract_tb(raised.value.__traceback__)
    assert (frames[0].name, frames[-1].name) == (
        "test_the_original_exception_comes_with_its_traceback_and_a_note",
        "broken",
    )
    assert raised.value.__notes__ == [
        "raised by job broken('no ink', kind='KeyError'), attempt 1",
        f"{REMEDY}with spinach_jobs.expect_failure(broken, KeyError)",
    ]


def test_every_attempt_that_raised_is_told(spinach_worker):
    tasks.schedule(flaky)
    with pytest.raises(ExceptionGroup, match="3 attempts raised") as raised:
        spinach_worker.run_until_finished()
    assert [each.__notes__ for each in raised.value.exceptions] == [
        [f"raised by job flaky(), attempt {attempt}"] for attempt in (1, 2, 3)
    ]


def test_the_remedy_counts_what_an_open_block_has_taken_and_names_each_kind(
    spinach_worker, spinach_jobs
):
    tasks.schedule(broken, "no ink")
    tasks.schedule(flaky)
    with (
        pytest.raises(ExceptionGroup) as raised,
        spinach_jobs.expect_failure(flaky, ConnectionError),
    ):
        spinach_worker.run_until_finished()
    assert sorted(raised.value.__notes__[0].removeprefix(REMEDY).split(" and ")) == [
        "with spinach_jobs.expect_failure(broken, ValueError)",
        "with spinach_jobs.expect_failure(flaky, ConnectionError, count=3)",
    ]
    # What the note says to write passes.
    tasks.schedule(flaky)
    with spinach_jobs.expect_failure("flaky", ConnectionError, count=3):
        spinach_worker.run_until_finished()


def test_the_remedy_does_not_count_what_a_block_took_that_is_over(spinach_worker, spinach_jobs):
    with spinach_jobs.expect_failure(broken, ValueError):
        tasks.schedule(broken, "no ink")
        spinach_worker.drain()
    tasks.schedule(broken, "no paper")
    with pytest.raises(ValueError, match="no paper") as raised:
        spinach_worker.drain()
    assert raised.value.__notes__[1:] == [
        f"{REMEDY}with spinach_jobs.expect_failure(broken, ValueError)"
    ]


def test_a_request_for_a_retry_is_no_failure_but_one_that_comes_too_late_is(
    spinach_worker, spinach_jobs
):
    tasks.schedule(patient)
    spinach_worker.drain()
    assert spinach_jobs.one().status is JobStatus.WAITING
    with pytest.raises(RetryException, match="not yet") as raised:
        spinach_worker.run_until_finished()
    assert raised.value.__notes__ == [
        "raised by job patient(), attempt 3",
        f"{REMEDY}with spinach_jobs.expect_failure(patient, RetryException)",
    ]
    assert spinach_jobs.one().status is JobStatus.FAILED


def test_a_request_for_a_retry_that_comes_too_late_can_be_expected(spinach_worker, spinach_jobs):
    tasks.schedule(patient)
    with spinach_jobs.expect_failure(patient, RetryException) as failed:
        spinach_worker.run_until_finished()
    assert failed.value.__notes__ == ["raised by job patient(), attempt 3"]


def test_a_request_for_a_retry_that_was_granted_cannot_be_expected(spinach_worker, spinach_jobs):
    tasks.schedule(patient)
    with (
        pytest.raises(AssertionError) as raised,
        spinach_jobs.expect_failure(patient, RetryException),
    ):
        spinach_worker.drain()
    assert str(raised.value).startswith(
        "Expected 1 attempt of task 'patient' to raise RetryException, found 0. A RetryException "
        "that leads to another attempt is no failure; only the last attempt can fail with one. "
        "Jobs:\n  patient()  WAITING  attempt 2  due "
    )


def test_a_crashed_attempt_that_asked_for_a_retry_did_not_fail_unless_it_was_the_last(
    spinach_worker,
):
    job = tasks.schedule(patient)
    for _ in range(2):
        spinach_worker.crash(job)
        spinach_worker._recording.broker.clock.advance(timedelta(hours=1))
    with pytest.raises(RetryException):
        spinach_worker.crash(job)


def test_a_failure_is_told_once(spinach_worker):
    tasks.schedule(broken, "no ink")
    (err,) = spinach_worker.drain(on_failure="collect")
    assert isinstance(err, ValueError)
    assert spinach_worker.drain() == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [("Interrupt", "KeyboardInterrupt"), ("Exit", "SystemExit"), ("Skip", "Skipped"),
     ("SkipTest", "unittest.case.SkipTest"), ("EndOfRun", "_pytest.outcomes.Exit"),
     ("ExpectedToFail", "_pytest.outcomes.XFailed"), ("Stop", "StopIteration"),
     ("Cancelled", "asyncio.exceptions.CancelledError")],
)  # fmt: skip
def test_what_is_no_failure_to_pytest_becomes_one(spinach_worker, kind, name):
    tasks.schedule(broken, "so it goes", kind=kind)
    with pytest.raises(TaskRaised) as raised:
        spinach_worker.drain()
    assert str(raised.value) == (f"A task raised what is no failure to pytest: {name}: so it goes")
    assert type(raised.value.__cause__) is kinds[kind]
    note = f"raised by job broken('so it goes', kind={kind!r}), attempt 1"
    assert raised.value.__cause__.__notes__ == [note]
    remedy = f"{REMEDY}with spinach_jobs.expect_failure(broken, {kinds[kind].__name__})"
    assert raised.value.__notes__ == ([note] if kind in VERDICTS else [note, remedy])

    tasks.schedule(broken, "so it goes", kind=kind)
    (err,) = spinach_worker.drain(on_failure="collect")
    assert type(err) is kinds[kind]


def test_several_that_are_no_failures_to_pytest_become_a_group_of_failures(spinach_worker):
    for kind in ("Skip", "ExpectedToFail", "Interrupt", "Fail", "KeyError"):
        tasks.schedule(broken, "so it goes", kind=kind)
    with pytest.raises(ExceptionGroup, match="5 attempts raised") as raised:
        spinach_worker.drain(workers=1)
    assert [type(each) for each in raised.value.exceptions] == [TaskRaised] * 4 + [KeyError]


@pytest.mark.parametrize(
    ("kind", "error"), [("Abort", AbortException), ("Fail", pytest.fail.Exception)]
)
def test_a_task_that_gives_up_fails_the_test(spinach_worker, kind, error):
    tasks.schedule(broken, "so it goes", kind=kind)
    with pytest.raises(error, match="so it goes"):
        spinach_worker.drain()


def test_exceptions_that_take_no_note_and_have_no_text_arrive(spinach_worker, spinach_jobs):
    tasks.schedule(broken, "so it goes", kind="Mute")
    with pytest.raises(Mute):
        spinach_worker.drain()
    tasks.schedule(broken, "so it goes", kind="Mute")
    with (
        pytest.raises(Mute),
        spinach_jobs.expect_failure(broken, Mute, match="text"),
    ):
        spinach_worker.drain()
    job = tasks.schedule(broken, "so it goes", kind="Mute")
    with spinach_jobs.expect_failure(broken, Mute):
        spinach_worker.crash(job)


@pytest.mark.parametrize("on_failure", ["ignore", [], None])
def test_an_argument_on_failure_that_makes_no_sense_is_refused(spinach_worker, on_failure):
    with pytest.raises(InvalidArgument, match='expected "raise" or "collect"'):
        spinach_worker.drain(on_failure=on_failure)


# -- expect_failure ------------------------------------------------------------


def test_an_expected_failure_does_not_fail_the_test(spinach_worker, spinach_jobs):
    job = tasks.schedule(broken, "no ink")
    with spinach_jobs.expect_failure(broken, ValueError, match="ink") as failed:
        assert spinach_worker.drain() == []
    assert str(failed.value) == "no ink"
    assert failed.job.id == job.id
    assert failed.values == [failed.value]


@pytest.mark.parametrize(
    ("exc_type", "match"), [(KeyError, None), (ValueError, "paper"), ((KeyError, OSError), None)]
)
def test_another_failure_than_the_expected_one_fails_the_test(
    spinach_worker, spinach_jobs, exc_type, match
):
    tasks.schedule(broken, "no ink")
    with (
        pytest.raises(ValueError, match="no ink"),
        spinach_jobs.expect_failure(broken, exc_type, match),
    ):
        spinach_worker.drain()


def test_one_more_failure_than_expected_fails_the_test(spinach_worker, spinach_jobs):
    tasks.schedule(broken, "a")
    tasks.schedule(broken, "b")
    with (
        pytest.raises(ValueError, match=r"^[ab]\b"),
        spinach_jobs.expect_failure(broken, ValueError),
    ):
        spinach_worker.drain()


def test_as_many_attempts_as_expected_may_raise(spinach_worker, spinach_jobs):
    tasks.schedule(flaky)
    with spinach_jobs.expect_failure("flaky", ConnectionError, count=3) as failed:
        spinach_worker.run_until_finished()
    assert len(failed.values) == 3


def test_a_failure_that_does_not_come_fails_the_test(spinach_worker, spinach_jobs):
    tasks.schedule(flaky)
    with (
        pytest.raises(AssertionError) as raised,
        spinach_jobs.expect_failure("flaky", (ConnectionError, OSError), "answer", count=2),
    ):
        spinach_worker.drain()
    text = str(raised.value)
    assert text.startswith(
        "Expected 2 attempts of task 'flaky' to raise ConnectionError or OSError matching "
        "'answer', found 1. Jobs:\n  flaky()  WAITING  attempt 2  due "
    )


def test_the_innermost_block_that_fits_is_the_first_to_acknowledge(spinach_worker, spinach_jobs):
    with spinach_jobs.expect_failure(broken, ValueError, count=2) as outer:
        tasks.schedule(broken, "before")
        spinach_worker.drain()
        with spinach_jobs.expect_failure(broken, ValueError) as inner:
            tasks.schedule(broken, "inside")
            spinach_worker.drain()
        tasks.schedule(broken, "after")
        spinach_worker.drain()
    assert [str(err) for err in inner.values] == ["inside"]
    assert [str(err) for err in outer.values] == ["before", "after"]


def test_what_came_before_a_block_is_acknowledged_by_the_one_around_it(spinach_jobs):
    failures = spinach_jobs.recording.failures
    job = tasks.schedule(broken, "no ink")
    with spinach_jobs.expect_failure(broken, ValueError) as outer:
        failures.raised(job, ValueError("before"), final=True)
        with spinach_jobs.expect_failure(broken, ValueError) as inner:
            failures.raised(job, ValueError("inside"), final=True)
    assert (str(outer.value), str(inner.value)) == ("before", "inside")


@pytest.mark.parametrize("on_failure", ["raise", "collect"])
def test_an_exception_that_is_raised_again_carries_the_note_of_its_own_attempt(
    spinach_worker, on_failure
):
    def told():
        if on_failure == "collect":
            return spinach_worker.run_until_finished(on_failure="collect")
        with pytest.raises(ExceptionGroup) as raised:
            spinach_worker.run_until_finished()
        return raised.value.exceptions

    tasks.schedule(always_the_same)
    first = told()
    assert [each.__notes__ for each in first] == [
        ["its own", f"raised by job always_the_same(), attempt {attempt}"] for attempt in (1, 2, 3)
    ]
    assert {str(each) for each in first} == {"again"}
    assert all(traceback.extract_tb(each.__traceback__)[-1].name == "always_the_same"
               for each in first)  # fmt: skip


def test_an_exception_does_not_bring_along_the_note_of_another_test(spinach_engine):
    for _ in range(2):
        other = Failures()
        other.raised(tasks.schedule(always_the_same), SAME, final=True)
    assert SAME.__notes__ == ["its own", "raised by job always_the_same(), attempt 1"]


def test_one_that_cannot_be_copied_carries_all_its_notes(spinach_worker):
    for name in "ab":
        tasks.schedule(no_copy, name)
    errors = spinach_worker.drain(on_failure="collect", workers=1)
    notes = ["raised by job no_copy('a'), attempt 1", "raised by job no_copy('b'), attempt 1"]
    assert [each.__notes__ for each in errors] == [notes, notes]


def test_a_copy_has_the_text_of_the_first_one(spinach_worker, spinach_jobs):
    for _ in range(2):
        tasks.schedule(declined)
    with spinach_jobs.expect_failure(declined, Declined, match="^declined: 51$", count=2):
        spinach_worker.drain()


def test_one_whose_copy_would_have_another_text_is_not_copied(spinach_worker):
    for _ in range(2):
        tasks.schedule(numbered)
    assert {*spinach_worker.drain(on_failure="collect")} == {NUMBERED}


def test_what_the_block_itself_raises_is_not_hidden(spinach_jobs):
    with pytest.raises(ZeroDivisionError), spinach_jobs.expect_failure(broken, ValueError):
        raise ZeroDivisionError


def test_before_the_failure_there_is_no_value(spinach_jobs, spinach_worker):
    tasks.schedule(broken, "no ink")
    with spinach_jobs.expect_failure(broken, ValueError) as failed:
        with pytest.raises(LookupError, match="No attempt of task 'broken' has raised ValueError"):
            failed.value  # noqa: B018
        spinach_worker.drain()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(("brokn", ValueError), UnknownTask), (("broken", "ValueError"), InvalidArgument),
     (("broken", ()), InvalidArgument), (("broken", ValueError, 5), InvalidArgument),
     (("broken", ValueError, "("), InvalidArgument),
     (("broken", ValueError, b"x"), InvalidArgument)],
)  # fmt: skip
def test_an_expectation_that_makes_no_sense_is_refused(spinach_jobs, arguments, error):
    with pytest.raises(error), spinach_jobs.expect_failure(*arguments):
        pass


def test_failures_before_a_hang_are_told_with_it(spinach_worker):
    import threading

    from spinach_testing import DrainTimeout

    gate = threading.Event()
    local = Tasks()
    engine = spinach_worker._recording.engine
    local.add(gate.wait, name="stuck")
    engine.attach_tasks(local)
    tasks.schedule(broken, "no ink")
    local.schedule("stuck")
    try:
        with pytest.raises(DrainTimeout) as raised:
            spinach_worker.drain(timeout=1)
    finally:
        gate.set()
        engine.detach_tasks(local)
    assert raised.value.__notes__ == [
        "Meanwhile: ValueError: no ink (raised by job broken('no ink'), attempt 1)"
    ]


def test_time_that_passes_reports_at_the_end_of_the_call(spinach_worker, spinach_engine):
    at = spinach_worker._recording.broker.clock.now()
    spinach_engine.schedule_at(broken, at + timedelta(days=1), "late")
    with pytest.raises(ValueError, match="late"):
        spinach_worker.advance(timedelta(days=2))
    assert spinach_worker._recording.broker.clock.now() == at + timedelta(days=2)
