"""Nested calls: signal handlers and log handlers that schedule, on a real server."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from spinach import Engine
from spinach.exc import BrokerUnavailable
from spinach_redis import RedisBroker, producer
from spinach_redis.transport import connection

from .jobs import deposit
from .servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clusters import Cluster
    from .servers import Server

INTERRUPTED = """
import signal, sys
from redis.cluster import RedisCluster
from spinach import Engine, RedisBroker

kind, where, namespace = sys.argv[1:]
if kind == "cluster":
    broker = RedisBroker(RedisCluster.from_url(where))
else:
    broker = RedisBroker.from_url(where)
spin = Engine(broker, namespace)
spin.task(name="note", max_retries=1)(lambda *_: None)
nested, deep = [], []
EVERY = 0.0013

def on_alarm(*_):
    # Two deep at most, where a call takes longer than that.
    deep.append(None)
    if len(deep) == 1:
        signal.setitimer(signal.ITIMER_REAL, EVERY)
    nested.append(spin.schedule("note", "nested"))
    deep.pop()
    signal.setitimer(signal.ITIMER_REAL, EVERY)

signal.signal(signal.SIGALRM, on_alarm)
# From before the first connection is opened on.
signal.setitimer(signal.ITIMER_REAL, EVERY)
outer = [spin.schedule("note", "outer") for _ in range(1_500)]
spin.failed.list("spinach")
signal.signal(signal.SIGALRM, signal.SIG_IGN)
print(len(outer), len(nested))
broker.close()
"""


@pytest.mark.concurrency
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such timers")
@pytest.mark.parametrize("kind", ["server", "cluster"])
def test_each_job_of_a_process_whose_signal_handler_schedules_is_stored_once(
    kind: str, request: pytest.FixtureRequest, namespace: str
) -> None:
    if kind == "server":
        server: Server = request.getfixturevalue("server")
        where, broker = server.unix_url, RedisBroker.from_url(server.unix_url)
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        where, broker = cluster.url, RedisBroker(cluster.client())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", INTERRUPTED, kind, where, namespace],
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outer, nested = map(int, done.stdout.split())
    assert nested > 50
    broker.bind(namespace, object())
    [counts] = broker.counts(["spinach"])
    broker.close()
    assert (counts.ready, counts.enqueued) == (outer + nested, outer + nested)


BROKEN_OFF = """
import random, signal, sys, time
from spinach import Engine, RedisBroker

class Stop(Exception):
    pass

def on_alarm(*_):
    if in_call:
        raise Stop

broker = RedisBroker.from_url(sys.argv[1])
spin = Engine(broker, sys.argv[2])
spin.task(name="note", max_retries=1)(lambda *_: None)
signal.signal(signal.SIGALRM, on_alarm)
in_call, stored, broken = False, 0, 0
until = time.monotonic() + 20
while broken < 600 and time.monotonic() < until:
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.random() * 0.0002 + 0.000001)
            in_call = True
            spin.schedule("note")
            in_call = False
            stored += 1
        finally:
            in_call = False
    except Stop:
        broken += 1
signal.signal(signal.SIGALRM, signal.SIG_IGN)
print(stored, broken)
"""


@pytest.mark.concurrency
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such timers")
def test_a_process_outlives_signal_handlers_that_break_off_its_calls(
    server: Server, new_broker: Callable[..., RedisBroker], namespace: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BROKEN_OFF, server.unix_url, namespace],
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stored, broken = map(int, done.stdout.split())
    assert broken > 100
    # One that was broken off may be stored or not.
    assert stored <= new_broker().counts(["spinach"])[0].ready <= stored + broken


def test_hiredis_gets_no_numbers_of_a_client(
    new_broker: Callable[..., RedisBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes text of them, where Python lets signal handlers run and it checks no error."""
    pack, packed = connection._PACK, []
    if pack is None:
        pytest.skip("hiredis is not installed")

    def noting(command: tuple[object, ...]) -> bytes:
        packed.append(command)
        return pack(command)

    monkeypatch.setattr(connection, "_PACK", noting)
    broker = new_broker()
    broker.enqueue([deposit(due_ms=1), deposit()])
    broker.failed_jobs("spinach")
    broker.retry_failed("spinach", ["1x"])
    scripts = [command for command in packed if command[0] in (b"EVAL", b"EVALSHA")]
    assert len(scripts) >= 3
    assert {type(part) for command in packed for part in command} <= {bytes, str}


def test_log_handler_may_schedule_when_told_that_the_server_is_away(
    server: Server, new_broker: Callable[..., RedisBroker], namespace: str
) -> None:
    """On another server, or on the same one, which refuses once more."""
    away = Engine(RedisBroker.from_url(f"redis://127.0.0.1:{free_port()}"), namespace)
    there = Engine(RedisBroker.from_url(server.unix_url), namespace)
    stored, refused = [], []

    class Scheduling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            stored.append(there.schedule("note"))
            try:
                away.schedule("note")
            except BrokerUnavailable as error:
                refused.append(error)

    for engine in (away, there):
        engine.task(name="note")(lambda: None)
    logger, handler = logging.getLogger("spinach.broker.redis"), Scheduling()
    away._broker._process.client.client_seconds = 0.2
    logger.addHandler(handler)
    try:
        with pytest.raises(BrokerUnavailable):
            away.schedule("note")
    finally:
        logger.removeHandler(handler)
    assert len(stored) == len(refused) == 1
    assert new_broker().counts(["spinach"])[0].ready == 1
    away._broker.close()
    there._broker.close()


def test_connections_and_sessions_of_calls_in_progress_are_lent_to_no_nested_call(
    new_broker: Callable[..., RedisBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = new_broker()
    broker.enqueue([deposit()])
    used: list[int] = []
    receive, numbered = connection.Connection.receive, producer._number

    def nested(self: connection.Connection) -> object:
        mine = len(used)
        used.append(id(self))
        if mine == 0:
            broker.enqueue([deposit()])
        return receive(self)

    sessions: list[int] = []

    def noting(chunk: object, known: dict[str, object]) -> None:
        sessions.append(id(known))
        numbered(chunk, known)

    monkeypatch.setattr(connection.Connection, "receive", nested)
    monkeypatch.setattr(producer, "_number", noting)
    broker.enqueue([deposit()])
    monkeypatch.undo()
    assert len(set(used)) == len(used) == 2
    assert len(set(sessions)) == len(sessions) == 2
    assert broker.counts([deposit().queue])[0].ready == 3
