"""Servers that are up and refuse: full, busy, loading, read-only, crowded, forgetful."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from spinach.exc import BrokerFull

from ..tests.servers import Server, running_server
from .fleet import Fleet, until
from .load import Load
from .results import Record
from .scene import Scene, version_of

#: How long a refusal lasts.
FAULT_SECONDS = 1.0

#: Keys that make loading take its time, and the delay of each in µs.
BALLAST = 6000
LOAD_DELAY_US = 200


@contextmanager
def full_memory(server: Server, client: Redis) -> Iterator[None]:
    """Every write that needs memory is refused."""
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", 0)


@contextmanager
def scripts_flushed(server: Server, client: Redis) -> Iterator[None]:
    """Scripts are forgotten."""
    client.script_flush()
    yield


@contextmanager
def connections_killed(server: Server, client: Redis) -> Iterator[None]:
    """Connections end, those that wait among them."""
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    yield


@contextmanager
def busy(server: Server, client: Redis) -> Iterator[None]:
    """Somebody's script does not end."""
    client.config_set("lua-time-limit", 10)
    with server.client(socket_timeout=60) as other:

        def run_for_ever() -> None:
            with contextlib.suppress(ResponseError):
                other.eval("while true do end", 0)

        loop = threading.Thread(target=run_for_ever, name="busy")
        loop.start()
        yield
        # Not before it began, and it may have to be said twice.
        while loop.is_alive():
            with contextlib.suppress(ResponseError):
                client.script_kill()
            loop.join(0.05)


@contextmanager
def loading(server: Server, client: Redis) -> Iterator[None]:
    """The server died and reads what it had written."""
    server.restart(kill=True)
    yield


@contextmanager
def read_only(server: Server, client: Redis) -> Iterator[None]:
    """The server became the replica of one that is not there."""
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    yield
    client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def crowded(server: Server, client: Redis) -> Iterator[None]:
    """No connection is accepted, and the old ones are gone."""
    client.config_set("maxclients", 1)
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    yield
    client.config_set("maxclients", 10_000)


#: Errors that a script gets when it writes; at all others it does not run.
WITHIN_SCRIPTS = ("OOM", "READONLY")


def refused(word: str) -> Callable[[Redis], int]:
    """Counts the commands that were refused with this word."""

    def count(client: Redis) -> int:
        if word in WITHIN_SCRIPTS and wraps(client):
            return failed_scripts(client)
        stats = client.info("errorstats")
        return int(stats.get(f"errorstat_{word}", {"count": 0})["count"])

    return count


def failed_scripts(client: Redis) -> int:
    """Scripts that were known and failed, which none does by itself."""
    stats = client.info("commandstats").get("cmdstat_evalsha", {"failed_calls": 0})
    unknown = client.info("errorstats").get("errorstat_NOSCRIPT", {"count": 0})
    return int(stats["failed_calls"]) - int(unknown["count"])


def wraps(client: Redis) -> bool:
    """Whether the server does not say why a script failed: before Redis 7.0."""
    info = client.info("server")
    return "valkey_version" not in info and int(info["redis_version"].split(".")[0]) < 7


def renewed(client: Redis) -> int:
    """Connections ever made, this one left out, which is kept."""
    return int(client.info("stats")["total_connections_received"])


def turned_away(client: Redis) -> int:
    """Connections that there was no room for."""
    return int(client.info("stats")["rejected_connections"])


@dataclass(frozen=True)
class Fault:
    bring_about: Callable[[Server, Redis], AbstractContextManager[None]]
    #: What the server counts of those it befell.
    victims: Callable[[Redis], int]
    #: The server died with its counters.
    counts_anew: bool = False


FAULTS = {
    "server out of memory": Fault(full_memory, refused("OOM")),
    "SCRIPT FLUSH": Fault(scripts_flushed, refused("NOSCRIPT")),
    "CLIENT KILL of every connection": Fault(connections_killed, renewed),
    "BUSY: a script of somebody else runs": Fault(busy, refused("BUSY")),
    "LOADING": Fault(loading, refused("LOADING"), counts_anew=True),
    "READONLY": Fault(read_only, refused("READONLY")),
    "maxclients reached": Fault(crowded, turned_away),
}


@pytest.fixture
def slow_loader() -> Iterator[Server]:
    """A server that takes about a second to load."""
    options = ("--appendonly", "yes", "--key-load-delay", str(LOAD_DELAY_US))
    with running_server(*options) as server:
        with server.client() as client, client.pipeline(transaction=False) as pipeline:
            for number in range(BALLAST):
                pipeline.set(f"ballast:{number}", "")
            pipeline.execute()
        yield server


def test_refusing_server_delays_jobs_and_harms_none(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    slow_loader: Server,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I1 to I6, I11
    server = slow_loader
    runs = rounds(full=5, bounded=1)
    scene = new_scene(server.url)
    workers = [fleet.start(server.url, scene.namespace, threads=3) for _ in range(2)]
    accepted: dict[str, tuple[int, int, float]] = {}
    with server.client() as client, Load(scene) as load:
        name = version_of(client)
        for kind, fault in FAULTS.items():
            before, started, least = len(scene.jobs), time.monotonic(), sys.maxsize
            for _ in range(runs):
                load.goes_on(10)
                victims = 0 if fault.counts_anew else fault.victims(client)
                with fault.bring_about(server, client):
                    threading.Event().wait(FAULT_SECONDS)
                least = min(least, fault.victims(client) - victims)
                assert least > 0, f"{kind} concerned no call"
                # Workers and producers are back.
                load.goes_on(10)
                ends = len(scene.effects().ends)
                until(lambda ends=ends: len(scene.effects().ends) > ends, 30, "workers go on")
            accepted[kind] = (len(scene.jobs) - before, least, time.monotonic() - started)
    # A full server says so; all else is waited for.
    assert {type(error) for error in load.errors} == {BrokerFull}
    scene.drained()
    for worker in workers:
        worker.stop()
    with server.client() as client:
        scene.judge(client, undisturbed=True)
    for kind, (jobs, least, seconds) in accepted.items():
        record(
            kind, runs=runs, jobs=jobs, server=name, seconds=seconds,
            note=f"befell {least} commands or connections at least, each time",
        )  # fmt: skip
