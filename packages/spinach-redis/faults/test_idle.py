"""Many workers with little to do: what they cost, and how they are woken."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from redis import Redis

from ..tests.servers import Server
from .counter import CountingProxy
from .fleet import Fleet, Process, until
from .results import Record
from .scene import Scene, tidy, version_of

WORKERS = 50
#: How long to listen to idle workers.
LISTEN_SECONDS = 30.0
LISTEN_BOUNDED_SECONDS = 5.0
#: A lost wake-up costs no more than this, in seconds.
BLOCK_SECONDS = 5.0
#: Window of the reconnect backoff once a server has been away for a while.
BACKOFF_SECONDS = 5.0
#: The server stays away so long that all have reached the window's full width.
AWAY_SECONDS = 12.0


def scripts(client: Redis) -> int:
    """Scripts that were run."""
    stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))


def all_counted(proxy: CountingProxy, client: Redis) -> bool:
    """Whether the proxy saw as many scripts as the server ran, or has still before it."""
    # Behind each wait that goes on the fetch was sent already.
    waiting = client.info("clients")["blocked_clients"]
    return proxy.scripts - waiting == scripts(client)


def rate(client: Redis, seconds: float) -> float:
    """Scripts each second."""
    before, started = scripts(client), time.monotonic()
    threading.Event().wait(seconds)
    return (scripts(client) - before) / (time.monotonic() - started)


def test_idle_workers_cost_little_and_one_job_wakes_one(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    own_server: Server,
    full: bool,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I14
    scene = new_scene(own_server.unix_url)
    with contextlib.closing(CountingProxy(own_server.port)) as proxy, own_server.client() as client:
        crowd = fleet.start(
            proxy.url, *([scene.namespace] * WORKERS), threads=1, lease_seconds=30.0
        )
        name = version_of(client)
        until(lambda: client.info("clients")["blocked_clients"] == WORKERS, 60, "all wait")
        # Nothing passes the proxy by, and it takes nothing for a command that is none.
        until(lambda: all_counted(proxy, client), 10, "proxy and server count the same")
        listen = LISTEN_SECONDS if full else LISTEN_BOUNDED_SECONDS
        before, calls, started = scripts(client), proxy.counts(), time.monotonic()
        threading.Event().wait(listen)
        elapsed = time.monotonic() - started
        idle = (scripts(client) - before) / elapsed
        sent = proxy.counts() - calls
        until(lambda: all_counted(proxy, client), 10, "proxy and server count the same")
        commands = sent.total() / elapsed / WORKERS
        # All wait in step, so that a round more or less lies in the time that was listened.
        assert commands <= 0.5 + 2 / listen, sent
        jobs = 400 if full else 100
        before, started, calls = scripts(client), time.monotonic(), proxy.counts()
        for number in range(1, jobs + 1):
            scene.schedule("again")
            until(lambda n=number: len(scene.effects().ends) == n, 10, "the job is done")
        elapsed_jobs = time.monotonic() - started
        # What they would have sent anyway: beats, and a fetch at the end of each wait.
        anyway = (proxy.counts() - calls)["beat"] + WORKERS * elapsed_jobs / BLOCK_SECONDS
        each = (scripts(client) - before - anyway) / jobs
        # A round of fetches more or less lies in that time; of many jobs it is a small part.
        assert each <= 3.0 + (0 if full else WORKERS / jobs)
        scene.drained()
        record(
            f"{WORKERS} idle workers: at most 0.5 commands a second, 3 scripts a job",
            runs=1, jobs=jobs, server=name,
            note=f"{commands:.2f} commands a second and worker, all that they sent "
            f"({', '.join(f'{n} {what}' for what, n in sent.most_common())} in {elapsed:.0f} s); "
            f"{each:.1f} scripts a job",
        )  # fmt: skip
        # What cannot be taken wakes nobody.
        gate = fleet.folder / "gate"
        keys = scene.schedule(*["again.limited"] * 12, gate=str(gate))
        until(lambda: sum(k in scene.effects().starts for k in keys) == 2, 30, "two run")
        runs = rounds(full=10, bounded=1)
        spins = []
        for _ in range(runs):
            client.zadd(f"{{{scene.namespace}/spinach}}:marker", {"1": 0})
            until(
                lambda: client.info("clients")["blocked_clients"] >= WORKERS - 2, 30, "others wait"
            )
            spins.append(rate(client, BLOCK_SECONDS))
        # Each asks once a wait. They wait in step, so that one more round may be heard; and
        # the running ones beat.
        assert max(spins) <= WORKERS * (1 / BLOCK_SECONDS + 1 / BLOCK_SECONDS) + 2
        gate.touch()
        scene.drained()
        crowd.stop()
        scene.judge(client, undisturbed=True)
        record(
            "marker with nothing takeable does not spin", runs=runs, jobs=len(keys), server=name,
            note=f"at most {max(spins):.1f} scripts a second of {WORKERS} workers, "
            f"{idle:.1f} when idle",
        )  # fmt: skip


def test_wake_up_survives_the_worker_that_took_it(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    server: Server,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I14
    runs = rounds(full=10, bounded=0)
    scenes = [new_scene(server.unix_url) for _ in range(runs)]
    takers = [
        fleet.start(server.unix_url, scene.namespace, hold="fetched", threads=1) for scene in scenes
    ]
    with server.client() as client:
        name = version_of(client)
        until(lambda: client.info("clients")["blocked_clients"] >= runs, 30, "takers wait")
        # They wait behind the takers, whom the server wakes first.
        others = fleet.start(server.unix_url, *(scene.namespace for scene in scenes), threads=1)
        until(lambda: client.info("clients")["blocked_clients"] >= 2 * runs, 30, "others wait")
        late = []
        kills = 0
        for scene, taker in zip(scenes, takers, strict=True):
            # The server wakes the client that has waited longest, another one after each round.
            while True:
                ends = len(scene.effects().ends)
                scheduled_at = time.monotonic()
                scene.schedule("again", "again")
                if _got_one(taker, scene, ends + 2):
                    break
            fleet.kill(taker)
            kills += 1
            until(lambda s=scene, n=ends: len(s.effects().ends) > n, 30, "the other job runs")
            late.append(time.monotonic() - scheduled_at)
        for scene in scenes:
            scene.drained(60)
        others.stop()
        for scene in scenes:
            tidy(scene)
            scene.judge(client)
    assert kills == runs
    assert max(late) <= BLOCK_SECONDS + 2.0
    record(
        "taker of a wake-up killed", runs=kills, jobs=sum(len(scene.jobs) for scene in scenes),
        server=name,
        note=f"the next job started after {max(late):.2f} s at most",
    )  # fmt: skip


def _got_one(taker: Process, scene: Scene, ends: int) -> bool:
    """Whether the taker got one of the jobs, rather than the others all of them."""
    until(lambda: taker.said("held") or len(scene.effects().ends) == ends, 10, "somebody took them")
    return bool(taker.said("held"))


def test_reconnects_of_many_workers_are_spread_over_the_backoff(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    own_server: Server,
    rounds: Callable[..., int],
    record: Record,
) -> None:
    rounds(full=1, bounded=0)
    scene = new_scene(own_server.unix_url)
    with own_server.client() as client:
        name = version_of(client)
        crowd = fleet.start(own_server.url, *([scene.namespace] * WORKERS), threads=1)
        until(lambda: client.info("clients")["blocked_clients"] == WORKERS, 60, "all wait")
    own_server.stop(kill=True)
    threading.Event().wait(AWAY_SECONDS)
    instants: list[float] = []
    with socket.create_server(("127.0.0.1", own_server.port), backlog=200) as listener:
        ends_at = time.monotonic() + 2 * BACKOFF_SECONDS
        while (left := ends_at - time.monotonic()) > 0:
            listener.settimeout(left)
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                break
            instants.append(time.monotonic())
            connection.close()
    own_server.start()
    scene.schedule("once", "again")
    scene.drained()
    crowd.stop()
    tidy(scene)
    with own_server.client() as client:
        scene.judge(client, undisturbed=True)
    first = instants[0]
    window = [at - first for at in instants if at - first <= BACKOFF_SECONDS]
    tenths = [
        sum(n / 10 <= at / BACKOFF_SECONDS < (n + 1) / 10 for at in window) for n in range(10)
    ]
    # Each worker has a call or two under way; evenly spread each tenth has a tenth.
    assert len(window) >= WORKERS / 2
    assert max(tenths) <= 0.35 * len(window)
    record(
        f"reconnects of {WORKERS} workers are spread over the backoff window",
        runs=1, jobs=2, server=name,
        note=f"{len(window)} in {BACKOFF_SECONDS:.0f} s, at most {max(tenths)} in a tenth of it",
    )  # fmt: skip
