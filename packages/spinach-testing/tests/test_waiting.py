"""Waits for jobs in tests: none lasts for ever without a word."""

from __future__ import annotations

import contextvars
import threading
import time
from datetime import timedelta

import pytest

from spinach import Engine, JobStatus, MemoryBroker, Tasks, current_job
from spinach.exc import NoResult, WaitTimeout
from spinach_testing import DrainTimeout, UnfinishedJobs
from spinach_testing.running import RunningJobs
from spinach_testing.threads import join_idle

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

tasks = Tasks()
done: list[str] = []


@tasks.task(name="add")
def add(name):
    done.append(name)


@tasks.task(name="total", keep_result=HOUR)
def total(*prices):
    return sum(prices)


@pytest.fixture(scope="module")
def spinach_tasks():
    return [tasks]


@pytest.fixture(autouse=True)
def nothing_done():
    done.clear()


@pytest.fixture
def held(spinach_engine):
    """A task that runs until the test is over."""
    release = threading.Event()
    held_tasks = Tasks()

    @held_tasks.task(name="held", keep_result=HOUR)
    def hold():
        release.wait(30)

    spinach_engine.attach_tasks(held_tasks)
    yield hold
    release.set()


# -- between the calls of spinach_worker ---------------------------------------


def test_a_wait_for_jobs_takes_virtual_time_only(spinach_engine, spinach_clock, spinach_worker):
    job = tasks.schedule(add, "x")
    before = spinach_clock.now()
    with pytest.raises(WaitTimeout, match="1 of 1 jobs are not over after 3600 seconds"):
        spinach_engine.jobs.wait(job, timeout=HOUR)
    assert spinach_clock.now() - before == HOUR
    spinach_worker.drain()
    assert spinach_engine.jobs.wait(job, timeout=None) == (None,)
    assert spinach_clock.now() - before == HOUR


def both_ways(spinach_engine, job):
    """Wait for the end and for the result of a job, without an end; what is said of each."""
    told = []
    for wait in (spinach_engine.jobs.wait, spinach_engine.result):
        with pytest.raises(UnfinishedJobs) as info:
            wait(job, timeout=None)
        told.append(str(info.value))
    return told


def test_an_endless_wait_names_the_job_and_the_call_that_runs_it(spinach_engine, spinach_worker):
    for text in both_ways(spinach_engine, tasks.schedule(total, 1)):
        assert "Call spinach_worker.drain() before you wait" in text
        assert text.endswith("Jobs:\n  total(1)  QUEUED  attempt 1  due now")


def test_an_endless_wait_for_a_later_job_names_the_call_that_lets_time_pass(
    spinach_engine, spinach_clock, spinach_worker
):
    job = tasks.schedule_at(total, spinach_clock.now() + HOUR, 1)
    spinach_worker.drain()
    for text in both_ways(spinach_engine, job):
        assert "Call spinach_worker.run_until_finished(), or advance()" in text
        assert "total(1)  WAITING  attempt 1  due in 1:00:00" in text


def test_an_endless_wait_in_a_paused_queue_names_the_call_that_resumes_it(
    spinach_engine, spinach_worker
):
    job = tasks.schedule(total, 1)
    spinach_engine.queues.pause("spinach")
    spinach_worker.drain()
    for text in both_ways(spinach_engine, job):
        assert "Queue 'spinach' is paused: call spinach_engine.queues.resume('spinach')" in text


def test_a_wait_by_id_ends_and_names_the_job_as_well(spinach_engine, spinach_worker):
    job = tasks.schedule(add, "x")
    with pytest.raises(UnfinishedJobs, match=r"add\('x'\)  QUEUED"):
        spinach_engine.jobs.wait(job.id, timeout=None)
    spinach_worker.drain()
    assert spinach_engine.jobs.wait(job.id, timeout=None) == (None,)


# -- while jobs run ------------------------------------------------------------


@pytest.mark.concurrency
def test_a_thread_that_waits_while_jobs_run_hears_of_their_end(spinach_engine, spinach_worker):
    looked, release = threading.Event(), threading.Event()
    seen = []

    late = Tasks()

    @late.task(name="late")
    def work():
        looked.set()
        release.wait(30)

    spinach_engine.attach_tasks(late)
    job = late.schedule(work)

    def wait():
        assert looked.wait(30)
        with pytest.raises(WaitTimeout):
            spinach_engine.jobs.wait(job, timeout=timedelta(0))
        release.set()
        seen.append(spinach_engine.jobs.wait(job, timeout=None))

    thread = threading.Thread(target=wait)
    thread.start()
    spinach_worker.drain()
    thread.join(30)
    assert seen == [(None,)]


