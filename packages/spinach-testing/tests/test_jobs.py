"""What `spinach_jobs` knows, matches and prints."""

from __future__ import annotations

import uuid
from collections import Counter, OrderedDict, defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from unittest.mock import ANY, Mock, call

import pytest
from dirty_equals import IsInt, IsPartialDict

from spinach import Batch, JobStatus, RetryException, Tasks
from spinach.brokers.calls import Deposit
from spinach.exc import InvalidArgument, InvalidJobSignatureError, PayloadTooLarge, UnknownTask
from spinach_testing import Jobs

HOUR = timedelta(hours=1)

tasks = Tasks()


class Point(NamedTuple):
    x: object
    y: object


@tasks.task(name="mail")
def mail(to, subject="hello", *, urgent=False): ...


@tasks.task(name="spread")
def spread(*args, **kwargs): ...


@tasks.task(name="mails", max_retries=3)
def mails(names):
    for name in names:
        tasks.schedule(mail, name)


@tasks.task(name="later", max_retries=3)
def later():
    raise RetryException("not yet", at=datetime(2030, 1, 1, 12, tzinfo=UTC))


@tasks.task(name="broken")
def broken(reason):
    raise ValueError(reason)


@tasks.task(name="hourly", periodicity=HOUR, queue="clockwork")
def hourly(): ...


@pytest.fixture(scope="module")
def spinach_tasks():
    return [tasks]


def message(raised: pytest.ExceptionInfo[BaseException]) -> str:
    return str(raised.value)


# -- all and one ---------------------------------------------------------------


def test_jobs_are_listed_in_order_with_arguments_as_workers_get_them(spinach_jobs, spinach_engine):
    tasks.schedule(mail, "ada", urgent=True)
    spinach_engine.schedule_at(spread, datetime(2031, 1, 1, tzinfo=UTC), (1, 2))

    first, second = spinach_jobs.all()

    assert (first.task_name, first.task_args, first.task_kwargs, first.status) == (
        "mail", ("ada",), {"urgent": True}, JobStatus.QUEUED,
    )  # fmt: skip
    assert (second.task_args, second.status) == (([1, 2],), JobStatus.WAITING)
    assert second.at == datetime(2031, 1, 1, tzinfo=UTC)


def test_jobs_are_chosen_by_task_and_by_state(spinach_jobs, spinach_worker):
    done = tasks.schedule(mail, "ada")
    spinach_worker.drain()
    waits = tasks.schedule(mail, "bob")

    assert [job.id for job in spinach_jobs.all(task=mail)] == [done.id, waits.id]
    assert [job.id for job in spinach_jobs.all("mail", JobStatus.SUCCEEDED)] == [done.id]
    assert [job.id for job in spinach_jobs.all(status=JobStatus.QUEUED)] == [waits.id]
    assert spinach_jobs.all(tasks.get("spread")) == []
    assert len(spinach_jobs) == 2


def test_a_job_is_seen_in_every_state_it_goes_through(spinach_jobs, spinach_worker):
    tasks.schedule(later)
    assert spinach_jobs.one(later).status is JobStatus.QUEUED
    spinach_worker.drain()
    waiting = spinach_jobs.one(later)
    assert (waiting.status, waiting.retries) == (JobStatus.WAITING, 1)
    with spinach_jobs.expect_failure(later, RetryException):
        spinach_worker.advance(timedelta(days=1))
    failed = spinach_jobs.one(later)
    assert (failed.status, failed.retries) == (JobStatus.FAILED, 3)


def test_jobs_made_by_jobs_by_batches_and_by_the_clock_are_seen(spinach_jobs, spinach_worker):
    batch = Batch()
    batch.schedule(mails, ["ada", "bob"])
    tasks.schedule_batch(batch)
    spinach_worker.advance(2 * HOUR)

    assert [job.task_args for job in spinach_jobs.all(mail)] == [("ada",), ("bob",)]
    assert len(spinach_jobs.all(hourly)) == 2


def test_what_was_refused_was_not_scheduled(spinach_jobs):
    with pytest.raises(PayloadTooLarge):
        tasks.schedule(mail, "x" * 600_000)
    assert spinach_jobs.all() == []


