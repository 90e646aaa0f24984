"""Periodic tasks under kills and lost calls: one job a tick."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from spinach_redis import script

from ..tests.proxy import Loss, Proxy
from ..tests.servers import Server
from .fleet import Fleet, Process
from .results import Record
from .scene import Scene, tidy, version_of

WORKERS = 5
#: The shortest that there is.
PERIOD_SECONDS = 1.0
#: Namespaces whose ticks are counted side by side.
SIDES = 10
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

    def start(proxy: Proxy) -> Process:
        names = [scene.namespace for scene in scenes]
        return fleet.start(proxy.url, *names, threads=1, period_seconds=PERIOD_SECONDS)

    workers = [start(proxy) for proxy in proxies]
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
    # Ticks after that may find nobody there.
    with server.client() as client:
        last_ms = int(client.time()[0]) * 1000
    for proxy in proxies:
        proxy.lose(Loss.ANSWER, b"", times=0)
    for worker in workers:
        worker.stop()
    tidy(*scenes, period_seconds=PERIOD_SECONDS)
    counted = missed = 0
    for scene in scenes:
        with server.client() as client:
            effects = scene.judge(client)
        ran = {int(key.removeprefix("tick/")) for key in effects.starts}
        # Taken by a worker that was killed before it started them.
        lost = {round(entry.job.at.timestamp() * 1000) for entry in scene.engine.failed.list()}
        dues = sorted(due for due in ran | lost if due < last_ms)
        period = int(PERIOD_SECONDS * 1000)
        assert {(due - dues[0]) % period for due in dues} == {0}, "a tick is off the grid"
        counted += len(dues)
        missed += (dues[-1] - dues[0]) // period + 1 - len(dues)
    for proxy in proxies:
        proxy.close()
    # Two ticks become one job only while no worker can reach the server.
    assert counted >= ticks
    assert missed <= counted // 50
    record(
        f"periodic task with {WORKERS} workers, kills and lost replies: one job a tick",
        runs=counted, jobs=counted, server=name,
        note=f"{kills} kills, {losses} lost calls, {missed} ticks joined with the next one",
    )  # fmt: skip