@pytest.mark.parametrize("how", ["wait", "result"])
@pytest.mark.parametrize("timeout", [None, HOUR])
@pytest.mark.spinach(timeout=0.1)
def test_no_wait_beside_live_workers_outlasts_the_timeout_of_the_test(
    spinach_engine, spinach_live_worker, held, how, timeout
):
    job = spinach_engine.schedule(held)
    wait = spinach_engine.result if how == "result" else spinach_engine.jobs.wait
    with pytest.raises(DrainTimeout, match="Jobs were not done after") as info:
        wait(job, timeout=timeout)
    what = "the result of" if how == "result" else "the end of"
    assert f"Waiting for jobs:\nMainThread waits for {what} held()  RUNNING" in str(info.value)


def test_a_wait_beside_live_workers_that_is_short_ends_as_usual(
    spinach_engine, spinach_live_worker, held
):
    job = spinach_engine.schedule(held)
    with pytest.raises(WaitTimeout):
        spinach_engine.jobs.wait(job, timeout=timedelta(milliseconds=5))


def test_a_report_of_a_hang_names_the_job_that_waits_for_a_result(
    spinach_engine, spinach_clock, spinach_worker
):
    wanted = tasks.schedule_at(total, spinach_clock.now() + HOUR, 4)
    waiters = Tasks()

    @waiters.task(name="bill")
    def bill(order):
        # As asyncio.to_thread does, which takes the context of the task along.
        context = contextvars.copy_context()

        def wait():
            with pytest.raises(NoResult):
                spinach_engine.result(wanted, timeout=None)

        thread = threading.Thread(target=context.run, args=(wait,), name="billing")
        thread.start()
        thread.join(30)

    spinach_engine.attach_tasks(waiters)
    job = waiters.schedule(bill, 7)
    with pytest.raises(DrainTimeout) as info:
        spinach_worker.drain(timeout=0.2)
    assert (
        f"Waiting for jobs:\nbill(7) {job.id}, in billing, waits for the result of "
        "total(4)  WAITING  attempt 1  due in 1:00:00:\n"
    ) in str(info.value)
    spinach_engine.jobs.cancel(wanted)


def test_a_report_of_a_hang_names_a_job_of_another_engine(spinach_engine, spinach_worker, held):
    other = Engine(MemoryBroker(), "other")
    job = spinach_engine.schedule(held)

    @other.task(name="elsewhere")
    def elsewhere():
        spinach_engine.result(job, timeout=None)

    waiter = other.schedule(elsewhere)
    other.start_workers(1, block=False)
    try:
        with pytest.raises(DrainTimeout) as info:
            spinach_worker.drain(timeout=0.5)
        assert f"elsewhere() {waiter.id}, in other-worker-1, waits for the result of held()" in (
            str(info.value)
        )
    finally:
        spinach_engine.jobs.cancel(job)
        other.stop_workers(_join_arbiter=False)


# -- calls that end while a job begins -------------------------------------------


@pytest.mark.concurrency
def test_a_thread_that_begins_a_job_while_it_is_joined_is_left_alone(spinach_engine):
    job = tasks.schedule(add, "x")
    looked, release = threading.Event(), threading.Event()

    class Watched(RunningJobs):
        def of(self, thread):
            found = super().of(thread)
            looked.set()
            return found

    running = Watched()

    def work():
        assert looked.wait(30)
        running.start(job, counts=True)
        release.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    before = time.monotonic()
    join_idle([thread], running, 20.0)
    assert time.monotonic() - before < 10
    assert thread.is_alive()
    release.set()
    thread.join(30)
    join_idle([thread], running, 20.0)


def test_a_timeout_waits_a_moment_for_a_job_that_is_about_to_begin(spinach_engine, spinach_jobs):
    recorded = spinach_jobs.recording
    now = time.monotonic()
    assert recorded.out_of_time(now - 0.01)  # no job at all
    assert not recorded.out_of_time(now + 100)
    job = tasks.schedule(add, "x")
    assert not recorded.out_of_time(time.monotonic() - 0.01)
    assert recorded.out_of_time(now - 10)
    recorded.running.start(job, counts=True)
    assert recorded.out_of_time(time.monotonic() - 0.01)
    recorded.running.end()


# -- what else shows ------------------------------------------------------------


