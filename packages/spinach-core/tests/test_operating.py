"""Queues, workers, limits and periodic tasks, as operators see and steer them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from spinach import AbortException, Engine, JobStatus, Tasks
from spinach.brokers.calls import FlowSample, QueueSurvey
from spinach.const import FINE_SAMPLE_MS, PURGE_CHUNK, VERSION
from spinach.exc import BrokerUnavailable, InvalidArgument, InvalidName, UnknownQueue, UnknownTask
from spinach.operating.flow import flow_over
from spinach.operating.queues import PurgeProgress
from spinach.record.ids import stored_id

from .support import Bench

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Shop:
    """An engine with a few tasks, and what they did."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.gate = threading.Event()
        self.began = threading.Semaphore(0)
        self.ticks: list[datetime] = []
        self.tasks = Tasks()
        self.tasks.add(self.wait, "wait", max_concurrency=2)
        self.tasks.add(self.quick, "quick", max_retries=1)
        self.tasks.add(self.give_up, "give.up", queue="mail")
        self.tasks.add(self.tick, "tick", periodicity=MINUTE)
        self.spin = bench.engine(self.tasks, namespace="shop")

    def wait(self) -> None:
        self.began.release()
        assert self.gate.wait(20)

    def quick(self) -> None: ...

    def give_up(self) -> None:
        raise AbortException("no")

    def tick(self) -> None:
        self.ticks.append(self.bench.clock.now())

    def work(self, number: int = 1, **options: Any) -> None:
        self.spin.start_workers(number, ("spinach", "mail"), block=False, **options)
        self.bench.settle()


@pytest.fixture
def shop(bench: Bench) -> Iterator[Shop]:
    shop = Shop(bench)
    yield shop
    shop.gate.set()


# -- queues -------------------------------------------------------------------------


def test_queues_that_took_nothing_are_not_listed(shop: Shop) -> None:
    assert shop.spin.queues.list() == []
    view = shop.spin.queues.get("mail")
    assert (view.unfinished, view.workers, view.last_minute, view.oldest_ready) == (
        0,
        0,
        None,
        None,
    )


def test_a_view_tells_each_place_and_the_age_of_the_first_job(shop: Shop, bench: Bench) -> None:
    now = bench.clock.now()
    shop.spin.schedule("quick")
    shop.spin.schedule("quick")
    shop.spin.schedule_at("quick", now + HOUR)
    shop.spin.schedule("give.up")
    shop.spin.start_workers(1, "mail", stop_when_queue_empty=True)
    bench.advance(5 * MINUTE)
    mail, spinach = shop.spin.queues.list()
    assert (mail.name, mail.failed, mail.unfinished) == ("mail", 1, 0)
    assert (spinach.name, spinach.ready, spinach.waiting) == ("spinach", 2, 1)
    assert spinach.oldest_ready == 5 * MINUTE
    assert spinach.next_due_in == 55 * MINUTE
    assert spinach.unfinished == 3
    assert not spinach.paused


def test_a_first_job_that_cannot_be_read_has_no_age(shop: Shop) -> None:
    from spinach.brokers.calls import Deposit

    deposit = Deposit("spinach", stored_id("x", 1), b"9|of a newer release")
    shop.bench.brokers[shop.spin].enqueue([deposit])
    view = shop.spin.queues.get("spinach")
    assert (view.ready, view.oldest_ready) == (1, None)


def test_the_flow_tells_how_many_jobs_came_and_ended(shop: Shop, bench: Bench) -> None:
    shop.work()
    for _ in range(6):
        shop.spin.schedule("quick")
        bench.advance(20 * SECOND)
    view = shop.spin.queues.get("spinach")
    assert view.last_minute is not None
    assert view.last_hour is not None
    assert MINUTE <= view.last_minute.over <= MINUTE + timedelta(milliseconds=FINE_SAMPLE_MS)
    # Three jobs of ours, and the ticks at both ends or at one.
    assert view.last_minute.came == view.last_minute.ended
    assert view.last_minute.ended in (4, 5)
    assert 4 / 70 <= view.last_minute.ended_per_second <= 5 / 60
    assert view.last_minute.came_per_second == view.last_minute.ended_per_second
    # Younger than an hour, so from its beginning on.
    assert view.last_hour.over == 2 * MINUTE
    assert view.last_hour.came == 6 + 2


