"""What type checkers make of options of single calls; see `scheduling.py`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, assert_type

from spinach import Batch, Engine, Job, MemoryBroker, Tasks, signals
from spinach.options import BatchWithOptions, SchedulerWithOptions

from .scheduling import NOON, compute, mail, mailer, remind, total

spin = Engine(MemoryBroker())
tasks = Tasks()
batch = Batch()
minute = timedelta(minutes=1)
headers: Mapping[str, str] = MappingProxyType({"trace": "4f2a"})

# -- accepted -----------------------------------------------------------------------

urgent = spin.options(expires_in=minute, headers=headers)
assert_type(urgent, SchedulerWithOptions)
assert_type(tasks.options(headers={"a": "b"}), SchedulerWithOptions)
assert_type(batch.options(expires_in=minute), BatchWithOptions)
assert_type(spin.options(), SchedulerWithOptions)
assert_type(spin.options(expires_in=None, headers=None), SchedulerWithOptions)

assert_type(urgent.schedule(compute, 1, 2), Job[int])
assert_type(urgent.schedule(compute, a=1, b=2), Job[int])
assert_type(urgent.schedule_at(compute, NOON, 1, b=2), Job[int])
assert_type(tasks.options(expires_in=minute).schedule(compute, 1, 2), Job[int])
assert_type(tasks.options(expires_in=minute).schedule_at(compute, NOON, 1, 2), Job[int])
batch.options(expires_in=minute).schedule(compute, 1, 2)
batch.options(expires_in=minute).schedule_at(compute, NOON, 1, 2)

# By name, by a method, with parameters called like those of the method.
assert_type(urgent.schedule("compute", "five", anything=object()), Job)
assert_type(urgent.schedule_at("compute", NOON, "five"), Job)
assert_type(urgent.schedule(mail, "ada", urgent=True), Job[None])
assert_type(urgent.schedule(mailer.send, "ada"), Job[bool])
assert_type(urgent.schedule(total, 1, 2, headers="h"), Job[float])
assert_type(urgent.schedule(remind, task="a", at="b", self=1), Job[bytes])
batch.options().schedule(remind, task="a", at="b")

# -- refused: what `schedule` refuses ------------------------------------------------

urgent.schedule(compute, "five")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
urgent.schedule(compute, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
urgent.schedule(compute)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
urgent.schedule(compute, 1, 2, 3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
urgent.schedule(mail, to="ada")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
urgent.schedule(mailer.send, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
urgent.schedule_at(compute, NOON, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
urgent.schedule_at(compute, "noon", 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
urgent.schedule_at(compute, None, 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
urgent.schedule()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
urgent.schedule(task=compute)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
tasks.options().schedule(compute, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
batch.options().schedule(compute, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
batch.options().schedule_at(compute, NOON, 1, "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]

# -- refused: an option that is none, or of the wrong type ---------------------------

spin.options(minute)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
spin.options(expires_in=60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
spin.options(expires_in=NOON)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
spin.options(headers={"size": 5})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
spin.options(headers=[("a", "b")])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
spin.options(expires=minute)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
tasks.options(expires_in=60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
batch.options(headers={1: "a"})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
assert urgent.headers  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


# -- jobs and signals ----------------------------------------------------------------


@signals.job_expired.connect_via(spin.namespace)
def on_expired(namespace: str, job: Job, **kwargs: Any) -> None:
    assert_type(job.headers, dict[str, str])
    assert_type(job.expires_at, datetime | None)
    job.headers = {}  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
