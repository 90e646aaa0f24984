"""Periodic tasks under kills and lost calls: one job a tick."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from spinach_redis import scripts as script

from ..tests.proxy import Loss, Proxy
from ..tests.servers import Server
from .fleet import Fleet, Process, until
from .ledger import read
from .results import Record
from .scene import Scene, tidy, version_of

WORKERS = 5
#: The shortest that there is.
PERIOD_SECONDS = 1.0
#: Namespaces whose ticks are counted side by side.
SIDES = 10
#: How far the test's idea of the server's clock may be off, in ms.
CLOCK_MS = 50
#: How often something is done to the workers.
LOSS_SECONDS = 0.3
KILL_SECONDS = 4.0


def test_each_tick_becomes_one_job_whatever_happens_to_the_workers(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    server: Server,
    rounds: Callable[..., int],
    rng: random.Random,
    record: Record,
) -> None:  # I15
    ticks = rounds(full=300, bounded=0)
    scenes = [new_scene(server.unix_url) for _ in range(SIDES)]
    proxies = [Proxy(server.port) for _ in range(WORKERS)]
    with server.client() as client:
        name = version_of(client)
        for each in script.SCRIPTS:
            client.script_load(each.text)

    def start(proxy: Proxy, *, ready: bool = True) -> Process:
        names = [scene.namespace for scene in scenes]
        return fleet.start(proxy.url, *names, threads=1, period_seconds=PERIOD_SECONDS, ready=ready)

    workers = [start(proxies[0], ready=False)]
    # The first tick is due a period after the first worker joined.
    first_ms = {scene: next_due(scene) for scene in scenes}
    workers += [start(proxy) for proxy in proxies[1:]]
    ends_at = time.monotonic() + ticks / SIDES * PERIOD_SECONDS + 1.0
    kill_at = time.monotonic() + KILL_SECONDS
    kills = losses = 0
    while time.monotonic() < ends_at:
        threading.Event().wait(LOSS_SECONDS)
        needle = rng.choice([script.FIRE.sha, script.TICK.sha])
        rng.choice(proxies).lose(rng.choice(list(Loss)), needle)
        losses += 1
        if time.monotonic() >= kill_at:
            victim = rng.randrange(WORKERS)
            fleet.kill(workers[victim])
            workers[victim] = start(proxies[victim])
            kills += 1
            kill_at = time.monotonic() + KILL_SECONDS
    for proxy in proxies:
        proxy.lose(Loss.ANSWER, b"", times=0)
    # All ticks up to here are awaited; later ones may find nobody there.
    with server.client() as client:
        seconds, microseconds = client.time()
        last_ms = seconds * 1000 + microseconds // 1000
        ahead_ms = last_ms - time.monotonic_ns() // 1_000_000
    for scene in scenes:
        until(lambda s=scene: next_due(s) > last_ms, 30, "the last tick is fired")
    for worker in workers:
        worker.stop()
    tidy(*scenes, period_seconds=PERIOD_SECONDS)
    counted = joined = 0
    period_ms = int(PERIOD_SECONDS * 1000)
    for scene in scenes:
        with server.client() as client:
            effects = scene.judge(client)
            [ledger] = [each for each in read(client, scene.namespace) if each.queue == "spinach"]
        ran = {int(key.removeprefix("tick/")): key for key in effects.starts}
        # Taken by a worker that was killed before it started them.
        lost = {round(entry.job.at.timestamp() * 1000) for entry in scene.engine.failed.list()}
        dues = ran.keys() | lost
        # As many jobs as ticks were ever stored, which no tick that ran twice can hide.
        assert int(ledger.get("enqueued", "0")) == len(dues)
        due = first_ms[scene]
        assert min(dues) == due
        while due <= last_ms:
            # Ticks pass without a job of their own only if the one before them was itself
            # fired when they were due already, because no call got through until then (I15).
            after = due + period_ms
            while after not in dues and after <= last_ms:
                if due in ran:
                    started_ms = effects.starts[ran[due]][0].at_ns // 1_000_000 + ahead_ms
                    assert started_ms >= after - CLOCK_MS, f"no job of the tick at {after}"
                joined += 1
                after += period_ms
            counted += 1
            due = after
        assert all((each - first_ms[scene]) % period_ms == 0 for each in dues), "off the grid"
    for proxy in proxies:
        proxy.close()
    assert counted + joined >= ticks
    assert joined <= counted // 50
    record(
        f"periodic task with {WORKERS} workers, kills and lost replies: one job a tick",
        runs=counted, jobs=counted, server=name,
        note=f"{kills} kills, {losses} lost calls, {joined} ticks joined with a late one",
    )  # fmt: skip


def next_due(scene: Scene) -> int:
    """When the next tick is due, in ms of the server, once that is known."""
    client, key = scene.client(), f"{{{scene.namespace}/spinach}}:periodic"
    try:
        until(lambda: client.zscore(key, "tick") is not None, 30, "the task is declared")
        return int(client.zscore(key, "tick"))
    finally:
        client.close()
