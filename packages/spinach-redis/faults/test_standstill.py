"""Workers that stand still past their lease, and jobs that kill theirs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

from ..tests.servers import Server
from .fleet import Fleet, Process, until
from .results import Record
from .scene import Scene, version_of

#: Jobs that teach a worker how short they are, so that it buffers many.
LESSONS = ("again",) * 300
NEIGHBOURS = ("again",) * 500


def test_worker_that_slept_past_its_lease_starts_nothing_that_it_lost(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    server: Server,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I5, I16
    runs = rounds(full=10, bounded=0)
    scenes = [new_scene(server.unix_url) for _ in range(runs)]
    sleepers: list[Process] = []
    for scene in scenes:
        scene.schedule(*LESSONS)
        scene.schedule("again", freeze=True)
        scene.schedule(*NEIGHBOURS)
        sleeper = fleet.start(server.unix_url, scene.namespace, hold="freeze", threads=1)
        # It stops itself inside a job, its buffer full of others.
        sleeper.expect("held")
        sleepers.append(sleeper)
        [counts] = scene.broker.counts(["spinach"])
        assert counts.leased > 20, "the worker has buffered nothing"
    others = fleet.start(server.unix_url, *(scene.namespace for scene in scenes))
    for scene in scenes:
        scene.drained(90)
    others.stop()
    woken_at = {}
    for scene, sleeper in zip(scenes, sleepers, strict=True):
        woken_at[sleeper.pid] = time.monotonic_ns()
        sleeper.send(signal.SIGCONT)
        new = set(scene.schedule("once", "again", "again.limited"))
        scene.drained()
        sleeper.stop()
        with server.client() as client:
            effects = scene.judge(client)
            name = version_of(client)
        started = {
            key
            for key, starts in effects.starts.items()
            for start in starts
            if start.pid == sleeper.pid and start.at_ns > woken_at[sleeper.pid]
        }
        assert started == new
    jobs = sum(len(scene.jobs) for scene in scenes)
    record(
        "worker stopped past its lease, then continued: starts nothing it lost",
        runs=runs, jobs=jobs, server=name,
    )  # fmt: skip


def test_poison_job_harms_none_of_its_neighbours(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    server: Server,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I7, I12
    runs = rounds(full=5, bounded=0)
    scenes = [new_scene(server.unix_url) for _ in range(runs)]
    poisons = {}
    for scene in scenes:
        scene.schedule(*LESSONS)
        [poisons[scene.namespace]] = scene.schedule("poison")
        scene.schedule(*NEIGHBOURS)
    deaths = {scene.namespace: 0 for scene in scenes}

    def supervise(scene: Scene) -> None:
        """Start it again whenever it dies, as an operator's supervisor does."""
        while poisons[scene.namespace] not in scene.failed():
            process = fleet.start(server.unix_url, scene.namespace, threads=1)
            until(
                lambda p=process: not p.running or poisons[scene.namespace] in scene.failed(),
                120,
                "the poison is at work",
            )
            if not process.running:
                deaths[scene.namespace] += 1
        scene.drained()
        process.stop()

    threads = [threading.Thread(target=supervise, args=(scene,)) for scene in scenes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(400)
        assert not thread.is_alive()
    for scene in scenes:
        poison = poisons[scene.namespace]
        with server.client() as client:
            effects = scene.judge(client, may_fail={poison})
            name = version_of(client)
        assert "WorkerLost" in scene.failed()[poison]
        # What ran may have lost its outcome with the worker; what waited lost nothing.
        spent = [key for key, starts in effects.starts.items() if starts[0].retries]
        assert spent == []
    note = f"each killed {min(deaths.values())} to {max(deaths.values())} workers"
    jobs = sum(len(scene.jobs) for scene in scenes)
    record(
        "poison job with 500 buffered neighbours: none failed, none lost an attempt",
        runs=runs, jobs=jobs, server=name, note=note,
    )  # fmt: skip