def test_a_job_that_failed_and_is_retried_by_a_person_is_queued_again(
    spinach_jobs, spinach_engine, spinach_worker
):
    tasks.schedule(broken, "no ink")
    spinach_worker.drain(on_failure="collect")
    assert spinach_jobs.one().status is JobStatus.FAILED

    (failure,) = spinach_engine.failed.list()
    spinach_engine.failed.retry(failure.job)

    assert spinach_jobs.one().status is JobStatus.QUEUED


def test_one_job_means_exactly_one(spinach_jobs):
    with pytest.raises(AssertionError) as none:
        spinach_jobs.one(mail)
    tasks.schedule(mail, "ada")
    assert spinach_jobs.one(mail).task_args == ("ada",)
    tasks.schedule(mail, "bob")
    with pytest.raises(AssertionError) as two:
        spinach_jobs.one(status=JobStatus.QUEUED)

    assert message(none) == "Expected one job of task 'mail', found 0. Jobs:\n  none"
    assert message(two) == (
        "Expected one job in state QUEUED, found 2. Jobs:\n"
        "  mail('ada')  QUEUED  attempt 1  due now\n"
        "  mail('bob')  QUEUED  attempt 1  due now"
    )


def test_a_task_that_is_unknown_and_a_state_that_is_none_are_refused(spinach_jobs):
    with pytest.raises(UnknownTask, match="Did you mean 'mail'"):
        spinach_jobs.all("mial")
    with pytest.raises(InvalidArgument, match="expected a JobStatus"):
        spinach_jobs.all(status="queued")


# -- assertions ----------------------------------------------------------------


@pytest.mark.parametrize(
    "expected",
    [
        ANY,
        call("ada", urgent=True),
        call(to="ada", subject="hello", urgent=True),
        call(ANY, ANY, urgent=True),
    ],
    ids=str,
)
def test_calls_are_compared_by_parameter_and_defaults_count(spinach_jobs, expected):
    job = tasks.schedule(mail, to="ada", urgent=True)
    assert [each.id for each in spinach_jobs.assert_scheduled(mail, expected)] == [job.id]


@pytest.mark.parametrize("expected", [call("bob"), call("ada"), call("ada", ANY, urgent=False)])
def test_a_call_that_differs_in_one_parameter_is_another_call(spinach_jobs, expected):
    tasks.schedule(mail, "ada", urgent=True)
    spinach_jobs.assert_not_scheduled(mail, expected)
    with pytest.raises(AssertionError):
        spinach_jobs.assert_scheduled(mail, expected)


def test_tuples_count_as_lists_at_any_depth(spinach_jobs):
    tasks.schedule(spread, (1, (2, 3)), nested={"pair": (4, 5)})
    spinach_jobs.assert_scheduled(spread, call((1, (2, 3)), nested={"pair": (4, 5)}))
    spinach_jobs.assert_scheduled(spread, call([1, [2, 3]], nested={"pair": [4, 5]}))


@pytest.mark.parametrize(
    "value",
    [
        Point(1, 2),
        [Point((1, 2), Point(3, 4))],
        OrderedDict(b=(1, 2), a=Point(3, 4)),
        defaultdict(list, a=(1, 2)),
        Counter("aab"),
        {"a": OrderedDict(b=(1,))},
    ],
    ids=repr,
)
def test_subclasses_of_containers_count_as_what_workers_get(spinach_jobs, value):
    tasks.schedule(mail, value)
    spinach_jobs.assert_scheduled(mail, call(value))
    spinach_jobs.assert_scheduled("mail", call(to=spinach_jobs.one().task_args[0]))
    spinach_jobs.assert_not_scheduled(mail, call([value]))


def test_a_matcher_that_is_a_container_is_asked(spinach_jobs):
    class Unordered(list):
        def __eq__(self, other):
            return sorted(self) == sorted(other)

        __hash__ = None

    class AtLeast(dict):
        def __eq__(self, other):
            return self.items() <= other.items()

        __hash__ = None

    tasks.schedule(mail, (2, 1), {"a": 1, "b": 2})
    spinach_jobs.assert_scheduled(mail, call(Unordered([1, 2]), AtLeast(a=1)))
    spinach_jobs.assert_not_scheduled(mail, call(Unordered([1, 3]), AtLeast(a=1)))


