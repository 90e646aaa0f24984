"""What the log says of a worker process that was lost: which one, and where its jobs went."""

from __future__ import annotations

import logging
import os
import platform
import threading
from datetime import timedelta
from typing import Any

import pytest

from spinach import Tasks
from spinach.brokers.calls import LostJob, RecoverReply, Verdict
from spinach.exc import BrokerUnavailable

from .rig import Rig
from .support import Bench, FlakyBroker, wait_for

LOST = LostJob(stored_id="0x", record=b"garbage", retries=0, losses=1)


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [r for r in caplog.records if r.getMessage().startswith("Worker process lost")]


@pytest.fixture
def rig(caplog: pytest.LogCaptureFixture) -> Rig:
    caplog.set_level(logging.INFO, "spinach.worker")
    rig = Rig()
    rig.due()
    return rig


def recover(rig: Rig, *replies: RecoverReply, dead: str = "dead") -> None:
    """Let the consumer hear of a death, and the broker answer its calls so."""
    answers = list(replies)
    [member] = rig.memberships.all
    member.dead.append(dead)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rig.broker, "recover", lambda *_: answers.pop(0))
        while answers:
            rig.keep_alive._housekeeping.recover(member)


def reply(*, more: bool = False, lost: int = 0, **fields: Any) -> RecoverReply:
    info = {"host": "worker-7", "pid": "4711", "version": "1"}
    fields = {"info": info, **fields}
    return RecoverReply(verdict=Verdict.APPLIED, lost=(LOST,) * lost, more=more, **fields)


def test_the_log_names_host_pid_and_where_the_jobs_went(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    recover(rig, reply(ready=4, retrying=2, lost=1))
    [record] = told(caplog)
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "Worker process lost: host worker-7, pid 4711, queue spinach. Its jobs: 7 (4 ready again, "
        "2 to be retried, 1 in the failed store, 0 cancelled)"
    )
    data = {name: value for name, value in vars(record).items() if name[:5] in ("lost_", "jobs_")}
    assert data == {
        "lost_host": "worker-7",
        "lost_pid": "4711",
        "jobs_ready": 4,
        "jobs_retrying": 2,
        "jobs_failed": 1,
        "jobs_cancelled": 0,
    }


def test_what_several_calls_did_is_told_once_at_the_end(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = reply(ready=90, lost=10, more=True), reply(retrying=100, more=True)
    recover(rig, first, second)
    assert told(caplog) == []
    recover(rig, reply(ready=5))
    [record] = told(caplog)
    assert (
        "Its jobs: 205 (95 ready again, 100 to be retried, 10 in the failed store, 0 cancelled)"
        in record.message
    )


def test_a_call_without_an_answer_spoils_no_sum(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    unknown = RecoverReply(verdict=Verdict.UNKNOWN, error=BrokerUnavailable("away"))
    recover(rig, reply(ready=100, more=True), unknown, reply(ready=3))
    [record] = told(caplog)
    assert "Its jobs: 103 (" in record.message


def test_what_was_done_is_told_also_when_another_process_goes_on(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    refused = RecoverReply(verdict=Verdict.REFUSED)
    recover(rig, reply(ready=100, more=True), refused)
    [record] = told(caplog)
    assert "host worker-7" in record.message
    recover(rig, refused)
    assert len(told(caplog)) == 1


def test_deaths_are_not_mixed_up(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    recover(rig, reply(ready=100, more=True), dead="one")
    recover(rig, reply(ready=1, info={"host": "other", "pid": "1"}), dead="two")
    recover(rig, reply(ready=2), dead="one")
    assert [record.message.partition("pid ")[2].split(" ready")[0] for record in told(caplog)] == [
        "4711, queue spinach. Its jobs: 100 (100",
        "1, queue spinach. Its jobs: 1 (1",
        "4711, queue spinach. Its jobs: 2 (2",
    ]


def test_a_process_that_had_no_jobs_is_no_warning(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    recover(rig, reply())
    [record] = told(caplog)
    assert (record.levelname, record.getMessage()) == (
        "INFO",
        "Worker process lost without jobs: host worker-7, pid 4711, queue spinach",
    )


def test_a_broker_that_tells_nothing_of_the_dead_spoils_nothing(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    recover(rig, RecoverReply(verdict=Verdict.APPLIED))
    [record] = told(caplog)
    assert "host unknown, pid unknown" in record.message


def test_a_process_that_goes_silent_at_work_is_told_of_by_the_one_that_recovers_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spinach.worker")
    begun, go_on, cut = threading.Event(), threading.Event(), False
    tasks = Tasks()

    @tasks.task(name="stuck")
    def stuck() -> None:
        begun.set()
        wait_for(go_on)

    broker = FlakyBroker(
        bench.store, plan=lambda call: "before" if cut else None, clock=bench.clock
    )
    away = bench.engine(tasks, namespace="app", broker=broker)
    away.schedule("stuck")
    away.start_workers(1, block=False)
    wait_for(begun)
    cut = True
    bench.busy = 1
    survivor = bench.engine(tasks, namespace="app")
    survivor.start_workers(1, block=False)
    bench.advance(timedelta(seconds=60))
    cut, bench.busy = False, 0
    go_on.set()
    bench.advance(timedelta(seconds=20))
    [record] = told(caplog)
    assert record.getMessage() == (
        f"Worker process lost: host {platform.node()}, pid {os.getpid()}, queue spinach. "
        "Its jobs: 1 (0 ready again, 0 to be retried, 1 in the failed store, 0 cancelled)"
    )
