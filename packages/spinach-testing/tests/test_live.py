"""The worker that runs during the whole test."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import freezegun
import pytest
import time_machine

from spinach import JobStatus, Tasks
from spinach.exc import InvalidArgument, WorkersRunning
from spinach_memory import MemoryBroker
from spinach_testing import DrainTimeout, UnfinishedJobs, VirtualClock
from spinach_testing.live import live_worker
from spinach_testing.threads import join, of_engine

tasks = Tasks()
gate = threading.Event()
#: What a test puts here runs inside the task `call`.
inside = {}


@tasks.task(name="broken")
def broken(reason):
    raise ValueError(reason)


@tasks.task(name="wait")
def wait():
    assert gate.wait(20)


@tasks.task(name="call")
def call_inside():
    inside["call"]()


@tasks.task(name="quick", max_retries=1)
def quick(): ...


@pytest.fixture(scope="module")
def spinach_tasks():
    return [tasks]


class SlowToAnswer(MemoryBroker):
    """Carries a report out, and answers when the gate is open."""

    def __init__(self, **options):
        super().__init__(**options)
        self.reported = threading.Event()

    def report(self, outcomes):
        reply = super().report(outcomes)
        self.reported.set()
        assert gate.wait(20)
        return reply


@pytest.fixture(autouse=True)
def closed_gate():
    gate.clear()
    yield
    gate.set()


def test_jobs_run_while_the_test_goes_on(spinach_live_worker, spinach_jobs):
    job = tasks.schedule(wait)
    with pytest.raises(DrainTimeout) as raised:
        spinach_live_worker.wait_idle(timeout=0.1)
    assert f"wait() {job.id}, attempt 1, in " in str(raised.value)
    gate.set()
    spinach_live_worker.wait_idle()
    assert spinach_jobs.one().status is JobStatus.SUCCEEDED


def test_an_assertion_that_comes_too_early_says_what_waits(spinach_live_worker, spinach_jobs):
    for _ in range(6):  # one more than there are threads
        tasks.schedule(wait)
    advice = r"ready to run\. spinach_live_worker\.wait_idle\(\) waits for (it|them)\.$"
    with pytest.raises(AssertionError, match=advice):
        spinach_jobs.one(wait, JobStatus.SUCCEEDED)
    gate.set()
    spinach_live_worker.wait_idle()


def test_a_failure_is_acknowledged_even_if_it_came_before_the_block(
    spinach_live_worker, spinach_jobs
):
    tasks.schedule(broken, "no ink")
    spinach_live_worker.wait_idle()
    with spinach_jobs.expect_failure(broken, ValueError) as failed:
        pass
    assert str(failed.value) == "no ink"


class TestOnABrokerThatIsSlowToAnswer:
    @pytest.fixture
    def spinach_broker(self):
        return SlowToAnswer()  # on the machine's clock

    @pytest.mark.concurrency
    def test_it_is_idle_when_the_outcome_is_known(
        self, spinach_live_worker, spinach_jobs, spinach_broker
    ):
        job = tasks.schedule(quick)
        assert spinach_broker.reported.wait(20)
        with pytest.raises(DrainTimeout):
            spinach_live_worker.wait_idle(timeout=0.05)
        gate.set()
        spinach_live_worker.wait_idle()
        assert spinach_jobs.one().status is JobStatus.SUCCEEDED
        assert spinach_jobs.one().id == job.id


def test_a_drain_ends_when_the_outcome_is_known(spinach_worker, spinach_jobs):
    tasks.schedule(quick)
    with spinach_jobs.recording.ledger.call(), pytest.raises(DrainTimeout):
        spinach_worker.drain(timeout=0.05)
    spinach_worker.drain()
    assert spinach_jobs.one().status is JobStatus.SUCCEEDED


def test_time_cannot_be_turned(spinach_live_worker, spinach_clock):
    for turn in (spinach_live_worker.advance, spinach_clock.advance):
        with pytest.raises(WorkersRunning, match="the machine's clock"):
            turn(timedelta(hours=1))


def test_waiting_inside_a_task_is_refused(spinach_live_worker, spinach_jobs):
    inside["call"] = spinach_live_worker.wait_idle
    with spinach_jobs.expect_failure("call", WorkersRunning, match="inside a task"):
        tasks.schedule("call")
        spinach_live_worker.wait_idle()


@pytest.mark.concurrency
def test_waiting_for_workers_that_a_task_has_stopped_ends_at_once(
    spinach_live_worker, spinach_engine
):
    inside["call"] = spinach_engine.stop_workers
    tasks.schedule("call")
    spinach_live_worker.wait_idle(timeout=50)
    assert not join(of_engine(spinach_engine.namespace), 20)
    tasks.schedule(quick)
    with pytest.raises(UnfinishedJobs, match=r"stopped meanwhile[^\0]*quick\(\)  QUEUED"):
        spinach_live_worker.wait_idle(timeout=50)


class TestOnAClockOfTheTests:
    @pytest.fixture
    def spinach_clock(self):
        return VirtualClock()

    def test_a_clock_that_stands_is_named(self, spinach_engine, spinach_clock, request):
        request.node.fixturenames.append("spinach_live_worker")  # as if it were an argument
        with pytest.raises(InvalidArgument) as raised:
            request.getfixturevalue("spinach_live_worker")
        assert str(raised.value) == (
            "spinach_live_worker needs a clock that runs, but the broker's clock stands until it "
            "is turned. It is what the overridden fixture spinach_clock returned. Do not override "
            "spinach_clock for this test: the plugin's own is the machine's clock then."
        )


class TestOnABrokerOfTheTests:
    @pytest.fixture
    def spinach_broker(self):
        return MemoryBroker(clock=VirtualClock())

    def test_a_broker_whose_clock_stands_is_named(self, spinach_engine, request):
        request.node.fixturenames.append("spinach_live_worker")  # as if it were an argument
        with pytest.raises(InvalidArgument, match="the overridden fixture spinach_broker or spina"):
            request.getfixturevalue("spinach_live_worker")


def test_it_has_to_be_an_argument_so_that_the_clock_knows(spinach_engine, request):
    with pytest.raises(InvalidArgument, match="as an argument of the test"):
        request.getfixturevalue("spinach_live_worker")


class TestWithoutTasks:
    @pytest.fixture
    def spinach_tasks(self):
        return []

    def test_it_needs_tasks(self, spinach_engine, spinach_clock, spinach_jobs):
        with (
            pytest.raises(InvalidArgument, match="Override the fixture spinach_tasks"),
            live_worker(spinach_jobs.recording, 1, 1.0),
        ):
            pass


@pytest.mark.parametrize("frozen", [freezegun.freeze_time, time_machine.travel])
def test_a_test_that_freezes_time_does_not_freeze_the_engine(
    spinach_live_worker, spinach_engine, spinach_jobs, frozen
):
    soon = spinach_engine.schedule_at
    with frozen(datetime(2020, 1, 1, tzinfo=UTC)):
        tasks.schedule(quick)
        soon(quick, datetime(2020, 1, 2, tzinfo=UTC))
        spinach_live_worker.wait_idle()
    assert {job.status for job in spinach_jobs.all(quick)} == {JobStatus.SUCCEEDED}


@pytest.mark.parametrize("frozen", [freezegun.freeze_time, time_machine.travel])
def test_a_hang_ends_in_a_frozen_test_as_well(spinach_worker, frozen):
    tasks.schedule(wait)
    with frozen("2020-01-01"), pytest.raises(DrainTimeout):
        spinach_worker.drain(timeout=0.1)
    gate.set()
