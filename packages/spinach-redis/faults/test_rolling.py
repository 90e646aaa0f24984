"""Restarts of a busy fleet, one process at a time, over two releases."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ..tests.servers import Server
from .fleet import Fleet, Process
from .load import Load
from .results import Record
from .scene import MIX, Scene, version_of

RESTARTERS = 2


def test_rolling_restart_loses_nothing_and_spends_no_attempt(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    server: Server,
    full: bool,
    rng: random.Random,
    record: Record,
) -> None:  # I13, I20
    seconds, size = (180.0, 10) if full else (5.0, 4)
    scene = new_scene(server.unix_url, release="both")

    def start(release: str) -> Process:
        return fleet.start(server.unix_url, scene.namespace, release=release, threads=3)

    def restart(process: Process) -> Process:
        process.stop()
        # The deployment goes back and forth.
        return start("2" if process.settings.release == "1" else "1")

    workers = [start("12"[number % 2]) for number in range(size)]
    restarts: list[Future[Process]] = []
    ends_at = time.monotonic() + seconds
    tasks = (*MIX, "release.1", "release.2")
    with (
        ThreadPoolExecutor(RESTARTERS) as pool,
        Load(scene, tasks, pause_seconds=0.05, seconds=0.01),
    ):
        count = 0
        while time.monotonic() < ends_at:
            while len(restarts) < RESTARTERS:
                restarts.append(pool.submit(restart, workers.pop(rng.randrange(len(workers)))))
            workers.append(restarts.pop(0).result(90))
            count += 1
        workers += [each.result(90) for each in restarts]
    # One of each is there, whatever the restarts left.
    workers += [start("1"), start("2")]
    scene.drained()
    for worker in workers:
        worker.stop()
    with server.client() as client:
        effects = scene.judge(client, undisturbed=True)
        name = version_of(client)
    assert effects.failures == {}
    record(
        "rolling restart of workers under load, two releases with different tasks",
        runs=1, jobs=len(scene.jobs), server=name,
        note=f"{count} restarts of {size} workers in {seconds:.0f} s",
    )  # fmt: skip
