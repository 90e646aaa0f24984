from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest

from spinach.brokers.calls import Verdict
from spinach_redis import RedisBroker

from .jobs import QUEUE, Member, deposit, success
from .servers import Server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def in_a_child(work: Callable[[], None]) -> int:
    """Run in a forked process; its exit status, 0 when the work raised nothing."""
    with warnings.catch_warnings():
        # Threads of the proxy and of pytest's timeout do not live on in the child.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_parent_and_child_have_connections_and_sessions_of_their_own(
    new_broker: Callable[..., RedisBroker],
) -> None:  # I2
    broker = new_broker()
    broker.enqueue([deposit()])
    member = Member(broker)
    [lease] = member.take()

    def child() -> None:
        assert broker.enqueue([deposit()]) == [True]
        assert broker.enqueue([deposit()]) == [True]
        assert broker.counts([QUEUE])[0].ready == 2
        broker.close()

    assert in_a_child(child) == 0
    assert broker.enqueue([deposit()]) == [True]
    assert broker.report([success(lease)]).verdicts == (Verdict.APPLIED,)
    counts = broker.counts([QUEUE])[0]
    assert (counts.ready, counts.leased, counts.enqueued) == (3, 0, 4)


def test_child_does_not_inherit_an_interrupt(new_broker: Callable[..., RedisBroker]) -> None:
    broker = new_broker()
    broker.interrupt()

    def child() -> None:
        assert not broker._process.waiting._interrupted

    assert in_a_child(child) == 0
    assert Member(broker).fetch(block_seconds=1000.0).verdict is Verdict.APPLIED


def test_child_of_a_process_that_holds_a_lock_is_not_stuck(
    new_broker: Callable[..., RedisBroker],
) -> None:
    broker = new_broker()
    broker.enqueue([deposit()])

    def child() -> None:
        assert broker.enqueue([deposit()]) == [True]
        assert Member(broker).fetch(block_seconds=1000.0).leases

    with broker._process.waiting._lock:
        assert in_a_child(child) == 0


def test_jobs_of_a_process_that_was_killed_are_run_again_or_accounted_for(
    new_broker: Callable[..., RedisBroker],
) -> None:  # I3, I4, I11
    now_ms = [0]
    broker = new_broker(_offset_ms=lambda: now_ms[0])
    survivor = Member(broker)
    again, once, unharmed = deposit(), deposit(max_retries=0), deposit()
    broker.enqueue([again, once, unharmed])

    def child() -> None:
        reply = Member(broker).fetch(idle=2, extra=1)
        assert [lease.direct for lease in reply.leases] == [True, True, False]
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(child) == -signal.SIGKILL
    dead = None
    while dead is None and now_ms[0] < 40_000:
        now_ms[0] += 10_000
        [reply] = broker.beat([survivor.turn()])
        dead = reply.dead
    assert dead is not None
    recovered = broker.recover(QUEUE, dead)
    assert [(lost.stored_id, lost.record) for lost in recovered.lost] == [
        (once.stored_id, once.record)
    ]
    [lease] = survivor.take()
    assert (lease.stored_id, lease.retries) == (unharmed.stored_id, 0)
    broker.report([success(lease)])
    now_ms[0] += 3_000
    broker.beat([survivor.turn()])
    broker.tick(QUEUE, [])
    [lease] = survivor.take()
    assert (lease.stored_id, lease.retries, lease.losses) == (again.stored_id, 1, 1)
    broker.report([success(lease)])
    counts = broker.counts([QUEUE])[0]
    assert (counts.unfinished, counts.failed, counts.members) == (0, 1, 1)


WORKER = """
import os, sys, tempfile, warnings
from collections import Counter
import redis
from spinach import Batch, Engine, RedisBroker

warnings.filterwarnings("ignore", category=DeprecationWarning)
parent = os.getpid()
path = tempfile.mktemp()
log = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
statuses = {}
spin = Engine(RedisBroker(redis.Redis(port=int(sys.argv[1]))), namespace=sys.argv[2])

@spin.task(name="note")
def note(number):
    os.write(log, f"{os.getpid()} {number}\\n".encode())

@spin.task(name="leave")
def leave(how):
    pid = os.fork()
    if pid:
        statuses[how] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    elif how == "exit":
        sys.exit(3)
    elif how == "raise":
        raise ValueError("in the child")

batch = Batch()
for number in range(6000):
    batch.schedule("note", number)
    if number in (1000, 2500, 4000):
        batch.schedule("leave", {1000: "return", 2500: "exit", 4000: "raise"}[number])
spin.schedule_batch(batch)
spin.start_workers(5, stop_when_queue_empty=True)
with open(path) as lines:
    ran = [line.split() for line in lines.read().splitlines()]
assert {process for process, _ in ran} == {str(parent)}
assert Counter(number for _, number in ran) == Counter(map(str, range(6000)))
assert statuses == {"return": 0, "exit": 3, "raise": 1}, statuses
assert spin.failed.list() == []
"""


@pytest.mark.concurrency
def test_a_task_that_forks_makes_no_second_worker(server: Server, namespace: str) -> None:  # I3
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(server.port), namespace],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ValueError: in the child" in done.stderr
