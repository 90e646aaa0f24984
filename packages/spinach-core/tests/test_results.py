"""Results as a program asks for them: what comes back, and what each refusal says."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from spinach import Batch, Engine, Job, JobStatus, MemoryBroker, Tasks, signals
from spinach.brokers.calls import Ending, JobEnd
from spinach.exc import (
    InvalidArgument,
    InvalidTask,
    JobFailed,
    NoResult,
    ResultExpired,
    ResultTimeout,
    WaitInWorker,
)
from spinach.job import job_from_record
from spinach.outcome import OutcomeKind
from spinach.record.header import read_header
from spinach.record.ids import stored_id
from spinach.record.options import read_options
from spinach.results import results_of
from spinach_memory import MemoryStore
from spinach_testing.clock import VirtualClock

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
LONG = timedelta(seconds=30)


class Shop:
    """An engine whose tasks keep their results."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.broker = MemoryBroker(store)
        self.spin = Engine(self.broker, namespace="shop")
        self.tasks = Tasks(keep_result=HOUR)
        self.spin.attach_tasks(self.tasks)

    def job(self, function: Callable[..., Any], *args: Any, **options: Any) -> Job[Any]:
        """A job of a function, scheduled."""
        self.tasks.add(function, name="task", replace=True, **options)
        return self.spin.schedule("task", *args)

    def run(self) -> None:
        """Run all jobs there are."""
        self.spin.start_workers(2, stop_when_queue_empty=True)

    def told(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """What a job of that function answers."""
        job = self.job(function, *args, **options)
        self.run()
        return self.spin.result(job, timeout=LONG)


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.spin.stop_workers()


# -- what comes back ----------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 2**70, 1.5, "", "héllo 😀", [], {}, {"a": [1, {"b": None}]}, [[[]]]],
    ids=repr,
)
def test_result_comes_back_equal_and_of_its_type(shop: Shop, value: object) -> None:
    found = shop.told(lambda: value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({1, 2}, "in the result of"),
        (b"x", "in the result of"),
        (float("nan"), "in the result of"),
        ([1, [2, object()]], r"in the result\[1\]\[1\] of"),
        ({"a": {"b": 1j}}, r"in the result\['a'\]\['b'\] of"),
        ({1: 2}, "keys must be str"),
        ((1, 2), "a tuple would come back as a list"),
        ({"pair": (1, 2)}, r"in the result\['pair'\] of .* a tuple would come back as a list"),
        ("\ud800", "The result of task 'task' holds text with a lone surrogate"),
        (10**5000, "The result of task 'task' holds an int with more digits"),
    ],
    ids=lambda each: repr(each)[:20] if not isinstance(each, int) else "digits",
)
def test_value_that_would_not_come_back_equal_fails_the_job(
    shop: Shop, value: object, place: str
) -> None:
    # For good: another attempt would return it as well.
    with pytest.raises(JobFailed, match=place) as told:
        shop.told(lambda: value, max_retries=5)
    assert told.value.error == "spinach.exc.InvalidArgument"
    [entry] = shop.spin.failed.list()
    assert entry.job.retries == 0


def test_result_that_contains_itself_fails_the_job(shop: Shop) -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(JobFailed, match=r"(?i)the result of task 'task' is nested"):
        shop.told(lambda: circle)


def test_result_beyond_the_limit_fails_the_job() -> None:
    shop = Shop()
    shop.broker.max_payload_bytes = 100
    with pytest.raises(JobFailed, match="The encoded result of task 'task' has 102 bytes") as told:
        shop.told(lambda: "x" * 100)
    assert told.value.error == "spinach.exc.PayloadTooLarge"


def test_task_that_keeps_nothing_may_return_anything(shop: Shop) -> None:
    plain = Tasks()
    plain.add(lambda: {object()}, name="plain")
    shop.spin.attach_tasks(plain)
    shop.spin.schedule("plain")
    shop.run()
    assert shop.spin.failed.list() == []


