"""Attempts that ran nothing, and exceptions that refuse to be shown: the test hears of both."""

from __future__ import annotations

import functools

import pytest

from spinach import Tasks
from spinach.exc import InvalidTask
from spinach_testing import TaskRaised, UnfinishedJobs

tasks = Tasks()
ran: list[str] = []


async def coroutine():
    ran.append("coroutine")


@tasks.task(name="unfinished", max_retries=3)
@functools.wraps(coroutine)
def unfinished():
    return coroutine()


class Meta(type):
    def __getattribute__(cls, name):
        if name in {"__module__", "__qualname__", "__name__"}:
            raise RuntimeError(name)
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=Meta):
    pass


class Noted(Exception):
    @property
    def __notes__(self):
        raise SystemExit("no notes")


class Caused(Exception):
    @property
    def __cause__(self):
        raise RuntimeError("no cause")


class Liar(BaseException):
    @property
    def __class__(self):
        raise RuntimeError("no class")


class Grouped(ExceptionGroup):
    @property
    def exceptions(self):
        raise RuntimeError("no exceptions")


HOSTILE = {
    "Nameless": Nameless,
    "Noted": Noted,
    "Caused": Caused,
    "Liar": Liar,
    "Grouped": lambda text: Grouped(text, [ValueError()]),
}


@tasks.task(name="hostile")
def hostile(kind):
    raise HOSTILE[kind]("so it goes")


@pytest.fixture
def spinach_engine(spinach_engine):
    spinach_engine.attach_tasks(tasks)
    yield spinach_engine
    spinach_engine.detach_tasks(tasks)


def test_a_task_that_returns_a_coroutine_fails_the_test(spinach_worker):
    tasks.schedule(unfinished)
    with pytest.raises(InvalidTask, match=r"returned a coroutine, .* asyncio\.run"):
        spinach_worker.drain()
    assert ran == []


def test_it_can_be_expected(spinach_worker, spinach_jobs):
    tasks.schedule(unfinished)
    with spinach_jobs.expect_failure(unfinished, InvalidTask, match="a coroutine"):
        spinach_worker.drain()


def test_a_crash_over_a_task_that_returns_a_coroutine_fails_the_test(spinach_worker):
    job = tasks.schedule(unfinished)
    with pytest.raises(InvalidTask, match="returned a coroutine"):
        spinach_worker.crash(job)
    assert ran == []


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_exception_that_refuses_to_be_shown_fails_the_test(spinach_worker, kind):
    tasks.schedule(hostile, kind)
    with pytest.raises(TaskRaised) as raised:
        spinach_worker.drain()
    text = "\n".join([str(raised.value), *raised.value.__notes__])
    assert "so it goes" in text
    assert "in hostile" in text


def test_several_of_them_arrive_together(spinach_worker):
    for kind in HOSTILE:
        tasks.schedule(hostile, kind)
    with pytest.raises(ExceptionGroup) as raised:
        spinach_worker.drain(workers=1)
    assert len(raised.value.exceptions) == len(HOSTILE)


@tasks.task(name="again")
def again():
    tasks.schedule(again)


def test_what_leaves_a_call_early_names_them(spinach_worker):
    tasks.schedule(hostile, "Nameless")
    tasks.schedule(again)
    with pytest.raises(UnfinishedJobs) as raised:
        spinach_worker.run_until_finished(max_jobs=10, workers=1)
    (note,) = raised.value.__notes__
    assert note.startswith("Meanwhile: ")
    assert "so it goes" in note
