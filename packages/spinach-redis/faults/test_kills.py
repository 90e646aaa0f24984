"""Worker processes that are killed, or stand still for longer than their lease."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..tests.servers import Server
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
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I3, I4, I7, I11
    each = rounds(full=25, bounded=1)
    scenes: dict[str, tuple[str, Scene]] = {}
    for point in POINTS:
        for number in range(each):
            scene = new_scene(server.unix_url, f"kill-{point}-{number}")
            scenes[scene.namespace] = (point, scene)
            scene.schedule("again", gate=str(gate_of(scene)))
    # Lives in each queue from before, with its one thread there at work.
    rescuer = fleet.start(server.unix_url, *scenes, threads=1)
    for _, scene in scenes.values():
        until(lambda scene=scene: scene.effects().starts, 60, "the rescuer is at work")
        scene.schedule(*MIX * 2)

    def doom(namespace: str) -> float:
        point, scene = scenes[namespace]
        process = fleet.start(server.unix_url, namespace, hold=point, ready=False)
        process.expect("held", 120)
        killed_at = fleet.kill(process)
        gate_of(scene).touch()
        return killed_at

    with ThreadPoolExecutor(STARTERS) as pool:
        killed_at = dict(zip(scenes, pool.map(doom, scenes), strict=True))
    for _, scene in scenes.values():
        scene.drained(90)
    rescuer.stop()
    delays = []
    with server.client() as client:
        for namespace, (_, scene) in scenes.items():
            effects = scene.judge(client)
            # Jobs that run at most once and were lost are told of at once, others wait
            # for a random time first.
            delays += [
                told[0].at_ns / 1e9 - killed_at[namespace] for told in effects.failures.values()
            ]
        name = version_of(client)
    assert len(delays) >= len(scenes)
    assert max(delays) <= LEASE_SECONDS + NOTICE_SECONDS
    jobs = (len(MIX) * 2 + 1) * each
    note = f"lease {LEASE_SECONDS:.0f} s, told of after {min(delays):.1f} to {max(delays):.1f} s"
    for fault in POINTS.values():
        record(fault, runs=each, jobs=jobs, server=name, note=note)
