"""Workers that are told to stop while their server is away."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable

import pytest

from ..tests.servers import Server
from .fleet import Fleet
from .load import Load
from .results import Record
from .scene import Scene, tidy, version_of


@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_worker_that_is_told_to_stop_without_a_server_ends_and_loses_nothing(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    own_server: Server,
    rounds: Callable[..., int],
    rng: random.Random,
    record: Record,
    how: str,
) -> None:  # I3, I4, I13
    runs = rounds(full=5, bounded=0)
    scene = new_scene(own_server.url)
    longest = 0.0
    with Load(scene) as load:
        for _ in range(runs):
            workers = [fleet.start(own_server.url, scene.namespace, threads=3) for _ in range(2)]
            load.goes_on()
            own_server.freeze() if how == "frozen" else own_server.stop(kill=True)
            began = time.monotonic()
            for worker in workers:
                worker.send(signal.SIGTERM)
            for worker in workers:
                worker.ended(60)
            longest = max(longest, time.monotonic() - began)
            own_server.thaw() if how == "frozen" else own_server.start()
    # The server did not hear of their ends.
    tidy(scene)
    with own_server.client() as client:
        scene.judge(client)
        name = version_of(client)
    record(
        f"worker stopped with SIGTERM while the server is {how}",
        runs=runs, jobs=len(scene.jobs), server=name,
        note=f"each ended within {longest:.1f} s",
    )  # fmt: skip


def test_worker_that_is_killed_while_it_stops_loses_no_job(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    server: Server,
    rounds: Callable[..., int],
    rng: random.Random,
    record: Record,
) -> None:  # I3, I4, I13
    runs = rounds(full=10, bounded=0)
    scene = new_scene(server.unix_url)
    with Load(scene, pause_seconds=0.2, seconds=0.05) as load:
        for _ in range(runs):
            worker = fleet.start(server.unix_url, scene.namespace, threads=3)
            load.goes_on()
            worker.send(signal.SIGTERM)
            threading.Event().wait(rng.uniform(0, 0.3))
            fleet.kill(worker)
    tidy(scene)
    with server.client() as client:
        scene.judge(client)
        name = version_of(client)
    record(
        "worker killed with SIGKILL while it stops",
        runs=runs, jobs=len(scene.jobs), server=name,
    )  # fmt: skip
