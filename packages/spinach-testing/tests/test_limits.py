"""How much a call of the worker may run: attempts, virtual time, real time."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from spinach import Tasks
from spinach.exc import InvalidArgument
from spinach_testing import UnfinishedJobs

tasks, periodic = Tasks(), Tasks()
done: list[str] = []


@tasks.task(name="add")
def add(name):
    done.append(name)


@tasks.task(name="endless")
def endless():
    tasks.schedule(endless)


@periodic.task(name="hourly", periodicity=timedelta(hours=1))
def hourly():
    done.append("hourly")


@pytest.fixture(scope="module")
def spinach_tasks():
    return [tasks]


@pytest.fixture(autouse=True)
def clean():
    done.clear()


# -- attempts and virtual time ---------------------------------------------------


def test_jobs_that_make_ever_more_jobs_are_an_error(spinach_worker):
    tasks.schedule(endless)
    with pytest.raises(UnfinishedJobs, match="More than max_jobs attempts"):
        spinach_worker.run_until_finished(max_jobs=20)


@pytest.mark.parametrize("repetition", range(20))
def test_the_limit_of_attempts_is_exact(spinach_worker, repetition):
    del repetition
    for _ in range(10):
        for name in "abcd":
            tasks.schedule(add, name)
        with pytest.raises(UnfinishedJobs, match="More than max_jobs attempts"):
            spinach_worker.run_until_finished(max_jobs=3)
        spinach_worker.drain()
        for name in "abc":
            tasks.schedule(add, name)
        spinach_worker.run_until_finished(max_jobs=3)


def test_jobs_that_lie_too_far_ahead_are_an_error(spinach_worker, spinach_engine, spinach_clock):
    spinach_engine.schedule_at(add, spinach_clock.now() + timedelta(days=3), "late")
    with pytest.raises(UnfinishedJobs) as raised:
        spinach_worker.run_until_finished(max_virtual=timedelta(days=1))
    assert str(raised.value) == (
        "Jobs are left after 1 day, 0:00:00. Not done:\n"
        "  add('late')  WAITING  attempt 1  due in 3 days, 0:00:00"
    )


@pytest.mark.parametrize("limits", [{"max_jobs": 0}, {"max_virtual": 5}, {"max_jobs": "many"}])
def test_limits_that_make_no_sense_are_refused(spinach_worker, limits):
    with pytest.raises(InvalidArgument):
        spinach_worker.run_until_finished(**limits)


def test_a_limit_of_time_may_be_longer_than_the_calendar(spinach_worker, spinach_engine):
    tasks.schedule(add, "now")
    spinach_worker.run_until_finished(max_virtual=timedelta.max)
    assert done == ["now"]

    spinach_engine.schedule_at(add, datetime(9999, 6, 1, tzinfo=UTC), "too late")
    with pytest.raises(UnfinishedJobs, match=r"Jobs are left after 2910617 days, 0:00:00\. Not"):
        spinach_worker.run_until_finished(max_virtual=timedelta.max)


@pytest.mark.parametrize("span", [timedelta.max, timedelta(days=365 * 9000)])
def test_time_cannot_pass_beyond_the_calendar(spinach_worker, span):
    tasks.schedule(add, "now")
    with pytest.raises(InvalidArgument, match=r"goes up to 9999-01-01 .*, which leaves"):
        spinach_worker.advance(span)
    assert done == []


# -- real time -------------------------------------------------------------------

NO_TIMEOUTS = ["3", timedelta(seconds=3), 0, -1, math.nan, True, math.inf, 1e10, [5]]

#: Each call of a worker, with whatever it needs.
CALLS = {
    "drain": lambda worker, **timeout: worker.drain(**timeout),
    "advance": lambda worker, **timeout: worker.advance(timedelta(1), **timeout),
    "run_until_finished": lambda worker, **timeout: worker.run_until_finished(**timeout),
    "stop_gracefully": lambda worker, **timeout: worker.stop_gracefully(**timeout),
    "crash": lambda worker, **timeout: worker.crash(tasks.schedule(add, "crash"), **timeout),
}


@pytest.mark.parametrize("timeout", NO_TIMEOUTS, ids=repr)
@pytest.mark.parametrize("name", CALLS)
def test_a_timeout_that_makes_no_sense_is_refused_before_anything_runs(
    spinach_worker, name, timeout
):
    tasks.schedule(add, "a")
    with pytest.raises(InvalidArgument) as raised:
        CALLS[name](spinach_worker, timeout=timeout)
    assert str(raised.value) == (
        f"timeout is {timeout!r}, expected real seconds above 0, 86400 at most. "
        "Write timeout=5, or leave it out."
    )
    assert done == []
    assert CALLS[name](spinach_worker, timeout=20.0) is not None


@pytest.mark.parametrize("timeout", NO_TIMEOUTS, ids=repr)
def test_a_wait_for_a_time_that_makes_no_sense_is_refused(spinach_live_worker, timeout):
    with pytest.raises(InvalidArgument, match="expected real seconds above 0, 86400 at most"):
        spinach_live_worker.wait_idle(timeout=timeout)


@pytest.mark.spinach(timeout=86400)
@pytest.mark.parametrize("name", CALLS)
def test_the_longest_timeout_can_be_waited_for(spinach_worker, name):
    tasks.schedule(add, "a")
    CALLS[name](spinach_worker)
    assert done


class TestBesidePeriodicTasks:
    @pytest.fixture
    def spinach_tasks(self):
        return [tasks, periodic]

    def test_attempts_of_periodic_tasks_do_not_count_toward_the_limit(
        self, spinach_worker, spinach_engine, spinach_clock
    ):
        spinach_engine.schedule_at(add, spinach_clock.now() + timedelta(days=3), "late")
        spinach_worker.run_until_finished(max_jobs=1)
        assert (done.count("hourly"), done.count("late")) == (72, 1)

        for _ in range(2):
            periodic.schedule(hourly)
        with pytest.raises(UnfinishedJobs) as raised:
            spinach_worker.run_until_finished(max_jobs=1)
        assert str(raised.value).startswith(
            "More than max_jobs attempts were made, besides those of periodic tasks. Either jobs "
            "make ever more jobs, or the test needs more of them: then raise max_jobs. Not done:"
        )
