"""Servers that die, stay away, stand still, or forget the last they were told."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spinach.exc import BrokerUnavailable, ScheduleUncertain

from ..tests.servers import Server, running_server
from . import ledger
from .disk import Forgotten, drops_torn_transactions, log_of, whole
from .fleet import Fleet, Process, until
from .load import Load
from .results import Record
from .scene import Scene, tidy, version_of

LEASE_SECONDS = 10.0
STALL_SECONDS = 10.0
#: Scenes that go on at once, and the longest time before the fault of one.
AT_ONCE = 5
WELL_SECONDS = 2.0
#: Of a job, where many are to run when the power fails.
JOB_SECONDS = 0.02


def pause(seconds: float) -> None:
    """Let the fault last."""
    threading.Event().wait(seconds)


@pytest.fixture
def name(binary: None) -> str:
    with running_server() as server, server.client() as client:
        return version_of(client)


def judge_all(server: Server, scenes: list[Scene]) -> int:
    """Nobody was taken for dead; how many jobs there were."""
    with server.client() as client:
        for scene in scenes:
            effects = scene.judge(client, undisturbed=True)
            assert effects.failures == {}
    return sum(len(scene.jobs) for scene in scenes)


def test_server_that_is_killed_and_restarted_loses_no_job(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    own_server: Server,
    name: str,
    rounds: Callable[..., int],
    rng: random.Random,
    record: Record,
) -> None:  # I1 to I6, I11
    scene = new_scene(own_server.url)
    workers = [fleet.start(own_server.url, scene.namespace, threads=3) for _ in range(2)]
    runs = rounds(full=10, bounded=2)
    with Load(scene) as load:
        for _ in range(runs):
            load.goes_on()
            pause(rng.uniform(0, 0.5))
            own_server.restart(kill=True)
    scene.drained()
    for worker in workers:
        worker.stop()
    jobs = judge_all(own_server, [scene])
    record("server killed and restarted, AOF always", runs=runs, jobs=jobs, server=name)


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_nobody_is_taken_for_dead_after_an_outage_of_twice_the_lease(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    name: str,
    rounds: Callable[..., int],
    rng: random.Random,
    record: Record,
    how: str,
) -> None:  # I11
    runs = rounds(full=10, bounded=0)

    def play(busy_seconds: float) -> int:
        with running_server("--appendonly", "yes") as server:
            scene = new_scene(server.url)
            workers = [fleet.start(server.url, scene.namespace, threads=4) for _ in range(2)]
            with Load(scene, ("again", "again.limited"), pause_seconds=0.2) as load:
                until(lambda: len(scene.effects().ends) > 4, 30, "a busy pool")
                # Two that go on all the while, two that end while nobody can be told. They begin
                # when the pool is up, which takes its time on a busy machine.
                through = scene.schedule("once", "again", seconds=2.5 * LEASE_SECONDS)
                unheard = scene.schedule("once", "again", seconds=LEASE_SECONDS)
                long = (*through, *unheard)
                until(lambda: all(map(scene.effects().starts.get, long)), 30, "the long jobs run")
                pause(busy_seconds)
                down_ns = time.monotonic_ns()
                server.stop(kill=True) if how == "killed" else server.freeze()
                pause(2 * LEASE_SECONDS)
                up_ns = time.monotonic_ns()
                server.start() if how == "killed" else server.thaw()
                load.goes_on(1)
            # What hangs is waited for. Where nothing listens producers are told soon, with the
            # fate of each job.
            told = {type(error) for error in load.errors}
            assert told <= ({BrokerUnavailable, ScheduleUncertain} if how == "killed" else set())
            assert noticed(fleet, server) >= len(workers)
            jobs = finish(scene, workers, server)
        starts, ends = scene.effects().starts, scene.effects().ends
        assert all(starts[key][0].at_ns < down_ns for key in long)
        assert all(ends[key][0].at_ns > up_ns for key in through)
        assert all(down_ns < ends[key][0].at_ns < up_ns for key in unheard)
        return jobs

    jobs = side_by_side(play, rng, runs)
    fault = f"server {how} for twice the lease, all workers alive: nobody taken for dead"
    record(fault, runs=runs, jobs=jobs, server=name, note="a server and two workers for each run")


def test_stall_in_mid_call_harms_no_job(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    name: str,
    rounds: Callable[..., int],
    rng: random.Random,
    record: Record,
) -> None:  # I2, I5, I6
    runs = rounds(full=10, bounded=0)

    def play(busy_seconds: float) -> int:
        with running_server("--appendonly", "yes") as server:
            scene = new_scene(server.url)
            # A lease that is longer than the stall, so that no clock guard helps.
            workers = [
                fleet.start(server.url, scene.namespace, lease_seconds=30.0) for _ in range(2)
            ]
            # More jobs than they can do, so that no worker waits for some: that would be a
            # call as well, but none that fails.
            with Load(scene, pause_seconds=0.05, seconds=0.05):
                until(lambda: len(scene.effects().ends) > 20, 60, "a busy pool")
                pause(busy_seconds)
                server.freeze()
                pause(STALL_SECONDS)
                ends = len(scene.effects().ends)
                server.thaw()
                until(lambda: len(scene.effects().ends) > ends + 4, 30, "workers go on")
            assert noticed(fleet, server) >= len(workers)
            return finish(scene, workers, server)

    jobs = side_by_side(play, rng, runs)
    record(
        "server stands still for 10 s in mid-call", runs=runs, jobs=jobs, server=name,
        note="a server and two workers for each run",
    )  # fmt: skip


def side_by_side(play: Callable[[float], int], rng: random.Random, runs: int) -> int:
    """Play scenes, each with a server and a fault of its own, some at once; jobs of all.

    Args:
        play: given the time, in seconds, for which all goes well at first. It differs, so
            that the faults meet other calls, and each other's waits.
        rng: chooses those times.
        runs: how many.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(play, [rng.uniform(0, WELL_SECONDS) for _ in range(runs)]))