def test_result_may_be_asked_for_again_and_by_another_engine() -> None:
    store = MemoryStore()
    here, there = Shop(store), Shop(store)
    job = here.job(lambda: [1])
    there.tasks.add(lambda: [2], name="task")
    there.run()
    assert here.spin.result(job, timeout=LONG) == [2]
    assert there.spin.result(job, timeout=timedelta(0)) == [2]


def test_failure_tells_the_last_attempt(shop: Shop) -> None:
    attempts: list[int] = []

    def flaky() -> None:
        attempts.append(1)
        raise OSError(f"attempt {len(attempts)}")

    with pytest.raises(JobFailed, match=r"builtins\.OSError: attempt 3") as told:
        shop.told(flaky, max_retries=2, backoff=lambda _: timedelta(0))
    assert told.value.message == "attempt 3"
    assert 'raise OSError(f"attempt' in told.value.traceback


def test_retried_from_the_failed_store_it_has_not_failed_any_more(shop: Shop) -> None:
    answers: list[object] = [ValueError("no"), 7]

    def answer() -> object:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    job = shop.job(answer)
    shop.run()
    with pytest.raises(JobFailed):
        shop.spin.result(job, timeout=LONG)
    assert shop.spin.failed.retry(job) == 1
    with pytest.raises(ResultTimeout):
        shop.spin.result(job, timeout=timedelta(0))
    shop.run()
    assert shop.spin.result(job, timeout=LONG) == 7


