"""Who calls a broker from an event loop is told so once, with the remedy."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time

import pytest

from spinach import Engine
from spinach_redis import RedisBroker, eventloop

from .servers import Server


@pytest.fixture(autouse=True)
def not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that begins."""
    monkeypatch.setattr(eventloop, "_told", False)


def engine_of(server: Server) -> Engine:
    spin = Engine(RedisBroker.from_url(server.unix_url), namespace="loops")
    spin.task(name="nothing")(print)
    return spin


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "event loop" in each.getMessage()]


@pytest.mark.parametrize(
    "call, remedy",
    [
        ("schedule", "await asyncio.to_thread(spin.schedule, task, ...)"),
        ("list", "await asyncio.to_thread(spin.failed.list, ...)"),
    ],
)
def test_blocking_call_in_a_loop_is_told_once(
    server: Server, caplog: pytest.LogCaptureFixture, call: str, remedy: str
) -> None:
    engines = [engine_of(server) for _ in range(2)]

    async def serve() -> None:
        for spin in engines:
            for _ in range(2):
                if call == "schedule":
                    spin.schedule("nothing")
                else:
                    spin.failed.list()

    asyncio.run(serve())
    [text] = told(caplog)
    assert remedy in text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_question_to_a_namespace_without_queues_is_told(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    # Nothing was ever scheduled there, so to ask for its queues is the only call.
    spin = Engine(RedisBroker.from_url(server.unix_url), namespace="loops-empty")

    async def serve() -> None:
        assert spin.failed.list() == []

    asyncio.run(serve())
    [text] = told(caplog)
    assert "await asyncio.to_thread(spin.failed.list, ...)" in text


def test_call_on_another_thread_is_as_it_should_be(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    spin = engine_of(server)
    spin.schedule("nothing")

    async def serve() -> None:
        await asyncio.to_thread(spin.schedule, "nothing")

    asyncio.run(serve())
    assert told(caplog) == []


PROGRAM = """
import asyncio, logging, os, signal, sys, time
from spinach import Engine, RedisBroker
from spinach.exc import ScheduleUncertain

logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
url, pid = sys.argv[1], int(sys.argv[2])
spin = Engine(RedisBroker.from_url(url), "web")
spin.task(name="nothing")(print)


async def serve():
    spin.schedule("nothing")
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        spin.schedule("nothing")
    except ScheduleUncertain as error:
        print(time.monotonic() - began, len(error.unknown))


asyncio.run(serve())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing stops a process there")
def test_process_with_a_loop_is_free_again_after_five_seconds(own_server: Server) -> None:
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, own_server.url, str(own_server.pid)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    own_server.thaw()
    seconds, unknown = ended.stdout.split()
    assert 4.0 < float(seconds) < 6.0
    assert int(unknown) == 1
    assert time.monotonic() - began < 30
    [line] = [each for each in ended.stderr.splitlines() if "event loop" in each]
    assert line.startswith("WARNING spinach.broker.redis A job was scheduled on a thread")
