"""What replies of the server tell of a pause, of a full server, and of who died."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from spinach import Engine
from spinach.brokers.calls import Verdict
from spinach_redis import RedisBroker, replies

from .jobs import QUEUE, Member, deposit
from .servers import Server, until

PAUSED = f"{{told/{QUEUE}}}:paused"
SECONDS = 20.0


@pytest.fixture
def broker(own_server: Server) -> Iterator[RedisBroker]:
    broker = RedisBroker.from_url(own_server.unix_url)
    yield broker
    broker.close()


@pytest.fixture
def client(own_server: Server) -> Iterator[Any]:
    with own_server.client() as client:
        yield client


def test_fetch_tells_that_the_queue_is_paused(broker: RedisBroker, client: Any) -> None:
    broker.bind("told", object())
    broker.enqueue([deposit()])
    member = Member(broker)
    client.set(PAUSED, 1)
    reply = member.fetch()
    assert (reply.leases, reply.more, reply.paused) == ((), False, True)
    client.delete(PAUSED)
    reply = member.fetch()
    assert (len(reply.leases), reply.paused) == (1, False)


def test_beat_tells_that_the_server_is_full_and_proves_life_all_the_same(
    broker: RedisBroker, client: Any
) -> None:
    broker.bind("told", object())
    member, other = Member(broker), Member(broker)
    broker.enqueue([deposit()])
    assert len(member.fetch().leases) == 1

    def beat() -> list[tuple[Verdict, bool]]:
        turns = [member.turn(), other.turn()]
        return [(each.verdict, each.full) for each in broker.beat(turns)]

    applied = Verdict.APPLIED
    members = client.zcard(f"{{told/{QUEUE}}}:members")
    assert beat() == [(applied, False)] * 2
    client.config_set("maxmemory", 1)
    try:
        assert beat() == [(applied, True)] * 2
    finally:
        client.config_set("maxmemory", 0)
    assert beat() == [(applied, False)] * 2
    # The look at the memory left nothing.
    assert client.zcard(f"{{told/{QUEUE}}}:members") == members == 2


def test_look_at_the_memory_costs_a_beat_no_command(broker: RedisBroker, client: Any) -> None:
    broker.bind("told", object())
    member = Member(broker)
    broker.beat([member.turn()])
    client.config_resetstat()
    broker.beat([member.turn()])
    ours = {"evalsha", "info", "config|resetstat"}
    called = {
        name.removeprefix("cmdstat_"): numbers["calls"]
        for name, numbers in client.info("commandstats").items()
    }
    called = {name: calls for name, calls in called.items() if name not in ours}
    # One of them looks whether a sample is due.
    assert sum(called.values()) == 8, called


@pytest.mark.concurrency
def test_worker_tells_of_a_pause_and_of_its_end(
    broker: RedisBroker, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spinach.worker")
    spin = Engine(broker, namespace="told")
    ran: list[int] = []
    spin.task(name="note", queue=QUEUE)(ran.append)
    client.set(PAUSED, 1)
    spin.schedule("note", 1)
    spin.start_workers(1, QUEUE, block=False)
    try:
        until(lambda: f"Queue {QUEUE} is paused" in caplog.text, "the pause", SECONDS)
        assert ran == []
        client.delete(PAUSED)
        until(lambda: f"Queue {QUEUE} is resumed" in caplog.text, "the end of it", SECONDS)
        until(lambda: ran == [1], "the job", SECONDS)
    finally:
        spin.stop_workers()
    assert caplog.text.count(f"Queue {QUEUE} is") == 2


@pytest.mark.parametrize(
    ("info", "told"),
    [
        (b'30000 a b\n{"host": "h", "pid": "7"}', {"host": "h", "pid": "7"}),
        (b'30000 \n{"pid": 7}', {"pid": "7"}),
        (b"30000 ", {}),
        (b"30000 \nnot json", {}),
        (b"30000 \n[1]", {}),
        (b"30000 \n\xff", {}),
        (b"", {}),
    ],
)
def test_description_of_the_dead_is_read_whatever_release_wrote_it(
    info: bytes, told: dict[str, str]
) -> None:
    reply = replies.recover_reply([b"APPLIED", 0, [], 4, 3, info, 0])
    assert (reply.verdict, reply.ready, reply.retrying) == (Verdict.APPLIED, 4, 3)
    assert reply.info == told
