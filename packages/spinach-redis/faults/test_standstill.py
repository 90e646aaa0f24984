"""Workers that stand still past their lease, and jobs that kill theirs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from spinach.const import MAX_LOSSES

from ..tests.servers import Server
from .fleet import Fleet, Process, until
from .ledger import read
from .results import Record
from .scene import Scene, version_of

#: Jobs that teach a worker how short they are, so that it buffers many.
LESSONS = ("again",) * 300
NEIGHBOURS = ("again",) * 500
#: Portions of neighbours that come while a poisonous job is at work: some are run before as
#: many as are to be there lie in the buffer.
SUPPLIES = 16
LEAST_NEIGHBOURS = 500


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

    def play(scene: Scene) -> list[tuple[set[str], set[str]]]:
        """Start a worker again whenever it dies, as an operator's supervisor does.

        Returns:
            For each death the jobs that lay in the buffer, and those in the hands of threads.
        """
        [poison] = scene.schedule("poison")
        deaths = []
        while poison not in scene.failed():
            # One thread is in the hands of the poison, and one goes on.
            process = fleet.start(server.unix_url, scene.namespace, threads=2, hold="crowd")
            until(
                lambda p=process: p.said("held") or poison in scene.failed(),
                60,
                "the poison is at work",
            )
            # It is a job for an idle thread; they come behind it, and are buffered.
            for _ in range(SUPPLIES if process.said("held") else 0):
                scene.schedule(*NEIGHBOURS)
            until(
                lambda p=process: not p.running or poison in scene.failed(),
                60,
                "the poison kills its worker",
            )
            if not process.running:
                deaths.append(left_by_the_dead(server, scene))
        scene.drained()
        process.stop()
        assert "WorkerLost" in scene.failed()[poison]
        return deaths

    scenes = [new_scene(server.unix_url) for _ in range(runs)]
    with ThreadPoolExecutor(runs) as pool:
        deaths = dict(zip(scenes, pool.map(play, scenes), strict=True))
    # One that is buffered itself kills without being counted as the murderer.
    assert min(map(len, deaths.values())) >= MAX_LOSSES
    neighbours = [len(buffered) for each in deaths.values() for buffered, _ in each]
    assert min(neighbours) >= LEAST_NEIGHBOURS
    for scene in scenes:
        [poison] = [key for key, task in scene.jobs.items() if task == "poison"]
        with server.client() as client:
            effects = scene.judge(client, may_fail={poison})
            name = version_of(client)
        assert set(scene.failed()) == {poison}
        # What a thread had lost an attempt with its worker; what waited lost nothing.
        in_hands = {stored_id[1:] for _, direct in deaths[scene] for stored_id in direct}
        spent = [key for key, starts in effects.starts.items() if any(s.retries for s in starts)]
        assert [key for key in spent if scene.ids[key] not in in_hands] == []
    note = (
        f"{len(neighbours)} workers killed, in whose buffers were {min(neighbours)} to "
        f"{max(neighbours)} others"
    )
    jobs = sum(len(scene.jobs) for scene in scenes)
    record(
        "poison job with 500 buffered neighbours: none failed, none lost an attempt",
        runs=runs, jobs=jobs, server=name, note=note,
    )  # fmt: skip


def left_by_the_dead(server: Server, scene: Scene) -> tuple[set[str], set[str]]:
    """Jobs in the buffer of a dead worker, never started, and those leased to its threads.

    By the server's count; nobody else is alive.
    """
    with server.client() as client:
        leases = [
            lease
            for ledger in read(client, scene.namespace)
            for found in ledger.leases.values()
            for lease in found.items()
        ]
    started = {scene.ids[key] for key in scene.effects().starts}
    buffered = {id_ for id_, token in leases if token[0] == "b" and id_[1:] not in started}
    return buffered, {id_ for id_, token in leases if token[0] == "d"}
