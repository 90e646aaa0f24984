"""Worker processes that are killed, or stand still for longer than their lease."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..tests.servers import Server
from .effects import Effects
from .fleet import Fleet, until
from .results import Record
from .scene import MIX, Scene, version_of

LEASE_SECONDS = 10.0
#: A death is noticed within this time after a lease at the latest (I11).
NOTICE_SECONDS = 10.0
#: Processes that start at once; a machine with two cores is slow to start more.
STARTERS = 6

#: Where a process stops → what that is called in the table.
POINTS = {
    "fetched": "worker killed with SIGKILL before the start of its jobs",
    "running": "worker killed with SIGKILL while its jobs run",
    "effect": "worker killed with SIGKILL after the effect of its jobs",
    "report": "worker killed with SIGKILL before the outcomes of its jobs",
}


def gate_of(scene: Scene) -> Path:
    """The file that lets the rescuer's first job end."""
    return scene.fleet.folder / f"gate-{scene.namespace}"


def test_killed_worker_loses_no_job_and_doubles_none(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    server: Server,
    full: bool,
    record: Record,
) -> None:  # I3, I4, I7, I11
    with server.client() as client:
        name = version_of(client)
    # Enough at once that waiting takes most of the time, and few enough that the machine is not
    # too busy to beat.
    waves = [[point] * 25 for point in POINTS] if full else [list(POINTS)]
    for wave in waves:
        started = time.monotonic()
        delays = kill_all(fleet, new_scene, server, wave)
        low, high = min(delays), max(delays)
        assert high <= LEASE_SECONDS + NOTICE_SECONDS
        note = f"lease {LEASE_SECONDS:.0f} s, told of after {low:.1f} to {high:.1f} s"
        for point in dict.fromkeys(wave):
            runs = wave.count(point)
            jobs = (len(MIX) * 2 + 1) * runs
            seconds = time.monotonic() - started
            record(POINTS[point], runs=runs, jobs=jobs, server=name, note=note, seconds=seconds)


def kill_all(
    fleet: Fleet, new_scene: Callable[..., Scene], server: Server, points: list[str]
) -> list[float]:
    """Kill one worker at each of the points; how long each death was not told of."""
    scenes = {scene.namespace: scene for scene in (new_scene(server.unix_url) for _ in points)}
    point_of = dict(zip(scenes, points, strict=True))
    pids: dict[str, int] = {}
    for scene in scenes.values():
        scene.schedule("again", gate=str(gate_of(scene)))
    # Lives in each queue from before, with its one thread there at work.
    rescuer = fleet.start(server.unix_url, *scenes, threads=1)
    for scene in scenes.values():
        until(lambda scene=scene: scene.effects().starts, 60, "the rescuer is at work")
        scene.schedule(*MIX * 2)

    def doom(namespace: str) -> float:
        process = fleet.start(server.unix_url, namespace, hold=point_of[namespace], ready=False)
        process.expect("held", 120)
        killed_at = fleet.kill(process)
        pids[namespace] = process.pid
        gate_of(scenes[namespace]).touch()
        return killed_at

    with ThreadPoolExecutor(STARTERS) as pool:
        killed_at = dict(zip(scenes, pool.map(doom, scenes), strict=True))
    for scene in scenes.values():
        scene.drained(90)
    rescuer.stop()
    delays = []
    with server.client() as client:
        for namespace, scene in scenes.items():
            effects = scene.judge(client)
            came_as_far_as(point_of[namespace], effects, pids[namespace])
            # Jobs that run at most once and were lost are told of at once, others wait
            # for a random time first.
            told = [failures[0].at_ns / 1e9 for failures in effects.failures.values()]
            assert told, f"{namespace}: nobody was told of the lost jobs"
            delays += [at - killed_at[namespace] for at in told]
    return delays


def came_as_far_as(point: str, effects: Effects, pid: int) -> None:
    """That a process was killed where it should be: what was only fetched started nothing."""
    starts = sum(each.pid == pid for each in effects.all if each.event == "start")
    ends = sum(each.pid == pid for each in effects.all if each.event == "end")
    assert (starts > 0) == (point != "fetched"), f"{point}: {starts} started"
    assert (ends > 0) == (point in ("effect", "report")), f"{point}: {ends} had their effect"
