"""What is refused of those who ask for jobs and results, or steer: at the call, before it acts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from spinach import Batch, Engine, Job, JobStatus, MemoryBroker, Tasks, signals
from spinach.exc import InvalidArgument, SpinachError
from spinach.failed import FailedEntry
from spinach.operating.queues import PurgeProgress
from spinach.progress import progress_of
from spinach.retention import FailedRetention
from spinach_memory import MemoryStore

NOW, HOUR = timedelta(0), timedelta(hours=1)
FAR = datetime(2030, 1, 1, tzinfo=UTC)


def nothing() -> None: ...


def fails() -> None:
    raise ValueError


class Shop:
    """A store with an engine of a namespace, and one of another."""

    def __init__(self) -> None:
        store = MemoryStore()
        self.spin = Engine(MemoryBroker(store), "shop")
        self.blog = Engine(MemoryBroker(store), "blog")
        tasks = Tasks()
        tasks.add(nothing, "plain")
        tasks.add(nothing, "kept", keep_result=HOUR)
        tasks.add(nothing, "tick", periodicity=HOUR)
        tasks.add(fails, "fails", max_retries=0)
        self.spin.attach_tasks(tasks)

    def failed(self) -> FailedEntry:
        self.spin.schedule("fails")
        self.spin.start_workers(1, stop_when_queue_empty=True)
        [entry] = self.spin.failed.list()
        return entry


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    for engine in (shop.spin, shop.blog):
        engine.stop_workers()


# -- jobs of another namespace --------------------------------------------------------

#: Calls that take a job.
TAKES_A_JOB: dict[str, Callable[[Engine, Job], Any]] = {
    "jobs.get": lambda spin, job: spin.jobs.get(job),
    "jobs.cancel": lambda spin, job: spin.jobs.cancel(job),
    "jobs.wait": lambda spin, job: spin.jobs.wait(job, timeout=NOW),
    "failed.get": lambda spin, job: spin.failed.get(job),
    "failed.retry": lambda spin, job: spin.failed.retry(job),
    "failed.discard": lambda spin, job: spin.failed.discard(job),
    "result": lambda spin, job: spin.result(job, timeout=NOW),
    "results": lambda spin, job: spin.results([job], timeout=NOW),
}

#: Where a job that users hold may come from.
SOURCES: dict[str, Callable[[Shop], Job]] = {
    "schedule": lambda shop: shop.spin.schedule("plain"),
    "schedule_at": lambda shop: shop.spin.schedule_at("plain", FAR),
    "options": lambda shop: shop.spin.options(expires_in=HOUR).schedule("plain"),
    "a batch": lambda shop: scheduled_in_a_batch(shop.spin),
    "a task that keeps results": lambda shop: shop.spin.schedule("kept"),
    "a view": lambda shop: job_of_a_view(shop),
    "a page": lambda shop: job_of_a_page(shop),
    "the failed store": lambda shop: shop.failed().job,
    "an entry that was looked up": lambda shop: job_of_an_entry(shop),
    "a signal of a worker": lambda shop: job_of_a_signal(shop, signals.job_started),
    "a signal of a failure": lambda shop: job_of_a_signal(shop, signals.job_failed),
    "a signal of an expiry": lambda shop: job_of_a_signal(shop, signals.job_expired),
    "a signal of a cancel": lambda shop: job_of_a_signal(shop, signals.job_cancelled),
}


def scheduled_in_a_batch(spin: Engine) -> Job:
    batch = Batch()
    batch.schedule("plain")
    [job] = spin.schedule_batch(batch)
    return job


def job_of_a_view(shop: Shop) -> Job:
    view = shop.spin.jobs.get(shop.spin.schedule("plain").id)
    assert view is not None
    assert view.job is not None
    return view.job


def job_of_a_page(shop: Shop) -> Job:
    shop.spin.schedule("plain")
    [view] = shop.spin.jobs.list("spinach").jobs
    assert view.job is not None
    return view.job


def job_of_an_entry(shop: Shop) -> Job:
    entry = shop.spin.failed.get(shop.failed().job.id)
    assert entry is not None
    return entry.job


def job_of_a_signal(shop: Shop, signal: signals.SafeSignal) -> Job:
    heard: list[Job] = []

    def hear(*_: Any, job: Job, **__: Any) -> None:
        heard.append(job)

    with signal.connected_to(hear):
        taken_back = shop.spin.schedule("plain")
        shop.spin.jobs.cancel(taken_back)
        at = datetime(2020, 1, 1, tzinfo=UTC)
        shop.spin.options(expires_in=HOUR).schedule_at("plain", at)
        shop.failed()
    return heard[0]


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("call", TAKES_A_JOB.values(), ids=TAKES_A_JOB)
def test_a_job_of_another_namespace_is_refused_with_the_way_out(
    shop: Shop, call: Callable[[Engine, Job], Any], source: Callable[[Shop], Job]
) -> None:
    job = source(shop)
    with pytest.raises(InvalidArgument) as info:
        call(shop.blog, job)
    assert str(info.value) == (
        f"Job {job.id} was scheduled in namespace 'shop', and this engine has 'blog'. Ask the "
        "engine that scheduled it, or another one of namespace 'shop'."
    )


@pytest.mark.parametrize("call", ["jobs.cancel", "failed.retry", "failed.discard"])
def test_nothing_is_done_where_one_of_the_jobs_is_of_another_namespace(
    shop: Shop, call: str
) -> None:
    failed, stranger = shop.failed().job, shop.blog.task(name="plain")(nothing)
    ready = shop.spin.schedule("plain")
    foreign = shop.blog.schedule(stranger)
    part, method = call.split(".")
    with pytest.raises(InvalidArgument, match="namespace 'blog', and this engine has 'shop'"):
        getattr(getattr(shop.spin, part), method)(failed, ready, foreign)
    view = shop.spin.queues.get("spinach")
    assert (view.failed, view.ready) == (1, 1)


def test_a_job_that_does_not_tell_its_namespace_is_looked_for(shop: Shop) -> None:
    from msgspec import structs

    job = structs.replace(shop.spin.schedule("plain"), namespace="")
    assert shop.blog.jobs.get(job) is None
    assert shop.spin.jobs.get(job) is not None


# -- any value in any place -----------------------------------------------------------


class Unprintable:
    __hash__ = None  # type: ignore[assignment] # that is what is tested

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")


#: What nobody should pass anywhere, or only where a test says so.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**70, 1.5, float("nan"), float("inf"), "", "no name", "\ud800",
    "x" * 300, b"x", [], ["x"], (), {}, {"a": 1}, set(), object(), Unprintable(), int, print,
    NOW, -HOUR, HOUR, timedelta.max, FAR.replace(tzinfo=None), FAR, date(2030, 1, 1),
    uuid.UUID(int=7), str(uuid.UUID(int=7)), JobStatus.RUNNING, JobStatus.SUCCEEDED,
    [JobStatus.FAILED, 3], {1: 2}, ValueError, ValueError(), "builtins.ValueError", ...,
)  # fmt: skip


class Place(NamedTuple):
    """An argument of a public call."""

    call: Callable[[Shop, Any], Any]
    #: Those of `ODD` that make sense here, as `repr` has them.
    good: tuple[str, ...] = ()


SPANS = ("datetime.timedelta(0)", "datetime.timedelta(seconds=3600)", repr(timedelta.max))
IDS = (repr(uuid.UUID(int=7)), repr(str(uuid.UUID(int=7))))
UUID_NAME = (repr(str(uuid.UUID(int=7))),)
ONE_HOUR = ("datetime.timedelta(seconds=3600)",)
CLASS = "<class 'ValueError'>"
FAR_TEXT = repr(FAR)

PLACES: dict[str, Place] = {
    "options(expires_in=)": Place(lambda s, v: s.spin.options(expires_in=v), ("None", *ONE_HOUR)),
    "options(headers=)": Place(lambda s, v: s.spin.options(headers=v), ("None", "{}")),
    "jobs.get": Place(lambda s, v: s.spin.jobs.get(v), IDS),
    "jobs.cancel": Place(lambda s, v: s.spin.jobs.cancel(v), IDS),
    "jobs.wait": Place(lambda s, v: s.spin.jobs.wait(v, timeout=NOW), IDS),
    "jobs.wait(timeout=)": Place(lambda s, v: s.spin.jobs.wait(timeout=v), ("None", *SPANS)),
    "jobs.list": Place(lambda s, v: s.spin.jobs.list(v), ("'builtins.ValueError'", *UUID_NAME)),
    "jobs.list(status=)": Place(
        lambda s, v: s.spin.jobs.list("spinach", status=v),
        ("None", "<JobStatus.RUNNING: 'running'>"),
    ),
    "jobs.list(task=)": Place(
        lambda s, v: s.spin.jobs.list("spinach", task=v),
        ("None", "'builtins.ValueError'", *UUID_NAME),
    ),
    "jobs.list(cursor=)": Place(lambda s, v: s.spin.jobs.list("spinach", cursor=v), ("None",)),
    "jobs.list(limit=)": Place(lambda s, v: s.spin.jobs.list("spinach", limit=v), ("1",)),
    "result": Place(lambda s, v: s.spin.result(v, timeout=NOW)),
    "results": Place(lambda s, v: s.spin.results(v, timeout=NOW), ("[]", "()", "{}", "set()")),
    "results of one": Place(lambda s, v: s.spin.results([v], timeout=NOW)),
    "results(timeout=)": Place(lambda s, v: s.spin.results([], timeout=v), ("None", *SPANS)),
    "queues.get": Place(lambda s, v: s.spin.queues.get(v)),
    "queues.pause": Place(lambda s, v: s.spin.queues.pause(v)),
    "queues.resume": Place(lambda s, v: s.spin.queues.resume(v)),
    "queues.purge": Place(lambda s, v: s.spin.queues.purge(v)),
    "queues.purge(status=)": Place(lambda s, v: s.spin.queues.purge("spinach", v)),
    "queues.purge(progress=)": Place(
        lambda s, v: s.spin.queues.purge("spinach", JobStatus.WAITING, progress=v),
        ("None", "<class 'int'>", "<built-in function print>", CLASS),
    ),
    "workers.list": Place(lambda s, v: s.spin.workers.list(v), ("None",)),
    "limits.set": Place(lambda s, v: s.spin.limits.set(v, 1)),
    "limits.set(limit=)": Place(lambda s, v: s.spin.limits.set("plain", v), ("None", "1")),
    "limits.set(queue=)": Place(lambda s, v: s.spin.limits.set("plain", 1, queue=v), ("None",)),
    "periodic.run_now": Place(lambda s, v: s.spin.periodic.run_now(v)),
    "periodic.pause": Place(lambda s, v: s.spin.periodic.pause(v)),
    "periodic.resume": Place(lambda s, v: s.spin.periodic.resume(v)),
    "failed.get": Place(lambda s, v: s.spin.failed.get(v), IDS),
    "failed.retry": Place(lambda s, v: s.spin.failed.retry(v)),
    "failed.discard": Place(lambda s, v: s.spin.failed.discard(v)),
    "failed.list": Place(
        lambda s, v: s.spin.failed.list(v), ("None", "'builtins.ValueError'", *UUID_NAME)
    ),
    "failed.list(offset=)": Place(lambda s, v: s.spin.failed.list(offset=v), ("0", "1")),
    "failed.list(limit=)": Place(lambda s, v: s.spin.failed.list(limit=v), ("1",)),
    "failed.list(after=)": Place(lambda s, v: s.spin.failed.list(after=v), ("None",)),
    "failed.list(task=)": Place(
        lambda s, v: s.spin.failed.list(task=v), ("None", "'builtins.ValueError'", *UUID_NAME)
    ),
    "failed.list(error=)": Place(
        lambda s, v: s.spin.failed.list(error=v), ("None", CLASS, "'builtins.ValueError'")
    ),
    "failed.list(since=)": Place(
        lambda s, v: s.spin.failed.list(since=v), ("None", *SPANS, FAR_TEXT)
    ),
    "failed.retry_all(since=)": Place(
        lambda s, v: s.spin.failed.retry_all("other", since=v), ("None", *SPANS, FAR_TEXT)
    ),
    "failed.retry_all(progress=)": Place(
        lambda s, v: s.spin.failed.retry_all("other", progress=v),
        ("None", "<class 'int'>", "<built-in function print>", CLASS),
    ),
    "failed.discard_all(error=)": Place(
        lambda s, v: s.spin.failed.discard_all("other", error=v),
        ("None", CLASS, "'builtins.ValueError'"),
    ),
    "FailedRetention(number=)": Place(lambda s, v: FailedRetention(number=v), ("1",)),
    "FailedRetention(age=)": Place(lambda s, v: FailedRetention(age=v), ONE_HOUR),
    "FailedRetention(size=)": Place(lambda s, v: FailedRetention(size=v), ("1",)),
    "a broker's failed_retention": Place(lambda s, v: MemoryBroker(failed_retention=v)),
    "keep_result": Place(lambda s, v: Tasks(keep_result=v), ("None", *ONE_HOUR)),
    "time_limit": Place(lambda s, v: Tasks(time_limit=v), ("None", *ONE_HOUR)),
    "progress: done": Place(lambda s, v: progress_of(v, 10, ""), ("0", "1")),
    "progress: total": Place(lambda s, v: progress_of(0, v, ""), ("0", "1")),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_what_makes_no_sense_is_a_typed_error_and_nothing_happens(shop: Shop, place: Place) -> None:
    shop.failed()
    shop.spin.schedule("plain")
    taken: list[str] = []
    wrong: list[tuple[Any, Exception]] = []
    for value in ODD:
        try:
            place.call(shop, value)
        except SpinachError as error:
            if len(str(error).split()) < 5:
                wrong.append((value, error))
        except Exception as error:
            wrong.append((value, error))
        else:
            taken.append(repr(value))
    assert wrong == []
    assert sorted(taken) == sorted(place.good)
    counts = shop.spin.queues.get("spinach")
    assert (counts.ready, counts.failed, counts.paused) == (1, 1, False)


def test_a_purge_that_cannot_tell_its_progress_does_not_begin(shop: Shop) -> None:
    shop.failed()
    bad: Any = 7
    with pytest.raises(InvalidArgument, match=r"progress is 7, expected a function .* PurgeProg"):
        shop.spin.queues.purge("spinach", JobStatus.FAILED, progress=bad)
    assert shop.spin.queues.get("spinach").failed == 1
    told: list[PurgeProgress] = []
    assert shop.spin.queues.purge("spinach", JobStatus.FAILED, progress=told.append) == 1
    assert [each.removed for each in told] == [1]


@pytest.mark.parametrize("jobs", ["", "abc", b"", bytearray(b"x"), JobStatus.QUEUED, 5])
def test_results_are_asked_of_jobs_and_not_of_a_text(shop: Shop, jobs: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"(?s)jobs is .*expected jobs, such as a list"):
        shop.spin.results(jobs, timeout=NOW)
