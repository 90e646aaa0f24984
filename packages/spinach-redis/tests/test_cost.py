"""What a job may cost, counted and not timed: commands that are sent, functions called.

The bounds are what was measured when they were written. Who has to raise one makes every
job dearer, and should say what it buys.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import pytest

from spinach import Batch, Engine
from spinach.brokers.calls import TickReply, Verdict
from spinach_redis import RedisBroker, requests
from spinach_redis.keys import QueueKeys
from spinach_redis.scripts import SCRIPTS

from .jobs import QUEUE, Member, deposit, success
from .servers import Server

NewBroker = Callable[..., RedisBroker]


class Commands:
    """Counts by name of what carries or waits for jobs."""

    def __init__(self) -> None:
        self.by_name: dict[str, int] = {}

    @property
    def total(self) -> int:
        return sum(self.by_name.values())


@contextmanager
def commands_sent(server: Server) -> Iterator[Commands]:
    """What clients send within the block.

    The server's counts include what scripts call, but scripts call none of these. What a
    new connection says of itself does not count.
    """
    sent = Commands()
    with server.client() as client:
        before = counts(client)
        yield sent
        after = counts(client)
    for name, number in after.items():
        if number > before.get(name, 0):
            sent.by_name[name] = number - before.get(name, 0)


def counts(client: Any) -> dict[str, int]:
    stats = client.info("commandstats")
    return {
        name: stats[f"cmdstat_{name}"]["calls"]
        for name in ("evalsha", "eval", "bzpopmin", "wait")
        if f"cmdstat_{name}" in stats
    }


@contextmanager
def commands_of_scripts(server: Server) -> Iterator[Commands]:
    """What the scripts call within the block."""
    called = Commands()
    ours = {"evalsha", "info", "config|resetstat", "client|setinfo", "hello"}
    with server.client() as client:
        client.config_resetstat()
        yield called
        for name, numbers in client.info("commandstats").items():
            name = name.removeprefix("cmdstat_")
            if name not in ours:
                called.by_name[name] = numbers["calls"]


@contextmanager
def functions_called() -> Iterator[list[str]]:
    """Names of the package's functions that this thread calls within the block.

    Comprehensions are left out, which newer Pythons do not call.
    """
    called: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        module = str(frame.f_globals.get("__name__"))
        name = frame.f_code.co_name
        if event == "call" and module.startswith("spinach_redis.") and name[0] != "<":
            called.append(f"{module}.{name}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(before)


@pytest.fixture(autouse=True)
def known_scripts(own_server: Server) -> None:
    """Only the first call on a server carries a script's text."""
    with own_server.client() as client:
        for each in SCRIPTS:
            client.script_load(each.text)


@pytest.fixture
def spin(own_server: Server) -> Iterator[Engine]:
    """An engine whose connections are open and whose queue exists."""
    broker = RedisBroker.from_url(own_server.unix_url)
    spin = Engine(broker)
    spin.task(name="nothing", max_retries=1)(lambda: None)
    spin.schedule("nothing")
    spin.start_workers(1, stop_when_queue_empty=True)
    yield spin
    broker.close()


def schedule_batch(spin: Engine, number: int) -> None:
    batch = Batch()
    for _ in range(number):
        batch.schedule("nothing")
    spin.schedule_batch(batch)


def test_scheduling_sends_one_command_a_job(own_server: Server, spin: Engine) -> None:
    with commands_sent(own_server) as sent:
        for _ in range(50):
            spin.schedule("nothing")
    assert sent.by_name == {"evalsha": 50}


def test_ready_job_costs_the_server_six_commands(own_server: Server, spin: Engine) -> None:
    with commands_of_scripts(own_server) as called:
        for _ in range(50):
            spin.schedule("nothing")
    # Its session's number twice, the job, its place, the counter, and a look whether the
    # wake-up is there, which the first one gives; no look at the clock.
    names = ("get", "set", "hsetnx", "rpush", "incrby", "exists")
    assert called.by_name == dict.fromkeys(names, 50) | {"zadd": 1}