def sample(at_ms: int, number: int = 0) -> FlowSample:
    return FlowSample(at_ms=at_ms, came=number, ended=number)


def survey(*samples: FlowSample) -> QueueSurvey:
    return QueueSurvey(queue="q", now_ms=1_000_000, came=100, ended=90, samples=samples)


def test_a_span_begins_with_the_youngest_sample_that_is_old_enough() -> None:
    samples = [sample(910_000, 10), sample(935_000, 20), sample(995_000, 30)]
    flow = flow_over(survey(*samples), MINUTE)
    assert flow is not None
    assert (flow.came, flow.ended, flow.over) == (80, 70, timedelta(seconds=65))
    flow = flow_over(survey(*samples), HOUR)
    assert flow is not None
    assert (flow.came, flow.over) == (90, timedelta(seconds=90))


def test_samples_of_a_clock_that_was_set_back_do_not_count() -> None:
    assert flow_over(survey(sample(1_000_000), sample(2_000_000)), MINUTE) is None
    flow = flow_over(survey(sample(2_000_000, 95), sample(900_000, 95)), MINUTE)
    assert flow is not None
    # A store that went back to an earlier state.
    assert (flow.came, flow.ended) == (5, 0)


def test_a_paused_queue_waits_and_goes_on(shop: Shop, bench: Bench) -> None:
    shop.work()
    assert shop.spin.queues.pause("spinach")
    assert not shop.spin.queues.pause("spinach")
    job = shop.spin.schedule("quick")
    bench.advance(3 * MINUTE)
    view = shop.spin.queues.get("spinach")
    # Ticks are scheduled as ever.
    assert (view.paused, view.ready, len(shop.ticks)) == (True, 1 + 3, 0)
    assert view.oldest_ready == bench.clock.now() - job.at
    assert shop.spin.queues.resume("spinach")
    assert not shop.spin.queues.resume("spinach")
    bench.settle()
    assert shop.spin.queues.get("spinach").unfinished == 0
    assert len(shop.ticks) == 3


def test_jobs_that_run_end_in_a_paused_queue(shop: Shop, bench: Bench) -> None:
    shop.spin.schedule("wait")
    bench.busy = 1
    shop.work()
    assert shop.began.acquire(timeout=20)
    shop.spin.queues.pause("spinach")
    assert shop.spin.queues.get("spinach").leased == 1
    shop.gate.set()
    bench.busy = 0
    bench.settle()
    assert shop.spin.queues.get("spinach").leased == 0


def test_workers_that_stop_when_queues_are_empty_wait_for_the_end_of_a_pause(
    shop: Shop, bench: Bench
) -> None:
    shop.spin.schedule("quick")
    shop.spin.queues.pause("spinach")
    shop.work(stop_when_queue_empty=True)
    bench.advance(MINUTE / 2)
    assert shop.spin.queues.get("spinach").workers == 1
    shop.spin.queues.resume("spinach")
    bench.advance(2 * SECOND)
    assert shop.spin.queues.get("spinach").workers == 0
    assert shop.spin.queues.get("spinach").unfinished == 0


def test_workers_that_stop_when_queues_are_empty_stop_where_a_paused_one_is(
    shop: Shop, bench: Bench
) -> None:
    shop.spin.queues.pause("spinach")
    shop.work(stop_when_queue_empty=True)
    bench.advance(5 * SECOND)
    assert shop.spin.queues.get("spinach").workers == 0


def test_a_purge_takes_what_waits_in_parts_and_tells_how_far_it_is(
    shop: Shop, bench: Bench
) -> None:
    from spinach import Batch

    batch = Batch()
    for _ in range(2 * PURGE_CHUNK):
        batch.schedule("quick")
    batch.schedule_at("quick", bench.clock.now() + HOUR)
    shop.spin.schedule_batch(batch)
    told: list[PurgeProgress] = []
    assert shop.spin.queues.purge("spinach", progress=told.append) == 2 * PURGE_CHUNK + 1
    assert [(each.removed, each.total) for each in told] == [
        (PURGE_CHUNK, 2 * PURGE_CHUNK + 1),
        (2 * PURGE_CHUNK, 2 * PURGE_CHUNK + 1),
        (2 * PURGE_CHUNK + 1, 2 * PURGE_CHUNK + 1),
    ]
    assert told[0].queue == "spinach"
    assert shop.spin.queues.get("spinach").unfinished == 0
    assert shop.spin.queues.purge("spinach") == 0


