"""What type checkers make of scheduling: accepted calls and their types, refused calls.

Checked by mypy and pyright, never run. A refused call carries the error that each checker
has to find, and both complain about a mark that marks nothing; so a call that suddenly
type-checks is an error, as is one that suddenly does not.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, assert_type

from spinach import Batch, Engine, Job, JobStatus, MemoryBroker, Task, Tasks

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)

tasks = Tasks()
spin = Engine(MemoryBroker())
batch = Batch()


@tasks.task(name="compute")
def compute(a: int, b: int) -> int:
    return a + b


@tasks.task(name="mail", max_retries=3)
def mail(to: str, /, subject: str = "", *, urgent: bool = False) -> None: ...


@tasks.task(name="remind")
def remind(task: str, at: str, self: int = 0) -> bytes:
    return b""


@tasks.task(name="total")
def total(*numbers: int, **options: str) -> float:
    return 0.0


class Mailer:
    def send(self, to: str) -> bool:
        return True


mailer = Mailer()


def twice(work: Task[[int, int], int], anything: Task[..., Any]) -> None:
    # A Task carries the parameters of its function.
    assert_type(spin.schedule(work, 1, 2), Job[int])
    assert_type(spin.execute(work, 1, 2), int)
    assert_type(spin.schedule(anything, object(), whatever=None), Job)
    spin.schedule(work, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    spin.execute(work, "1", 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


# -- the five ways to schedule ------------------------------------------------------

assert_type(spin.schedule(compute, 1, 2), Job[int])
assert_type(spin.schedule(compute, a=1, b=2), Job[int])
assert_type(spin.schedule(compute, 1, b=True), Job[int])
assert_type(spin.schedule_at(compute, NOON, 1, 2), Job[int])
assert_type(spin.schedule_at(compute, NOON, 1, b=2), Job[int])
assert_type(tasks.schedule(compute, 1, 2), Job[int])
assert_type(tasks.schedule_at(compute, NOON, 1, 2), Job[int])
batch.schedule(compute, 1, 2)
batch.schedule_at(compute, NOON, 1, 2)
assert_type(spin.schedule_batch(batch), list[Job])
assert_type(tasks.schedule_batch(batch), list[Job])
assert_type(spin.execute(compute, 1, 2), int)
assert_type(len(batch), int)

# By name nothing is known of the arguments, nor of the result.
assert_type(spin.schedule("compute", "five", anything=object()), Job)
assert_type(spin.schedule_at("compute", NOON, "five"), Job)
assert_type(tasks.schedule("compute"), Job)
assert_type(tasks.schedule_at("compute", NOON), Job)
batch.schedule("compute", None)
batch.schedule_at("compute", NOON, None)
assert_type(spin.execute("compute", 1), Any)

# Parameters called like those of the method are the task's.
assert_type(spin.schedule(remind, task="a", at="b", self=1), Job[bytes])
assert_type(spin.schedule_at(remind, NOON, task="a", at="b"), Job[bytes])
assert_type(tasks.schedule(remind, task="a", at="b"), Job[bytes])
assert_type(tasks.schedule_at(remind, NOON, "a", at="b"), Job[bytes])
batch.schedule(remind, task="a", at="b")
batch.schedule_at(remind, NOON, task="a", at="b")
assert_type(spin.execute(remind, task="a", at="b"), bytes)

# Positional-only, keyword-only, defaults, methods, lambdas, many.
assert_type(spin.schedule(mail, "ada"), Job[None])
assert_type(spin.schedule(mail, "ada", "hello", urgent=True), Job[None])
assert_type(spin.schedule(mailer.send, "ada"), Job[bool])
assert_type(spin.execute(mailer.send, to="ada"), bool)
assert_type(spin.schedule(total, 1, 2, 3, unit="m"), Job[float])
assert_type(spin.execute(total), float)
assert_type(spin.schedule(lambda: 1), Job[int])

# -- results ------------------------------------------------------------------------

soon = timedelta(seconds=5)


def ask(work: Task[[int, int], int], any_job: Job, of_text: Job[str]) -> None:
    # A job carries what its function returns; a plain Job is one of any task.
    assert_type(spin.result(spin.schedule(compute, 1, 2), timeout=soon), int)
    assert_type(spin.result(spin.schedule_at(compute, NOON, 1, 2), timeout=None), int)
    assert_type(spin.result(tasks.schedule(total), timeout=soon), float)
    assert_type(spin.result(tasks.schedule_at(remind, NOON, "a", "b"), timeout=soon), bytes)
    assert_type(spin.result(spin.schedule(work, 1, 2), timeout=soon), int)
    assert_type(spin.result(spin.schedule(mailer.send, "ada"), timeout=soon), bool)
    assert_type(spin.result(spin.schedule("compute", 1, 2), timeout=soon), Any)
    assert_type(spin.result(any_job, timeout=soon), Any)
    assert_type(spin.result(of_text, timeout=soon), str)
    assert_type(spin.schedule(compute, 1, 2), Job[int])
    assert_type(spin.schedule(compute, 1, 2).with_status(JobStatus.RUNNING), Job[int])
    jobs = [spin.schedule(compute, n, n) for n in range(3)]
    assert_type(jobs, list[Job[int]])
    assert_type(spin.results(jobs, timeout=soon), list[int])
    assert_type(spin.results(spin.schedule_batch(batch), timeout=soon), list[Any])
    # A job of an int is a job of an object, and no job of text.
    as_object: Job[object] = spin.schedule(compute, 1, 2)
    as_text: Job[str] = spin.schedule(compute, 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportAssignmentType]
    wrong: str = spin.result(spin.schedule(compute, 1, 2), timeout=soon)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    spin.result(of_text)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    spin.result(of_text, timeout=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.result("id", timeout=soon)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spin.results(of_text, timeout=soon)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert [as_object, as_text, wrong]


tasks.task(name="x", keep_result=timedelta(hours=1))(compute)
Tasks(keep_result=timedelta(hours=1))
tasks.add(compute, "y", keep_result=timedelta(hours=1))
tasks.add(compute, "z", keep_result=3600)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# -- refused: an argument of the wrong type -----------------------------------------

spin.schedule(compute, "five")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
spin.schedule(compute, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule(compute, a=1, b=None)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule_at(compute, NOON, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
tasks.schedule(compute, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
tasks.schedule_at(compute, NOON, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
batch.schedule(compute, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
batch.schedule_at(compute, NOON, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.execute(compute, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule(remind, task=1, at="b")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule(mailer.send, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule(total, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]

# -- refused: one too few, one too many ---------------------------------------------

spin.schedule(compute)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
spin.schedule(compute, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
spin.schedule(compute, 1, 2, 3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
spin.schedule(compute, 1, 2, c=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
spin.schedule(compute, 1, a=2)  # type: ignore[call-arg, misc]  # pyright: ignore[reportCallIssue]
spin.schedule(mail, to="ada")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
spin.schedule(mail, "ada", "hello", True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
spin.schedule_at(compute, NOON, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
batch.schedule(compute, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
tasks.schedule(compute)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
spin.execute(compute)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]

# -- refused: an instant that is none, a task that is none --------------------------

spin.schedule_at(compute, "noon", 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule_at(compute, 5.0, 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule_at(compute, timedelta(1), 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule_at(compute, date(2030, 1, 1), 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule_at(compute, None, 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule_at(compute, a=1, b=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
spin.schedule_at("compute")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
batch.schedule_at(compute, "noon", 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule(5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule(None)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
spin.schedule()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
spin.schedule(task=compute)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
spin.schedule_batch([compute])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