def noticed(fleet: Fleet, server: Server) -> int:
    """How often workers said that this server did not answer a call, each the first time."""
    return fleet.log().count(f"Redis at 127.0.0.1:{server.port} is unavailable, ")


def finish(scene: Scene, workers: list[Process], server: Server) -> int:
    """Run the rest; nobody was taken for dead; how many jobs there were."""
    scene.drained(90)
    for worker in workers:
        worker.stop()
    return judge_all(server, [scene])


def test_power_loss_costs_only_what_the_disk_did_not_get(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    own_server: Server,
    name: str,
    rounds: Callable[..., int],
    rng: random.Random,
    record: Record,
) -> None:  # I1, I10, I19
    scene = new_scene(own_server.url)
    workers = [fleet.start(own_server.url, scene.namespace, threads=3) for _ in range(2)]
    log = log_of(own_server)
    runs = rounds(full=20, bounded=2)
    lost, bytes_cut = Forgotten(), 0
    with own_server.client() as client:
        heals = drops_torn_transactions(client)
    with Load(scene, seconds=JOB_SECONDS) as load:
        for _ in range(runs):
            load.goes_on()
            own_server.stop(kill=True)
            before = log.read_bytes()
            cut_at = len(before) - rng.randint(1, 8000)
            ends_at = whole(before, cut_at)
            log.write_bytes(before[: cut_at if heals else ends_at])
            lost.note(before[: whole(before, len(before))], ends_at)
            bytes_cut += len(before) - ends_at
            look_at_disk(own_server, scene.namespace)
            own_server.start()
    # Limits hold again, whatever was forgotten.
    scene.schedule(*["once.limited", "again.limited"] * 6, seconds=JOB_SECONDS)
    scene.drained(90)
    for worker in workers:
        worker.stop()
    # What a worker process had declared may be in the cut.
    tidy(scene)
    with own_server.client() as client:
        effects = scene.judge(client, forgotten=lost, undisturbed=True)
    gone = [key for key in scene.jobs if not effects.ends.get(key) and key not in scene.failed()]
    twice = [key for key in scene.jobs if len(effects.ends.get(key, ())) > 1]
    concerned = {key for key, id_ in scene.ids.items() if {"0" + id_, "1" + id_} & lost.concerned}
    assert concerned, "the cuts were too small"
    note = (
        f"{bytes_cut // 1024} KiB cut off, with news of {len(concerned)} jobs: "
        f"{len(gone)} of them lost, {len(twice)} ran twice"
        + ("" if heals else "; torn transactions removed as redis-check-aof --fix does")
    )
    record(
        "power loss: the end of the AOF is cut off", runs=runs, jobs=len(scene.jobs),
        server=name, note=note,
    )  # fmt: skip


def look_at_disk(dead: Server, namespace: str) -> None:
    """Check all keys as they are after a restart, before anybody touches them.

    A server of its own reads a copy of the files, so that nobody else speaks to it: the
    first fetch would take away an id without a record.
    """
    with tempfile.TemporaryDirectory(prefix="sp-") as folder:
        shutil.copytree(
            dead.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("s", "log")
        )
        server = Server(Path(folder), "--appendonly", "yes")
        try:
            server.start()
            with server.client() as client:
                # A worker that took the wake-up may be about to fetch.
                assert ledger.check(client, namespace, woken=False), "nothing is left"
        finally:
            server.stop(kill=True)