def test_a_purge_that_is_interrupted_has_forgotten_what_it_told(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    from spinach import Batch

    batch = Batch()
    for _ in range(PURGE_CHUNK + 7):
        batch.schedule("quick")
    shop.spin.schedule_batch(batch)

    def enough(progress: PurgeProgress) -> None:
        raise KeyboardInterrupt

    with (
        caplog.at_level("INFO", "spinach.engine"),
        pytest.raises(KeyboardInterrupt) as broken_off,
    ):
        shop.spin.queues.purge("spinach", progress=enough)
    [note] = broken_off.value.__notes__
    assert note.startswith(f"At least {PURGE_CHUNK} jobs of queue spinach were forgotten")
    assert f"Queue spinach was purged of {PURGE_CHUNK} jobs" in caplog.text
    assert shop.spin.queues.get("spinach").ready == 7
    assert shop.spin.queues.purge("spinach") == 7


def test_a_purge_ends_although_jobs_keep_coming(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spinach.operating.queues.PURGE_CHUNK", 1)
    for _ in range(3):
        shop.spin.schedule("quick")

    def more(progress: PurgeProgress) -> None:
        assert progress.removed <= progress.total
        shop.spin.schedule("quick")

    assert shop.spin.queues.purge("spinach", JobStatus.QUEUED, progress=more) == 3
    assert shop.spin.queues.get("spinach").ready == 3


def test_a_purge_of_failed_jobs_leaves_all_others(shop: Shop) -> None:
    shop.spin.schedule("give.up")
    shop.spin.start_workers(1, "mail", stop_when_queue_empty=True)
    shop.spin.schedule("give.up")
    assert shop.spin.queues.purge("mail", JobStatus.FAILED) == 1
    view = shop.spin.queues.get("mail")
    assert (view.failed, view.ready) == (0, 1)
    assert shop.spin.failed.list("mail") == []


def test_a_purge_is_logged(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.spin.schedule("quick")
    with caplog.at_level("INFO", "spinach.engine"):
        shop.spin.queues.purge("spinach")
    assert "Queue spinach was purged of 1 jobs" in caplog.text


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (JobStatus.RUNNING, "a job that runs cannot be purged"),
        (JobStatus.SUCCEEDED, "expected JobStatus.QUEUED, WAITING or FAILED"),
        ("queued", "status is 'queued', expected JobStatus"),
        ([JobStatus.QUEUED, None], "status is None, expected JobStatus"),
        ([], "status is empty"),
        (None, "status is None"),
    ],
)
def test_only_jobs_that_wait_or_failed_can_be_purged(shop: Shop, status: Any, message: str) -> None:
    shop.spin.schedule("quick")
    with pytest.raises(InvalidArgument, match=message):
        shop.spin.queues.purge("spinach", status)
    assert shop.spin.queues.get("spinach").ready == 1


@pytest.mark.parametrize("call", ["get", "pause", "resume", "purge"])
def test_a_queue_that_nobody_knows_is_an_error_that_names_those_there_are(
    shop: Shop, call: str
) -> None:
    shop.spin.schedule("quick")
    method = getattr(shop.spin.queues, call)
    with pytest.raises(UnknownQueue, match=r"Did you mean 'spinach'.*of namespace 'shop': mail, s"):
        method("spinac")
    with pytest.raises(InvalidName):
        method("no name")
    with pytest.raises(LookupError):
        shop.spin.workers.list("spinac")


def test_a_store_that_cannot_count_is_an_error(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from spinach.brokers.calls import QueueCounts, Verdict

    away = BrokerUnavailable("away")
    counted = [QueueCounts(verdict=Verdict.UNKNOWN, error=away, queue="spinach")]
    broker = shop.bench.brokers[shop.spin]
    monkeypatch.setattr(broker, "counts", lambda queues: counted)
    with pytest.raises(BrokerUnavailable, match="away"):
        shop.spin.queues.get("spinach")


# -- workers ------------------------------------------------------------------------


def test_a_worker_tells_where_it_is_and_what_it_runs(shop: Shop, bench: Bench) -> None:
    bench.advance(MINUTE)
    shop.work(number=3)
    began = bench.clock.now()
    bench.advance(2 * MINUTE)
    job = shop.spin.schedule("wait")
    bench.busy = 1
    assert shop.began.acquire(timeout=20)
    scheduled = bench.clock.now()
    bench.advance(MINUTE / 2)
    [worker] = shop.spin.workers.list()
    assert worker.host
    assert (worker.pid, worker.version, worker.threads) == (os.getpid(), VERSION, 3)
    assert worker.queues == ("mail", "spinach")
    assert worker.alive
    assert bench.clock.now() - worker.last_seen <= 10 * SECOND
    assert worker.last_seen > began
    [leased] = worker.jobs
    assert (leased.id, leased.task, leased.queue) == (job.id, "wait", "spinach")
    assert (leased.attempt, leased.buffered, worker.leased) == (1, False, 1)
    # The clock stood while the job was fetched; the store keeps whole milliseconds.
    assert leased.since is not None
    assert timedelta(0) <= scheduled - leased.since < timedelta(milliseconds=1)


def test_workers_of_one_queue_can_be_asked_for(shop: Shop, bench: Bench) -> None:
    other = bench.engine(Tasks(), namespace="shop")
    other.start_workers(1, "mail", block=False)
    shop.spin.start_workers(1, block=False)
    bench.settle()
    assert [each.queues for each in shop.spin.workers.list()] in (
        [("mail",), ("spinach",)],
        [("spinach",), ("mail",)],
    )
    [worker] = shop.spin.workers.list("mail")
    assert worker.queues == ("mail",)


def test_a_worker_that_stopped_is_not_listed(shop: Shop) -> None:
    shop.work()
    shop.spin.stop_workers()
    assert shop.spin.workers.list() == []


def test_two_pools_of_one_process_are_two_workers(shop: Shop, bench: Bench) -> None:
    other = bench.engine(Tasks(), namespace="shop")
    other.start_workers(2, block=False)
    shop.spin.start_workers(1, block=False)
    bench.settle()
    assert sorted(each.threads or 0 for each in shop.spin.workers.list()) == [1, 2]


# -- limits -------------------------------------------------------------------------


def test_a_limit_that_is_set_holds_for_all_workers_until_it_is_taken_back(
    shop: Shop, bench: Bench
) -> None:
    for _ in range(4):
        shop.spin.schedule("wait")
    shop.spin.limits.set("wait", 1)
    bench.busy = 1
    shop.work(number=4)
    assert shop.began.acquire(timeout=20)
    # The first fetch may have been for one thread.
    bench.settle()
    [limit] = shop.spin.limits.list()
    assert (limit.task, limit.queue) == ("wait", "spinach")
    assert (limit.limit, limit.override, limit.declared) == (1, 1, 2)
    assert (limit.taken, len(limit.holders), limit.waiting) == (1, 1, 3)
    bench.busy = 3
    shop.spin.limits.set(shop.wait, 3)
    assert shop.began.acquire(timeout=20)
    assert shop.began.acquire(timeout=20)
    bench.settle()
    [limit] = shop.spin.limits.list()
    assert (limit.limit, limit.taken, limit.waiting) == (3, 3, 1)
    shop.spin.limits.set("wait", None)
    [limit] = shop.spin.limits.list()
    assert (limit.limit, limit.override, limit.taken) == (2, None, 3)
    bench.busy = 0


def test_a_task_that_is_not_attached_is_found_where_it_is_limited(shop: Shop, bench: Bench) -> None:
    shop.work()
    console = bench.engine(namespace="shop")
    console.limits.set("wait", 7)
    assert [(each.queue, each.override) for each in console.limits.list()] == [("spinach", 7)]
    console.limits.set("give.up", 1, queue="mail")
    assert [each.task for each in console.limits.list()] == ["give.up", "wait"]
    with pytest.raises(
        UnknownTask, match=r"Did you mean 'give\.up'.*Limited tasks: give\.up, wait"
    ):
        console.limits.set("give.it", 1)
    with pytest.raises(UnknownQueue):
        console.limits.set("wait", 1, queue="mial")
    with pytest.raises(UnknownTask):
        console.limits.set(shop.wait, 1)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "2"])