def test_matchers_are_asked_wherever_they_stand(spinach_jobs):
    tasks.schedule(spread, [1, {"id": 7, "name": "ada"}], size=3)
    spinach_jobs.assert_scheduled(spread, call([ANY, IsPartialDict(name="ada")], size=IsInt(gt=2)))
    spinach_jobs.assert_not_scheduled(spread, call(ANY, size=IsInt(gt=3)))


def test_the_number_of_jobs_is_exact(spinach_jobs):
    tasks.schedule(mail, "ada")
    tasks.schedule(mail, "ada")
    assert len(spinach_jobs.assert_scheduled(mail, call("ada"), count=2)) == 2
    with pytest.raises(AssertionError) as raised:
        spinach_jobs.assert_scheduled(mail, call("ada"))
    assert message(raised) == (
        "Expected 1 job mail('ada'), found 2. Jobs:\n"
        "  mail('ada')  QUEUED  attempt 1  due now\n"
        "  mail('ada')  QUEUED  attempt 1  due now"
    )


def test_the_instant_is_compared_if_one_is_given(spinach_jobs, spinach_clock, spinach_engine):
    at = spinach_clock.now() + HOUR + timedelta(microseconds=1)
    spinach_engine.schedule_at(mail, at, "ada")

    spinach_jobs.assert_scheduled(mail, at=at)
    spinach_jobs.assert_scheduled(mail, at=at.replace(tzinfo=None))
    spinach_jobs.assert_scheduled(mail, at=ANY)
    spinach_jobs.assert_not_scheduled(mail, at=at + timedelta(milliseconds=1))
    with pytest.raises(AssertionError) as raised:
        spinach_jobs.assert_not_scheduled(mail, call("ada"), at=at)
    assert message(raised) == (
        "Expected no job mail('ada') at 2030-01-01 01:00:00.000001+00:00, found 1. Jobs:\n"
        "  mail('ada')  WAITING  attempt 1  due in 1:00:00.001000"
    )


def test_a_failed_assertion_shows_every_job_with_its_state(
    spinach_jobs, spinach_worker, spinach_engine
):
    tasks.schedule(mails, ["ada"])
    tasks.schedule(later)
    tasks.schedule(broken, "no ink")
    spinach_worker.drain(on_failure="collect")
    with pytest.raises(AssertionError) as raised:
        spinach_jobs.assert_scheduled(mail, call("bob"))
    assert message(raised) == (
        "Expected 1 job mail('bob'), found 0. Jobs:\n"
        "  mails(['ada'])  SUCCEEDED  attempt 1\n"
        "  later()  WAITING  attempt 2  due in 12:00:00\n"
        "  broken('no ink')  FAILED  attempt 1  ValueError: no ink\n"
        "  mail('ada')  SUCCEEDED  attempt 1"
    )


def test_an_assertion_that_comes_before_the_jobs_ran_says_how_to_run_them(
    spinach_jobs, spinach_worker
):
    tasks.schedule(mails, ["ada"])
    tasks.schedule(mails, [])

    def expect_outcome():
        spinach_jobs.one(mails, JobStatus.SUCCEEDED)

    def expect_what_a_job_schedules():
        spinach_jobs.assert_scheduled(mail)

    def expect_failure():
        with spinach_jobs.expect_failure(mails, ValueError):
            pass

    asked = [expect_outcome, expect_what_a_job_schedules, expect_failure]
    advice = "\n2 jobs are ready to run. spinach_worker.drain() runs them."
    for ask in asked:
        with pytest.raises(AssertionError) as raised:
            ask()
        assert message(raised).endswith(advice), ask
    spinach_worker.drain()
    spinach_jobs.assert_scheduled(mail)
    for ask in (expect_outcome, expect_failure):
        with pytest.raises(AssertionError) as raised:
            ask()
        assert "ready to run" not in message(raised), ask


