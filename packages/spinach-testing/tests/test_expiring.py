"""Jobs that expire, and those that were cancelled, as tests of users see them."""

from __future__ import annotations

import textwrap
from datetime import timedelta

import pytest

from spinach import JobStatus, Tasks
from spinach.brokers.calls import Deposit, Verdict
from spinach.exc import InvalidArgument
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach_testing.ledger import Ledger
from spinach_testing.listing import line

pytest_plugins = ["pytester"]

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

tasks = Tasks()
done: list[str] = []


@tasks.task(name="add")
def add(name):
    done.append(name)


@tasks.task(name="flaky", max_retries=9)
def flaky():
    raise ConnectionError("no answer")


@pytest.fixture(scope="module")
def spinach_tasks():
    return [tasks]


@pytest.fixture(autouse=True)
def nothing_done():
    done.clear()


def test_a_job_expires_in_virtual_time(spinach_engine, spinach_clock, spinach_jobs, spinach_worker):
    spinach_engine.options(expires_in=24 * HOUR).schedule(add, "too late")
    spinach_engine.options(expires_in=24 * HOUR + SECOND).schedule(add, "in time")
    spinach_clock.advance(24 * HOUR)
    assert spinach_worker.drain() == []
    assert done == ["in time"]
    assert [job.status for job in spinach_jobs.all(add)] == [
        JobStatus.EXPIRED,
        JobStatus.SUCCEEDED,
    ]
    assert spinach_jobs.one(status=JobStatus.EXPIRED).task_args == ("too late",)


def test_headers_and_the_instant_show_in_the_jobs_of_a_test(
    spinach_engine, spinach_clock, spinach_jobs
):
    tasks.options(expires_in=HOUR, headers={"trace": "4f2a"}).schedule(add, "x")
    job = spinach_jobs.one(add)
    assert job.headers == {"trace": "4f2a"}
    assert job.expires_at == spinach_clock.now() + HOUR


def test_jobs_with_options_are_found_by_their_arguments(spinach_engine, spinach_jobs):
    tasks.options(headers={"trace": "4f2a"}).schedule(add, "x")
    spinach_jobs.assert_scheduled(add)
    assert len(spinach_jobs) == 1


def test_a_job_that_expires_while_time_passes_does_not_fail_the_test(
    spinach_engine, spinach_jobs, spinach_worker
):
    spinach_engine.options(expires_in=30 * SECOND).schedule(flaky)
    errors = spinach_worker.run_until_finished(on_failure="collect", max_virtual=48 * HOUR)
    assert {type(error) for error in errors} == {ConnectionError}
    job = spinach_jobs.one(flaky)
    assert job.status is JobStatus.EXPIRED
    assert 0 < job.retries < 9
    assert spinach_engine.failed.list() == []


def test_live_workers_pass_over_what_expired(spinach_engine, spinach_jobs, spinach_live_worker):
    past = spinach_engine._broker.clock.now() - HOUR
    spinach_engine.options(expires_in=SECOND).schedule_at(add, past, "too late")
    tasks.schedule(add, "in time")
    spinach_live_worker.wait_idle()
    assert done == ["in time"]
    assert spinach_jobs.one(status=JobStatus.EXPIRED).task_args == ("too late",)


def test_the_list_of_jobs_says_when_they_expire(spinach_engine, spinach_clock, spinach_jobs):
    brief = spinach_engine.options(expires_in=HOUR)
    brief.schedule(add, "soon")
    brief.schedule_at(add, spinach_clock.now() + HOUR, "at one")
    spinach_engine.schedule(add, "never")
    first, second, third = repr(spinach_jobs).splitlines()[1:]
    assert first == "  add('soon')  QUEUED  attempt 1  due now  expires in 1:00:00"
    assert second == "  add('at one')  WAITING  attempt 1  due in 1:00:00  expires in 2:00:00"
    assert third.startswith("  add('never')  QUEUED  attempt 1  due now")
    assert "expires" not in third
    spinach_clock.advance(HOUR)
    assert "add('soon')  QUEUED  attempt 1  due now  too late to start" in repr(spinach_jobs)


def test_a_job_that_was_done_with_does_not_expire_any_more(
    spinach_engine, spinach_jobs, spinach_worker
):
    spinach_engine.options(expires_in=HOUR).schedule(add, "x")
    spinach_worker.drain()
    assert "  add('x')  SUCCEEDED  attempt 1>" in repr(spinach_jobs)


def test_no_worker_crashes_over_a_job_that_has_expired(
    spinach_engine, spinach_clock, spinach_jobs, spinach_worker
):
    job = spinach_engine.options(expires_in=HOUR).schedule(flaky)
    spinach_clock.advance(HOUR)
    with pytest.raises(InvalidArgument, match="has expired") as info:
        spinach_worker.crash(job)
    assert "flaky()  QUEUED  attempt 1  due now  too late to start" in str(info.value)
    spinach_worker.drain()
    assert spinach_jobs.one(flaky).status is JobStatus.EXPIRED


@pytest.mark.parametrize("kind", [OutcomeKind.EXPIRED, OutcomeKind.CANCELLED])
def test_a_job_shows_how_it_ended(spinach_engine, spinach_jobs, kind):
    stored = spinach_jobs.recording.ledger.find(spinach_engine.schedule(flaky))
    ledger = Ledger()
    deposit = Deposit("spinach", stored.stored_id, stored.record)
    ledger.announce([deposit])
    lease = Lease(
        "spinach", "m", stored.stored_id, token="t", direct=True, record=stored.record, retries=1
    )
    ledger.leased([lease])
    told = Outcome(kind, lease, "flaky")
    ledger.reported([told], [Verdict.REFUSED], now_ms=0)
    assert ledger.entries()[0].status is JobStatus.RUNNING
    ledger.reported([told], [Verdict.APPLIED], now_ms=0)
    (entry,) = ledger.entries()
    assert (entry.status, entry.lease) == (JobStatus[kind.name], None)
    assert entry.job().status is JobStatus[kind.name]
    assert line(entry, 0) == f"flaky()  {kind.name}  attempt 2"


def test_a_report_of_a_failed_test_shows_expired_jobs(pytester, only_this_plugin):
    pytester.makepyfile(
        textwrap.dedent(
            """
            from datetime import timedelta

            import pytest
            from spinach import Tasks

            tasks = Tasks()

            @tasks.task(name="mail")
            def mail(to):
                pass

            @pytest.fixture(scope="session")
            def spinach_tasks():
                return [tasks]

            def test_it(spinach_engine, spinach_clock, spinach_worker):
                tasks.options(expires_in=timedelta(hours=1)).schedule(mail, "ada")
                spinach_clock.advance(timedelta(hours=1))
                spinach_worker.drain()
                tasks.options(expires_in=timedelta(hours=1)).schedule(mail, "bob")
                assert False
            """
        )
    )
    result = pytester.runpytest_inprocess("-p", "spinach_testing.plugin", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- Spinach jobs -*",
            "  mail('ada')  EXPIRED  attempt 1",
            "  mail('bob')  QUEUED  attempt 1  due now  expires in 1:00:00",
        ]
    )