def test_a_limit_is_a_number_of_jobs(shop: Shop, limit: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"limit is .*, expected an int from 1"):
        shop.spin.limits.set("wait", limit)
    assert shop.spin.limits.list() == []


# -- periodic tasks -----------------------------------------------------------------


def test_a_paused_periodic_task_goes_on_along_its_grid(shop: Shop, bench: Bench) -> None:
    shop.work()
    begin = bench.clock.now()
    [view] = shop.spin.periodic.list()
    assert (view.task, view.queue, view.period, view.paused) == ("tick", "spinach", MINUTE, False)
    assert view.next_due == begin + MINUTE
    assert shop.spin.periodic.pause("tick")
    assert not shop.spin.periodic.pause("tick")
    bench.advance(2.5 * MINUTE)
    [view] = shop.spin.periodic.list()
    assert (view.paused, view.next_due, shop.ticks) == (True, None, [])
    assert shop.spin.periodic.resume(shop.tick)
    assert not shop.spin.periodic.resume("tick")
    [view] = shop.spin.periodic.list()
    assert view.next_due == begin + 3 * MINUTE
    bench.advance(1.5 * MINUTE)
    assert shop.ticks == [begin + 3 * MINUTE, begin + 4 * MINUTE]


def test_a_periodic_task_stays_paused_over_restarts(shop: Shop, bench: Bench) -> None:
    shop.work()
    shop.spin.periodic.pause("tick")
    shop.spin.stop_workers()
    bench.advance(HOUR)
    shop.work()
    bench.advance(3 * MINUTE)
    assert shop.ticks == []
    console = bench.engine(namespace="shop")
    assert console.periodic.resume("tick")
    bench.advance(MINUTE)
    assert len(shop.ticks) == 1