def test_nobody_is_told_to_run_jobs_of_which_there_are_too_many(spinach_jobs):
    tasks.schedule(mail, "ada")
    tasks.schedule(mail, "ada")
    for ask in (spinach_jobs.one, spinach_jobs.assert_scheduled, spinach_jobs.assert_not_scheduled):
        with pytest.raises(AssertionError) as raised:
            ask(mail)
        assert "ready to run" not in message(raised)


def test_long_arguments_and_long_lists_of_jobs_are_cut(spinach_jobs):
    for _ in range(60):
        tasks.schedule(mail, "x" * 1000)
    with pytest.raises(AssertionError) as raised:
        spinach_jobs.assert_scheduled(mail, call("bob"))
    lines = message(raised).splitlines()
    assert lines[1] == "  (10 earlier jobs left out)"
    assert len(lines) == 53
    assert max(map(len, lines)) < 140


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("mail", ("ada",)), InvalidArgument, "expected unittest.mock.call"),
        (("mail", call), InvalidArgument, "^call is call, expected unittest.mock.call"),
        (("mail", call.mail("ada")), InvalidArgument, r"^call is call\.mail\('ada'\), expected"),
        (("mail", call.mail), InvalidArgument, "^call is mail, expected unittest"),
        (("mail", call("ada")("bob")), InvalidArgument, r"^call is call\(\)\('bob'\), expected"),
        (("mail", call("ada", colour=1)), InvalidJobSignatureError, "Its signature is mail"),
        (("mial",), UnknownTask, "Unknown task 'mial'"),
    ],
)
def test_an_expectation_that_makes_no_sense_is_refused(spinach_jobs, arguments, error, text):
    for question in (spinach_jobs.assert_scheduled, spinach_jobs.assert_not_scheduled):
        with pytest.raises(error, match=text):
            question(*arguments)


def test_the_call_of_a_mock_is_a_call(spinach_jobs):
    tasks.schedule(mail, "ada", urgent=True)
    sent = Mock()
    sent("ada", urgent=True)
    spinach_jobs.assert_scheduled(mail, sent.call_args)
    spinach_jobs.assert_scheduled(mail, sent.mock_calls[0])


@pytest.mark.parametrize(
    "keywords", [{"count": 0}, {"at": HOUR}, {"at": 5}, {"at": "now"}, {"at": date(2030, 1, 2)}]
)
def test_a_number_or_an_instant_that_is_none_is_refused(spinach_jobs, keywords):
    with pytest.raises(InvalidArgument):
        spinach_jobs.assert_scheduled(mail, **keywords)


# -- captured ------------------------------------------------------------------


def test_a_block_shows_only_what_was_scheduled_in_it(spinach_jobs, spinach_worker):
    tasks.schedule(mail, "before")
    with spinach_jobs.captured() as jobs:
        tasks.schedule(mail, "inside")
        jobs.assert_scheduled(mail, call("inside"))
    tasks.schedule(mail, "after")

    assert isinstance(jobs, Jobs)
    assert [job.task_args for job in jobs.all()] == [("inside",)]
    jobs.assert_not_scheduled(mail, call("before"))
    spinach_worker.drain()
    assert jobs.one().status is JobStatus.SUCCEEDED
    assert repr(jobs).endswith("mail('inside')  SUCCEEDED  attempt 1>")


def test_a_block_inside_a_block_that_is_over_shows_nothing(spinach_jobs):
    with spinach_jobs.captured() as jobs:
        tasks.schedule(mail, "inside")
        with jobs.captured() as inner:
            tasks.schedule(mail, "further inside")
    with jobs.captured() as late:
        tasks.schedule(mail, "after")
        assert late.all() == []
    assert late.all() == []
    assert [job.task_args for job in inner.all()] == [("further inside",)]
    assert len(jobs) == 2


def test_a_block_shows_its_jobs_although_an_earlier_one_turns_out_not_to_be_stored(spinach_jobs):
    ledger = spinach_jobs.recording.ledger
    refused = Deposit(queue="spinach", stored_id=f"0{uuid.UUID(int=1)}", record=b"")
    ledger.announce([refused])
    with spinach_jobs.captured() as jobs:
        tasks.schedule(mail, "inside")
        ledger.withdraw([refused])
        assert jobs.one().task_args == ("inside",)
    tasks.schedule(mail, "after")
    assert jobs.one().task_args == ("inside",)
