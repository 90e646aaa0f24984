"""The failed store, as users see it: one entry by its id, and lists by task, error and instant."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest

from spinach import AbortException, Engine, Tasks
from spinach.exc import InvalidArgument, InvalidName, UnknownTask

from .support import Bench

UTC_NOON = "2030-01-01T12:00:00+00:00"
NAIVE = datetime.fromisoformat("2030-01-01T12:00:00")


class MailError(Exception):
    pass


class LaterMailError(MailError):
    pass


def send(number: int) -> None:
    raise MailError(number)


@pytest.fixture
def engine(bench: Bench) -> Engine:
    tasks = Tasks()
    tasks.add(send, "mail.send")

    @tasks.task(name="mail.late", queue="other")
    def late() -> None:
        raise LaterMailError

    @tasks.task(name="gives.up")
    def gives_up() -> None:
        raise AbortException("for good")

    return bench.engine(tasks)


def run(engine: Engine) -> None:
    engine.start_workers(1, ("spinach", "other"), stop_when_queue_empty=True)


def tasks_of(entries: Any) -> list[str]:
    return [entry.job.task_name for entry in entries]


@pytest.fixture
def filled(bench: Bench, engine: Engine) -> Engine:
    """Each a minute before the next one."""
    engine.schedule("mail.send", 1)
    run(engine)
    bench.advance(timedelta(minutes=1))
    engine.schedule("mail.late")
    run(engine)
    bench.advance(timedelta(minutes=1))
    engine.schedule("gives.up")
    run(engine)
    return engine


# -- one ----------------------------------------------------------------------------


def test_an_entry_is_found_by_a_job_its_id_or_the_text_of_it(engine: Engine) -> None:
    job = engine.schedule("mail.late")
    other = engine.schedule("mail.send", 1)
    assert engine.failed.get(job) is None
    run(engine)
    entry = engine.failed.get(job)
    assert entry is not None
    assert (entry.job.id, entry.error) == (job.id, f"{__name__}.LaterMailError")
    assert engine.failed.get(job.id) == engine.failed.get(str(job.id)) == entry
    assert engine.failed.get(str(job.id).upper()) == entry
    assert engine.failed.get(other.id) in engine.failed.list()
    engine.failed.discard(entry.job)
    assert engine.failed.get(job) is None


def test_a_job_that_may_repeat_is_found_by_its_id(bench: Bench) -> None:
    tasks = Tasks()
    tasks.add(send, "mail.send", max_retries=3)

    @tasks.task(name="gives.up", max_retries=3)
    def gives_up() -> None:
        raise AbortException

    engine = bench.engine(tasks)
    job = engine.schedule("gives.up")
    run(engine)
    entry = engine.failed.get(job.id)
    assert entry is not None
    assert entry.job.id == job.id


def test_an_id_that_no_job_of_the_namespace_has_is_not_found(bench: Bench, filled: Engine) -> None:
    elsewhere = bench.engine(namespace="elsewhere")
    [*_, entry] = filled.failed.list()
    assert elsewhere.failed.get(entry.job.id) is None
    assert filled.failed.get(uuid.uuid4()) is None


def test_a_job_of_another_namespace_is_refused(bench: Bench, filled: Engine) -> None:
    elsewhere = bench.engine(namespace="elsewhere")
    job = filled.failed.list()[0].job
    for call in (elsewhere.failed.get, elsewhere.failed.retry, elsewhere.failed.discard):
        with pytest.raises(InvalidArgument, match="'bench', and this engine has 'elsewhere'"):
            call(job)
    assert filled.failed.get(job) is not None


def test_the_cursor_of_an_entry_that_was_looked_up_is_one_of_the_whole_list(
    filled: Engine,
) -> None:
    entries = filled.failed.list()
    entry = filled.failed.get(entries[1].job.id)
    assert entry == entries[1]
    assert filled.failed.list(after=entry.cursor) == entries[2:]


@pytest.mark.parametrize("value", [None, 7, "no id", b"", object(), ["a"]])
def test_what_is_neither_a_job_nor_an_id_is_refused(engine: Engine, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"neither a job nor the id of one.*job\.id"):
        engine.failed.get(value)


# -- filters ------------------------------------------------------------------------


def test_a_list_may_ask_for_a_task(filled: Engine) -> None:
    assert tasks_of(filled.failed.list()) == ["gives.up", "mail.late", "mail.send"]
    assert tasks_of(filled.failed.list(task="mail.late")) == ["mail.late"]
    assert tasks_of(filled.failed.list(task=send)) == ["mail.send"]
    tasks = Tasks()
    tasks.add(print, "gives.up")
    # Of a registry that is attached to no engine.
    assert tasks_of(filled.failed.list(task=tasks.tasks["gives.up"])) == ["gives.up"]
    assert filled.failed.list(task="of.nobody") == []
    assert filled.failed.list("other", task=send) == []


def test_a_list_may_ask_for_an_error(filled: Engine) -> None:
    assert tasks_of(filled.failed.list(error=MailError)) == ["mail.send"]
    assert tasks_of(filled.failed.list(error=f"{__name__}.LaterMailError")) == ["mail.late"]
    [entry] = filled.failed.list(error=AbortException)
    assert tasks_of(filled.failed.list(error=entry.error)) == ["gives.up"]
    assert filled.failed.list(error=Exception) == []


def test_a_list_may_begin_at_an_instant_or_so_long_ago(bench: Bench, filled: Engine) -> None:
    second = filled.failed.list()[1]
    assert tasks_of(filled.failed.list(since=second.failed_at)) == ["gives.up", "mail.late"]
    after = second.failed_at + timedelta(milliseconds=1)
    assert tasks_of(filled.failed.list(since=after)) == ["gives.up"]
    assert tasks_of(filled.failed.list(since=timedelta(minutes=1))) == ["gives.up", "mail.late"]
    bench.advance(timedelta(milliseconds=1))
    assert tasks_of(filled.failed.list(since=timedelta(minutes=1))) == ["gives.up"]
    assert filled.failed.list(since=timedelta(0)) == []
    assert len(filled.failed.list(since=timedelta.max)) == 3


def test_filters_hold_together_and_for_iterate(filled: Engine) -> None:
    since = timedelta(minutes=1)
    entries = filled.failed.iterate(task="mail.late", error=LaterMailError, since=since)
    assert tasks_of(entries) == ["mail.late"]
    assert list(filled.failed.iterate(task="mail.late", error=MailError)) == []
    assert tasks_of(filled.failed.iterate(since=since)) == ["gives.up", "mail.late"]


def test_pages_of_a_filter_follow_each_other(bench: Bench, engine: Engine) -> None:
    for number in range(5):
        engine.schedule("mail.send", number)
        engine.schedule("gives.up")
        run(engine)
        bench.advance(timedelta(seconds=1))
    first = engine.failed.list(task=send, limit=2)
    engine.failed.discard(first[-1].job)
    second = engine.failed.list(task=send, limit=2, after=first[-1].cursor)
    third = engine.failed.list(task=send, limit=2, after=second[-1].cursor)
    numbers = [e.job.task_args[0] for page in (first, second, third) for e in page]
    assert numbers == [4, 3, 2, 1, 0]
    assert engine.failed.list(task="mail.send", after=third[-1].cursor) == []


# -- mistakes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "listing",
    [
        {},
        {"queue": "other"},
        {"task": "gives.up"},
        {"task": "mail.send", "error": MailError},
        {"task": "mail.send", "since": timedelta(hours=1)},
    ],
)
def test_a_cursor_of_another_listing_is_refused(filled: Engine, listing: dict[str, Any]) -> None:
    [entry] = filled.failed.list(task="mail.send")
    with pytest.raises(InvalidArgument, match=r"of another listing\. Pass the queue, task, error"):
        filled.failed.list(after=entry.cursor, **listing)
    with pytest.raises(InvalidArgument, match="of another listing"):
        filled.failed.list("spinach", task="mail.send", after=entry.cursor)


def test_a_cursor_of_another_namespace_is_refused(bench: Bench, filled: Engine) -> None:
    elsewhere = bench.engine(namespace="elsewhere")
    cursor = filled.failed.list()[0].cursor
    with pytest.raises(InvalidArgument, match="an engine of the same namespace"):
        elsewhere.failed.list(after=cursor)


@pytest.mark.parametrize("method", ["list", "iterate", "retry_all", "discard_all"])
@pytest.mark.parametrize(
    ("filters", "error", "text"),
    [
        ({"task": 7}, InvalidArgument, r"task is 7 of type int.*job\.task_name"),
        ({"task": "a b"}, InvalidName, "'a b'"),
        ({"task": print}, UnknownTask, "print"),
        ({"error": "MailError"}, InvalidArgument, "error is 'MailError'.*'builtins.ValueError'"),
        ({"error": int}, InvalidArgument, "error is <class 'int'>.*a class of exceptions"),
        ({"error": ValueError()}, InvalidArgument, r"error is ValueError\(\)"),
        ({"error": (OSError, ValueError)}, InvalidArgument, "of type tuple"),
        ({"since": 3600}, InvalidArgument, "since is 3600 of type int.*timedelta"),
        ({"since": UTC_NOON}, InvalidArgument, "since is '2030"),
        ({"since": NAIVE}, InvalidArgument, "an aware datetime"),
        ({"since": timedelta(-1)}, InvalidArgument, "not negative"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_at_once(
    engine: Engine, method: str, filters: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        getattr(engine.failed, method)("spinach", **filters)