def test_a_periodic_task_runs_now_and_keeps_its_grid(shop: Shop, bench: Bench) -> None:
    shop.work()
    begin = bench.clock.now()
    bench.advance(10 * SECOND)
    shop.spin.periodic.pause("tick")
    job = shop.spin.periodic.run_now("tick")
    assert (job.task_name, job.status) == ("tick", JobStatus.QUEUED)
    bench.settle()
    assert shop.ticks == [begin + 10 * SECOND]
    shop.spin.periodic.resume("tick")
    bench.advance(MINUTE)
    assert shop.ticks == [begin + 10 * SECOND, begin + MINUTE]


def test_only_a_periodic_task_runs_ahead_of_its_time(shop: Shop) -> None:
    with pytest.raises(InvalidArgument, match=r"'quick' is not periodic.*schedule\('quick'\)"):
        shop.spin.periodic.run_now("quick")
    with pytest.raises(UnknownTask):
        shop.spin.periodic.run_now("tack")


def test_a_periodic_task_that_no_worker_declared_cannot_be_paused(shop: Shop) -> None:
    with pytest.raises(UnknownTask, match=r"declared: none\. .*once a worker of its queue"):
        shop.spin.periodic.pause("tick")
    shop.work()
    with pytest.raises(UnknownTask, match="Did you mean 'tick'"):
        shop.spin.periodic.resume("tack")
    with pytest.raises(InvalidName):
        shop.spin.periodic.pause("no name")


# -- the engine ---------------------------------------------------------------------


def test_operators_see_the_broker_that_the_engine_has_now(shop: Shop) -> None:
    from spinach import MemoryBroker

    shop.spin.schedule("quick")
    with shop.spin.using_broker(MemoryBroker()):
        assert shop.spin.queues.list() == []
    assert [each.name for each in shop.spin.queues.list()] == ["spinach"]


def test_another_namespace_is_another_world(shop: Shop, bench: Bench) -> None:
    shop.spin.schedule("quick")
    other: Engine = bench.engine(namespace="other")
    assert other.queues.list() == []
    with pytest.raises(UnknownQueue, match="Queues of namespace 'other': none"):
        other.queues.pause("spinach")