def test_purged_jobs_are_cancelled_and_say_so(spinach_engine, spinach_clock, spinach_jobs):
    tasks.schedule(add, "ready")
    tasks.schedule_at(add, spinach_clock.now() + HOUR, "later")
    spinach_engine.queues.purge("spinach", JobStatus.WAITING)
    assert [job.status for job in spinach_jobs.all()] == [JobStatus.QUEUED, JobStatus.CANCELLED]
    spinach_engine.queues.purge("spinach")
    assert {job.status for job in spinach_jobs.all()} == {JobStatus.CANCELLED}
    assert "add('ready')  CANCELLED  attempt 1  purged" in repr(spinach_jobs)


def test_a_purge_leaves_what_runs_and_what_is_done(spinach_engine, spinach_jobs, spinach_worker):
    purging = Tasks()

    @purging.task(name="purge")
    def purge():
        spinach_engine.queues.purge("spinach")

    spinach_engine.attach_tasks(purging)
    tasks.schedule(add, "x")
    spinach_worker.drain()
    purging.schedule(purge)
    spinach_worker.drain()
    assert {job.status for job in spinach_jobs.all()} == {JobStatus.SUCCEEDED}


def test_progress_is_known_without_a_heartbeat(spinach_engine, spinach_jobs, spinach_worker):
    telling = Tasks()

    @telling.task(name="resize", max_retries=1)
    def resize():
        current_job().progress(current_job().attempt, 3, note="c.jpg")
        if current_job().attempt == 1:
            raise ConnectionError("no answer")

    spinach_engine.attach_tasks(telling)
    job, quiet = telling.schedule(resize), tasks.schedule(add, "x")
    assert spinach_jobs.progress(job) is None
    spinach_worker.drain(on_failure="collect")
    assert (spinach_jobs.progress(job).done, spinach_jobs.progress(job).total) == (1, 3)
    assert "attempt 2  due in" in repr(spinach_jobs)
    assert "progress 1 of 3 (c.jpg)" in repr(spinach_jobs)
    spinach_worker.run_until_finished()
    assert spinach_jobs.progress(spinach_jobs.one(resize)).done == 2
    assert spinach_jobs.progress(quiet) is None
    assert "resize()  SUCCEEDED  attempt 2  progress 2 of 3 (c.jpg)" in repr(spinach_jobs)


def test_progress_of_a_job_of_no_test_is_refused(spinach_engine, spinach_jobs):
    elsewhere = Engine(MemoryBroker())
    elsewhere.task(name="add")(add)
    for given in (elsewhere.schedule("add", "x"), "x", None):
        with pytest.raises(ValueError, match="is no job of this test"):
            spinach_jobs.progress(given)


def test_a_running_job_shows_that_its_cancel_was_asked_for(
    spinach_engine, spinach_jobs, spinach_worker
):
    shown = []
    asking = Tasks()

    @asking.task(name="ask")
    def ask():
        spinach_engine.jobs.cancel(current_job().id)
        shown.append(repr(spinach_jobs))

    spinach_engine.attach_tasks(asking)
    asking.schedule(ask)
    spinach_worker.drain()
    assert "ask()  RUNNING  attempt 1  cancel asked for" in shown[0]
    assert "cancel asked for" not in repr(spinach_jobs)


def test_ready_jobs_of_a_paused_queue_name_the_call_that_resumes_it(spinach_engine, spinach_jobs):
    tasks.schedule(add, "x")
    spinach_engine.queues.pause("spinach")
    with pytest.raises(AssertionError) as info:
        spinach_jobs.assert_scheduled(add, count=2)
    assert str(info.value).endswith(
        "1 job is ready to run. spinach_worker.drain() runs it, once "
        "spinach_engine.queues.resume('spinach') was called."
    )


class Shop:
    def charge(self):
        raise ValueError("no card")


def test_the_remedy_names_a_function_where_it_has_a_name(spinach_engine, spinach_worker):
    nameless = Tasks()

    @nameless.task(name="here")
    def local():
        raise ValueError("here")

    nameless.add(lambda: 1 // 0, "nameless")
    nameless.add(Shop().charge, "shop.charge")
    spinach_engine.attach_tasks(nameless)
    for name in ("here", "nameless", "shop.charge"):
        nameless.schedule(name)
    with pytest.raises(ExceptionGroup) as info:
        spinach_worker.drain()
    [remedy] = info.value.__notes__
    for block in (
        "expect_failure(local, ValueError)",
        "expect_failure('nameless', ZeroDivisionError)",
        "expect_failure('shop.charge', ValueError)",
    ):
        assert block in remedy