def test_fetch_of_a_job_costs_the_server_few_commands(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("cost", object())
    member = Member(broker)
    member.take(idle=1)
    broker.enqueue([deposit()])
    with commands_of_scripts(own_server) as called:
        assert len(member.take(idle=1)) == 1
    assert called.total <= 14, called.by_name
    # The list of ready jobs is read once where it ends with what was read.
    assert called.by_name["lrange"] == 1
    broker.close()


def test_batch_sends_one_command_for_500_jobs(own_server: Server, spin: Engine) -> None:
    with commands_sent(own_server) as sent:
        schedule_batch(spin, 10_000)
    assert sent.by_name == {"evalsha": 20}


def test_fetch_and_report_of_a_thousand_jobs_are_one_command_each(
    own_server: Server,
) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("cost", object())
    broker.enqueue([deposit() for _ in range(1_000)])
    member = Member(broker)
    member.take(idle=0)
    with commands_sent(own_server) as fetching:
        leases = member.fetch(idle=10, extra=990).leases
    assert len(leases) == 1_000
    assert fetching.by_name == {"evalsha": 1}
    with commands_sent(own_server) as reporting:
        reply = broker.report([success(lease) for lease in leases])
    assert set(reply.verdicts) == {Verdict.APPLIED}
    assert reporting.by_name == {"evalsha": 1}
    broker.close()


def test_outcomes_that_are_alike_are_two_arguments_each(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("cost", object())
    broker.enqueue([deposit() for _ in range(100)])
    outcomes = [success(lease) for lease in Member(broker).take(idle=100)]
    names = QueueKeys("cost", QUEUE)
    one, all_ = (requests.report(names, "0", some) for some in (outcomes[:1], outcomes))
    assert len(outcomes) == 100
    assert len(all_.args) - len(one.args) == 2 * 99
    assert len(one.args) <= 13
    broker.close()


def test_calls_do_little_in_python_for_each_of_their_jobs(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("cost", object())
    broker.enqueue([deposit() for _ in range(111)])
    member = Member(broker)
    broker.report([success(lease) for lease in member.take()])
    fetched: list[int] = []
    reported: list[int] = []
    for count in (10, 100):
        with functions_called() as fetching:
            leases = member.take(idle=count)
        outcomes = [success(lease) for lease in leases]
        with functions_called() as reporting:
            broker.report(outcomes)
        assert len(leases) == count
        fetched.append(len(fetching))
        reported.append(len(reporting))
    # The number of jobs does not matter, but for one look at each outcome. One of them is the
    # write that spares a system call.
    assert fetched[0] == fetched[1] <= 48
    assert reported[1] - reported[0] == 90
    assert reported[0] - 10 <= 39
    broker.close()


def test_wait_for_a_job_is_two_commands(own_server: Server) -> None:
    broker = RedisBroker.from_url(own_server.unix_url)
    broker.bind("cost", object())
    broker.enqueue([deposit()])
    member = Member(broker)
    with commands_sent(own_server) as sent:
        assert len(member.fetch(idle=1, block_seconds=5).leases) == 1
    # The marker and the fetch, in one round trip.
    assert sent.by_name == {"bzpopmin": 1, "evalsha": 1}
    broker.close()


def test_drain_sends_few_commands_for_many_jobs(own_server: Server, spin: Engine) -> None:
    schedule_batch(spin, 5_000)
    with commands_sent(own_server) as sent:
        spin.start_workers(10, stop_when_queue_empty=True)
    # How many depends on how threads take turns: 20 when measured. Two commands a job, the
    # way of a naive worker, would be 10,000.
    assert sent.total <= 500, sent.by_name


def test_job_that_becomes_due_takes_one_look(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told too little, a worker would look again and again until the instant."""
    broker = RedisBroker.from_url(own_server.unix_url)
    spin = Engine(broker)
    looks: list[float | None] = []
    tick = broker.tick

    def counting(queue: str, periodic: Sequence[str]) -> TickReply:
        reply = tick(queue, periodic)
        looks.append(reply.next_due_in_ms)
        return reply

    monkeypatch.setattr(broker, "tick", counting)
    ran = threading.Semaphore(0)
    spin.task(name="ran", max_retries=0)(ran.release)
    first = datetime.now(UTC) + timedelta(milliseconds=100)
    for number in range(20):
        spin.schedule_at("ran", first + number * timedelta(milliseconds=10.25))
    spin.start_workers(2, block=False)
    assert all(ran.acquire(timeout=20) for _ in range(20))
    spin.stop_workers()
    broker.close()
    # Two to spare for clocks that are being set, and for a wake-up that crosses a look.
    assert len(looks) <= 20 + 2, looks
