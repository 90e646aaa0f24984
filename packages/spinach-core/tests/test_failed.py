"""The failed store, as users see it."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest

from spinach import AbortException, Engine, Job, JobStatus, Tasks, failed
from spinach.exc import InvalidArgument, InvalidName
from spinach.record.header import UnreadableRecord

from .support import Bench


@pytest.fixture
def runs() -> list[int]:
    return []


@pytest.fixture
def failing(bench: Bench, runs: list[int]) -> Engine:
    tasks = Tasks()

    @tasks.task(name="fails")
    def fails(number: int, fatal: bool = True) -> None:
        runs.append(number)
        if fatal:
            raise ValueError(f"number {number}")

    @tasks.task(name="gives.up", queue="other", max_retries=5)
    def gives_up() -> None:
        raise AbortException("for good")

    return bench.engine(tasks)


def run(engine: Engine, *queues: str) -> None:
    engine.start_workers(1, queues or "spinach", stop_when_queue_empty=True)


def test_an_entry_tells_job_reason_and_time(bench: Bench, failing: Engine) -> None:
    job = failing.schedule("fails", 7)
    bench.advance(timedelta(seconds=5))
    run(failing)
    (entry,) = failing.failed.list()
    assert entry.job.id == job.id
    assert entry.job.status is JobStatus.FAILED
    assert entry.job.task_args == (7,)
    assert entry.failed_at == bench.clock.now()
    assert (entry.error, entry.message) == ("builtins.ValueError", "number 7")
    assert entry.traceback.startswith("Traceback")
    assert 'raise ValueError(f"number {number}")' in entry.traceback
    assert "worker.py" not in entry.traceback


def test_the_newest_come_first_and_pages_can_be_turned(bench: Bench, failing: Engine) -> None:
    for number in range(5):
        failing.schedule("fails", number)
    run(failing)

    def page(**place: int) -> list[Any]:
        return [entry.job.task_args[0] for entry in failing.failed.list(**place)]

    assert page() == [4, 3, 2, 1, 0]
    assert page(limit=2) == [4, 3]
    assert page(offset=3) == [1, 0]
    assert page(offset=9) == []


def test_each_queue_has_its_own(failing: Engine) -> None:
    failing.schedule("fails", 1)
    failing.schedule("gives.up")
    run(failing, "spinach", "other")
    assert [e.job.task_name for e in failing.failed.list("spinach")] == ["fails"]
    (entry,) = failing.failed.list("other")
    assert entry.error == "spinach.exc.AbortException"
    assert failing.failed.list("empty") == []


def fail_in_turns(bench: Bench, engine: Engine, times: int) -> list[str]:
    """Jobs of two queues that fail in turns; their ids, the newest first."""
    ids = []
    for number in range(times):
        job = engine.schedule("gives.up") if number % 2 else engine.schedule("fails", number)
        ids.append(str(job.id))
        run(engine, "spinach", "other")
        bench.advance(timedelta(milliseconds=1))
    return ids[::-1]


def ids_of(entries: Any) -> list[str]:
    return [str(entry.job.id) for entry in entries]


def test_without_a_queue_all_of_the_namespace_are_listed_the_newest_first(
    bench: Bench, failing: Engine
) -> None:
    newest = fail_in_turns(bench, failing, 7)
    assert ids_of(failing.failed.list()) == newest
    assert ids_of(failing.failed.list(None, limit=3)) == newest[:3]
    assert ids_of(failing.failed.list(offset=2, limit=3)) == newest[2:5]
    assert ids_of(failing.failed.list("other")) == newest[1::2]


def test_pages_follow_each_other_whatever_is_retried_or_discarded(
    bench: Bench, failing: Engine
) -> None:
    newest = fail_in_turns(bench, failing, 8)
    first = failing.failed.list(limit=3)
    failing.failed.discard(first[-1].job)
    failing.failed.retry(first[0].job)
    second = failing.failed.list(limit=3, after=first[-1].cursor)
    assert ids_of(second) == newest[3:6]
    failing.failed.discard(*(entry.job for entry in second))
    last = failing.failed.list(limit=3, after=second[-1].cursor)
    assert ids_of(last) == newest[6:]
    assert failing.failed.list(after=last[-1].cursor) == []


def test_all_failed_jobs_are_walked_through_page_by_page(
    bench: Bench, failing: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed, "_MOST", 3)
    monkeypatch.setattr(failed, "_FEWEST", 1)
    newest = fail_in_turns(bench, failing, 9)
    walked = []
    for entry in failing.failed.iterate():
        walked.append(str(entry.job.id))
        failing.failed.discard(entry.job)
    assert walked == newest
    assert list(failing.failed.iterate()) == []


def test_a_page_is_full_while_more_follow_although_some_cannot_be_shown(
    bench: Bench, failing: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = fail_in_turns(bench, failing, 6)
    read = failed.job_from_record

    def newer_ones(stored_id: str, *args: Any, **options: Any) -> Job:
        if stored_id[1:] in newest[1:4]:
            raise UnreadableRecord("of a newer release")
        return read(stored_id, *args, **options)

    monkeypatch.setattr(failed, "job_from_record", newer_ones)
    assert ids_of(failing.failed.list(limit=2)) == [newest[0], newest[4]]


def test_a_cursor_fits_into_a_url(bench: Bench, failing: Engine) -> None:
    fail_in_turns(bench, failing, 1)
    (entry,) = failing.failed.list()
    assert re.fullmatch(r"[0-9a-f-]+", entry.cursor)


def test_a_retry_runs_the_job_again_although_it_was_to_run_at_most_once(
    failing: Engine, runs: list[int]
) -> None:
    failing.schedule("fails", 1)
    failing.schedule("fails", 2)
    run(failing)
    first = failing.failed.list()[1].job
    assert failing.failed.retry(first) == 1
    assert failing.failed.retry(first) == 0  # it is there no longer
    run(failing)
    assert runs == [1, 2, 1]
    assert [e.job.task_args for e in failing.failed.list()] == [(1,), (2,)]


def test_a_discarded_job_is_gone(failing: Engine, runs: list[int]) -> None:
    for number in range(3):
        failing.schedule("fails", number)
    run(failing)
    jobs = [entry.job for entry in failing.failed.list()]
    assert failing.failed.discard(*jobs[:2]) == 2
    assert failing.failed.discard(*jobs) == 1
    assert failing.failed.list() == []
    run(failing)
    assert runs == [0, 1, 2]


def test_jobs_of_several_queues_may_be_named_at_once(failing: Engine) -> None:
    failing.schedule("fails", 1)
    failing.schedule("gives.up")
    run(failing, "spinach", "other")
    jobs = [e.job for queue in ("spinach", "other") for e in failing.failed.list(queue)]
    assert failing.failed.retry(*jobs) == 2


def test_naming_no_job_does_nothing(failing: Engine) -> None:
    assert failing.failed.retry() == 0
    assert failing.failed.discard() == 0


@pytest.mark.parametrize("method", ["retry", "discard"])
@pytest.mark.parametrize("value", ["id", uuid.uuid4(), None])
def test_anything_but_a_job_is_refused(failing: Engine, method: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"is not a job\. Pass entry\.job"):
        getattr(failing.failed, method)(value)


@pytest.mark.parametrize(
    ("place", "error", "text"),
    [
        ({"queue": "a b"}, InvalidName, "'a b'"),
        ({"offset": -1}, InvalidArgument, "offset is -1"),
        ({"limit": 0}, InvalidArgument, "limit is 0.*from 1 to 1000"),
        ({"limit": 1001}, InvalidArgument, "limit is 1001"),
        ({"offset": 1001}, InvalidArgument, r"offset is 1001.*after=entries\[-1\]\.cursor"),
        ({"after": "no cursor"}, InvalidArgument, r"after is 'no cursor'.*entries\[-1\]\.cursor"),
        ({"after": 7}, InvalidArgument, "after is 7"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(
    failing: Engine, place: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        failing.failed.list(**place)


def test_a_job_that_succeeds_the_second_time_leaves_the_store(bench: Bench) -> None:
    tasks = Tasks()
    attempts: list[Job | None] = []

    @tasks.task(name="second")
    def second() -> None:
        attempts.append(None)
        if len(attempts) == 1:
            raise ValueError

    engine = bench.engine(tasks)
    engine.schedule("second")
    run(engine)
    engine.failed.retry(*(e.job for e in engine.failed.list()))
    run(engine)
    assert engine.failed.list() == []
    assert len(attempts) == 2