@pytest.mark.parametrize(
    ("kind", "reason", "text"),
    [
        (OutcomeKind.CANCELLED, "cancelled", "was cancelled"),
        (OutcomeKind.EXPIRED, "expired", "expired before its next attempt began"),
    ],
)
def test_job_that_did_not_run_to_its_end_has_no_result(
    shop: Shop, kind: OutcomeKind, reason: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import msgspec

    report = shop.broker.report
    monkeypatch.setattr(
        shop.broker,
        "report",
        lambda outcomes: report(
            [msgspec.structs.replace(each, kind=kind, result=None) for each in outcomes]
        ),
    )
    with pytest.raises(NoResult, match=text) as told:
        shop.told(lambda: 1)
    assert told.value.reason == reason


# -- waiting ------------------------------------------------------------------------


def test_wait_ends_when_the_job_does(shop: Shop) -> None:
    go = threading.Event()
    shop.spin.start_workers(1, block=False)

    def waits() -> str:
        assert go.wait(30)
        return "done"

    job = shop.job(waits)
    with pytest.raises(ResultTimeout, match=r"has not ended after 0\.05 s"):
        shop.spin.result(job, timeout=timedelta(seconds=0.05))
    threading.Timer(0.05, go.set).start()
    assert shop.spin.result(job, timeout=None) == "done"


def test_results_come_in_the_order_asked_for(shop: Shop) -> None:
    shop.spin.start_workers(3, block=False)
    shop.tasks.add(lambda n: n, name="task")
    batch = Batch()
    for n in range(700):
        batch.schedule("task", n)
    jobs = shop.spin.schedule_batch(batch)
    assert shop.spin.results(reversed(jobs), timeout=LONG) == [*reversed(range(700))]
    assert shop.spin.results(iter(jobs[:3]), timeout=timedelta(0)) == [0, 1, 2]
    assert shop.spin.results([], timeout=timedelta(0)) == []


class OneASecond:
    """A broker to ask for results: one job after the other ends, one in a second of its clock."""

    def __init__(self, jobs: list[Job[Any]], keep: timedelta) -> None:
        self.clock = VirtualClock()
        self.looks = 0
        self._begun = self.clock.monotonic()
        self._keep = keep.total_seconds()
        self._number = {stored_id(job.id_text, job.max_retries): n for n, job in enumerate(jobs)}

    def job_ends(self, queue: str, stored_ids: list[str]) -> list[JobEnd]:
        self.looks += 1
        return [self.await_end(queue, each, 0.0) for each in stored_ids]

    def await_end(self, queue: str, wanted: Any, seconds: float) -> JobEnd:
        number = self._number[wanted]
        passed = self.clock.monotonic() - self._begun
        wait = min(seconds, max(0.0, number + 1 - passed))
        self.clock.advance(timedelta(seconds=wait))
        passed += wait
        if passed < number + 1:
            return JobEnd(ending=Ending.PENDING)
        if passed < number + 1 + self._keep:
            return JobEnd(ending=Ending.SUCCEEDED, result=b"%d" % number)
        return JobEnd(ending=Ending.ABSENT)


@pytest.mark.parametrize(
    ("keep", "looks"), [(SECOND, 20), (HOUR, 2)], ids=["kept shortly", "kept for long"]
)
def test_wait_for_many_hears_of_each_while_it_is_kept(
    shop: Shop, keep: timedelta, looks: int
) -> None:
    jobs = [shop.job(int, n, keep_result=keep) for n in range(9)]
    broker: Any = OneASecond(jobs, keep)
    assert results_of(broker, "shop", jobs, 30.0) == [*range(9)]
    assert broker.looks <= looks
    with pytest.raises(ResultTimeout):
        results_of(OneASecond(jobs, keep), "shop", jobs, 8.5)  # type: ignore[arg-type]


def test_results_of_one_job_named_twice_come_twice(shop: Shop) -> None:
    shop.spin.start_workers(1, block=False)
    job = shop.job(lambda: 5)
    assert shop.spin.results([job, job], timeout=LONG) == [5, 5]


def test_results_that_are_there_take_one_call_for_each_queue(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.tasks.add(lambda n: n, name="one", queue="one")
    shop.tasks.add(lambda n: n, name="two", queue="two")
    jobs = [shop.spin.schedule(("one", "two")[n % 2], n) for n in range(10)]
    shop.spin.start_workers(2, queue=["one", "two"], stop_when_queue_empty=True)
    calls: list[str] = []
    for name in ("job_ends", "await_end"):
        method = getattr(shop.broker, name)
        monkeypatch.setattr(
            shop.broker, name, lambda *a, m=method, n=name: (calls.append(n), m(*a))[1]
        )
    assert shop.spin.results(jobs, timeout=LONG) == [*range(10)]
    assert calls == ["job_ends", "job_ends"]
    calls.clear()
    assert shop.spin.result(jobs[0], timeout=LONG) == 0
    assert calls == ["await_end"]


def test_first_job_without_a_result_ends_the_wait_for_many(shop: Shop) -> None:
    shop.tasks.add(lambda: 1 / 0, name="fails")
    shop.tasks.add(lambda: None, name="waits", queue="nobody")
    jobs = [shop.spin.schedule("waits"), shop.spin.schedule("fails")]
    shop.run()
    with pytest.raises(JobFailed, match="ZeroDivisionError"):
        shop.spin.results(jobs, timeout=None)


def test_interrupted_wait_leaves_nothing_behind(shop: Shop) -> None:
    job = shop.job(lambda: 3)

    def wait_for_the_alarm() -> None:
        # Set in here: on a busy machine it may ring at once.
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        shop.spin.result(job, timeout=None)

    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            wait_for_the_alarm()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    queue = shop.broker.store.shelves().queue("shop", "spinach")
    assert queue.results.waiters == {}
    shop.run()
    assert shop.spin.result(job, timeout=LONG) == 3


@pytest.mark.concurrency
def test_many_threads_get_their_own_results(shop: Shop) -> None:
    shop.spin.start_workers(3, block=False)
    shop.tasks.add(lambda n: n, name="task")
    found: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        jobs = [shop.spin.schedule("task", 100 * number + n) for n in range(20)]
        found[number] = [shop.spin.result(job, timeout=LONG) for job in jobs]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {k: [100 * k + n for n in range(20)] for k in range(5)}


def test_result_is_reported_without_a_pause(shop: Shop) -> None:
    shop.spin.start_workers(1, block=False)
    shop.tasks.add(lambda: None, name="task")
    took = []
    for _ in range(30):
        began = time.perf_counter()
        shop.spin.result(shop.spin.schedule("task"), timeout=LONG)
        took.append(time.perf_counter() - began)
    # Reports begin two ms apart unless someone may wait.
    assert min(took) < 0.002


# -- refusals -----------------------------------------------------------------------


def test_worker_thread_may_look_and_not_wait(shop: Shop) -> None:
    def whole() -> str:
        part = shop.spin.schedule("part")
        for wait in (
            lambda: shop.spin.result(part, timeout=SECOND),
            lambda: shop.spin.results([part], timeout=None),
        ):
            with pytest.raises(WaitInWorker, match=r"(?s)a thread of this engine.*follow"):
                wait()
        with pytest.raises(ResultTimeout):
            shop.spin.result(part, timeout=timedelta(0))
        return "refused"

    shop.tasks.add(lambda: 1, name="part", queue="nobody")
    assert shop.told(whole) == "refused"


def test_worker_of_another_engine_may_wait(shop: Shop) -> None:
    other = Shop()
    shop.spin.start_workers(1, block=False)
    job = shop.job(lambda: 4)
    assert other.told(lambda: shop.spin.result(job, timeout=LONG)) == 4


def test_task_that_keeps_no_result_is_told_at_once(shop: Shop) -> None:
    plain = Tasks()
    plain.add(print, name="plain")
    shop.spin.attach_tasks(plain)
    job = shop.spin.schedule("plain")
    assert not job.keeps_result
    with pytest.raises(ResultExpired, match=r"'plain' asked for none .* keep_result="):
        shop.spin.result(job, timeout=None)
    with pytest.raises(ResultExpired, match="asked for none"):
        shop.spin.results([job], timeout=None)


def test_job_that_is_not_known_has_no_result_to_wait_for(shop: Shop) -> None:
    job = shop.job(lambda: 1)
    empty = Shop()
    with pytest.raises(ResultExpired, match="is not kept any more, or the job was removed"):
        empty.spin.result(job, timeout=None)


def test_job_of_another_namespace_is_refused(shop: Shop) -> None:
    job = shop.job(lambda: 1)
    blog = Engine(MemoryBroker(), namespace="blog")
    with pytest.raises(InvalidArgument, match="namespace 'shop', and this engine has 'blog'"):
        blog.result(job, timeout=None)


@pytest.mark.parametrize("timeout", [-SECOND, 5, "1", 1.5])
def test_timeout_that_makes_no_sense_is_refused(shop: Shop, timeout: Any) -> None:
    job = shop.job(lambda: 1)
    with pytest.raises(InvalidArgument, match=r"timeout is .* expected a timedelta of at least 0"):
        shop.spin.result(job, timeout=timeout)
    with pytest.raises(InvalidArgument, match="timeout is"):
        shop.spin.results([job], timeout=timeout)


@pytest.mark.parametrize("job", [None, "id", 3])
def test_what_is_no_job_is_refused(shop: Shop, job: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"is not a job\. Pass what schedule"):
        shop.spin.result(job, timeout=None)
    with pytest.raises(InvalidArgument, match="is not a job"):
        shop.spin.results([job], timeout=None)


def test_results_of_a_single_job_are_refused(shop: Shop) -> None:
    job: Any = shop.job(lambda: 1)
    for jobs in (job, 5):
        with pytest.raises(InvalidArgument, match=r"(?s)expected jobs.*call result\(\)"):
            shop.spin.results(jobs, timeout=None)


@pytest.mark.parametrize(
    "keep", [timedelta(0), -SECOND, timedelta(milliseconds=999), timedelta(days=367), 60, "1h"]
)
def test_span_that_makes_no_sense_is_refused(keep: Any) -> None:
    tasks = Tasks()
    with pytest.raises(InvalidTask, match="keep_result is"):
        tasks.task(name="a", keep_result=keep)(print)
    with pytest.raises(InvalidTask, match="keep_result is"):
        tasks.add(print, "a", keep_result=keep)
    with pytest.raises(InvalidTask, match="keep_result is"):
        Tasks(keep_result=keep)


# -- records and snapshots ----------------------------------------------------------


def test_record_says_how_long_its_result_is_kept() -> None:
    broker = MemoryBroker()
    spin = Engine(broker)
    registry = Tasks(keep_result=HOUR)
    registry.add(print, "default")
    registry.add(print, "own", keep_result=SECOND)
    spin.attach_tasks(registry)
    spin.task(name="none")(print)
    for name, flags, keep_ms in (("default", "r", 3_600_000), ("own", "r", 1000)):
        job = spin.schedule(name)
        [record] = [
            each.record
            for each in broker.store.shelves().queue("spinach", "spinach").jobs.values()
            if each.stored_id[1:] == job.id_text
        ]
        assert read_header(record).flags == flags
        assert read_options(record).keep_ms == keep_ms
        assert job.keeps_result
        sid = stored_id(job.id_text, 0)
        again = job_from_record(sid, record, retries=0, status=JobStatus.QUEUED)
        assert again.keeps_result
        assert job.with_status(JobStatus.RUNNING).keeps_result
    assert registry.get("own").keep_result == SECOND
    assert spin.schedule("none").keeps_result is False


def test_snapshot_of_a_signal_can_be_asked_for_the_result(shop: Shop) -> None:
    heard: list[Job[Any]] = []

    def on_finished(_: object, job: Job[Any], **__: object) -> None:
        heard.append(job)

    with signals.job_finished.connected_to(on_finished, sender="shop"):
        assert shop.told(lambda: 9) == 9
    assert shop.spin.result(heard[0], timeout=LONG) == 9


def test_options_of_a_call_go_with_the_result_of_the_task() -> None:
    from spinach_testing.clock import VirtualClock

    clock = VirtualClock()
    spin = Engine(MemoryBroker(clock=clock))
    spin.task(name="task", keep_result=HOUR)(lambda: 1)
    options = spin.options(headers={"trace": "4f2a"}, expires_in=SECOND)
    done = options.schedule("task")
    assert done.keeps_result
    assert done.options is not None
    assert (done.options.flags, done.headers, done.options.keep_ms) == (
        *("hrx", {"trace": "4f2a"}, 3_600_000),
    )
    spin.start_workers(1, stop_when_queue_empty=True)
    assert spin.result(done, timeout=timedelta(0)) == 1
    late = options.schedule("task")
    clock.advance(HOUR)
    spin.start_workers(1, stop_when_queue_empty=True)
    with pytest.raises(NoResult, match="expired before its next attempt began"):
        spin.result(late, timeout=timedelta(0))


def test_periodic_task_may_keep_results(shop: Shop) -> None:
    ran = threading.Event()
    heard: list[Job[Any]] = []

    def on_finished(_: object, job: Job[Any], **__: object) -> None:
        heard.append(job)
        ran.set()

    with signals.job_finished.connected_to(on_finished, sender="shop"):
        shop.tasks.add(lambda: "tick", name="tick", periodicity=SECOND)
        shop.spin.start_workers(1, block=False)
        assert ran.wait(30)
    assert shop.spin.result(heard[0], timeout=LONG) == "tick"


def test_job_whose_worker_was_lost_says_so() -> None:
    from spinach.brokers.calls import Enrolment, FetchTurn
    from spinach_testing.clock import VirtualClock

    store, clock = MemoryStore(), VirtualClock()
    broker = MemoryBroker(store, clock=clock)
    spin = Engine(broker)
    spin.task(name="task", keep_result=HOUR)(print)
    job = spin.schedule("task")
    broker.join("spinach", "dead", Enrolment(lease_ms=30_000))
    broker.fetch([FetchTurn("spinach", "dead", 1)], idle=1, extra=0, max_bytes=1000)
    broker.join("spinach", "living", Enrolment(lease_ms=30_000))
    for _ in range(5):
        clock.advance(timedelta(seconds=10))
        [reply] = broker.beat([FetchTurn("spinach", "living", 0)])
        if reply.dead:
            broker.recover("spinach", reply.dead)
    [found] = broker.job_ends("spinach", [stored_id(job.id_text, 0)])
    assert found.ending is Ending.FAILED
    with pytest.raises(JobFailed, match="WorkerLost") as told:
        spin.result(job, timeout=None)
    assert told.value.traceback == ""
