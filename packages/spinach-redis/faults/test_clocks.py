"""Clocks that are set wrong while everything runs: the server's, and the workers'."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from ..tests.servers import running_server
from .clocks import FakeClock, NoLibrary
from .fleet import Fleet, Process, until
from .load import Load
from .results import Record
from .scene import Scene, tidy, version_of

LEASE_SECONDS = 10.0
HOUR_SECONDS = 3600.0
JUMPS_SECONDS = {"+1 h": HOUR_SECONDS, "-10 min": -600.0}
#: Servers side by side, each with its own jump.
RUNS = 5
#: How far a job that is due lies ahead.
AHEAD_SECONDS = 2.0
#: Two looks at clocks that go alike differ by less.
LOOK_SECONDS = 30.0


def new_clocks(count: int, folder: Path, record: Record, fault: str) -> list[FakeClock]:
    """Clocks to set; where there is no way to do so the table says that nothing was tried."""
    try:
        return [FakeClock(folder / f"clock{number}") for number in range(count)]
    except NoLibrary as missing:
        if os.environ.get("CI"):
            raise
        record.not_run(fault, str(missing))
        pytest.skip(str(missing))


def shows(seen_seconds: float, error_seconds: float) -> bool:
    """Whether a clock is as wrong as it was set."""
    return abs(seen_seconds - time.time() - error_seconds) < LOOK_SECONDS


def server_seconds(client: Redis) -> float:
    seconds, microseconds = client.time()
    return float(seconds + microseconds / 1e6)


@pytest.mark.parametrize("jump", JUMPS_SECONDS)
def test_server_clock_that_jumps_costs_nobody_his_life(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    binary: None,
    rounds: Callable[..., int],
    record: Record,
    jump: str,
) -> None:  # I8, I11
    fault = f"server clock {jump}, all workers alive"
    clocks = new_clocks(RUNS, fleet.folder, record, fault)
    runs = rounds(full=RUNS, bounded=0)
    names = set()

    def play(clock: FakeClock) -> int:
        """One server, whose clock jumps once."""
        with running_server(environment=clock.environment) as server, server.client() as client:
            names.add(version_of(client))
            scene = new_scene(server.unix_url)
            # Runs through the jump, and a lease longer.
            scene.schedule("once", "again", seconds=2.5 * LEASE_SECONDS)
            workers = [fleet.start(server.unix_url, scene.namespace, threads=3) for _ in range(2)]
            with Load(scene, pause_seconds=0.1) as load:
                load.goes_on(10)
                assert shows(server_seconds(client), 0)
                clock.set(JUMPS_SECONDS[jump])
                # Some look at the file for every command, and some some milliseconds later.
                until(lambda: shows(server_seconds(client), JUMPS_SECONDS[jump]), 10, "a jump")
                # Long enough for leases to end that were wrongly given or taken.
                threading.Event().wait(2 * LEASE_SECONDS)
            scene.drained(60)
            for worker in workers:
                worker.stop()
            effects = scene.judge(client, undisturbed=True)
            assert effects.failures == {}
        return len(scene.jobs)

    with ThreadPoolExecutor(runs) as pool:
        jobs = sum(pool.map(play, clocks))
    record(
        fault, runs=runs, jobs=jobs, server=names.pop(),
        note="by libfaketime; a server and two workers for each run",
    )  # fmt: skip


def test_wrong_clocks_of_workers_change_nothing(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    binary: None,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I8, I15
    fault = "clocks of two workers one hour fast and one hour slow, then the other way round"
    clocks = new_clocks(2 * RUNS, fleet.folder, record, fault)
    runs = rounds(full=RUNS, bounded=0)
    names = set()

    def play(pair: tuple[FakeClock, FakeClock]) -> int:
        """One server with two workers, whose clocks are exchanged once."""
        errors = [HOUR_SECONDS, -HOUR_SECONDS]
        with running_server() as server, server.client() as client:
            names.add(version_of(client))
            scene = new_scene(server.unix_url)
            workers: list[Process] = []
            for clock, error in zip(pair, errors, strict=True):
                clock.set(error)
                workers.append(
                    fleet.start(
                        server.unix_url,
                        scene.namespace,
                        environment=clock.environment,
                        period_seconds=1.0,
                    )
                )
            due_ns: dict[str, int] = {}
            for _ in range(2):
                for worker, error in zip(workers, errors, strict=True):
                    until(lambda w=worker, e=error: shows(w.time(), e), 10, "a wrong clock")
                due_ns.update(_work(scene))
                ticks = len(_ticks(scene))
                until(lambda n=ticks: len(_ticks(scene)) >= n + 3, 30, "ticks")
                until(lambda: set(scene.jobs) <= set(scene.effects().ends), 60, "all is done")
                # Each goes two hours forth, or back, at once.
                errors.reverse()
                for clock, error in zip(pair, errors, strict=True):
                    clock.set(error)
            for worker in workers:
                worker.stop()
            tidy(scene, period_seconds=1.0)
            effects = scene.judge(client, undisturbed=True)
            early = [key for key, due in due_ns.items() if effects.starts[key][0].at_ns < due]
            assert early == []
        return len(scene.jobs)

    with ThreadPoolExecutor(runs) as pool:
        jobs = sum(pool.map(play, zip(clocks[::2], clocks[1::2], strict=True)))
    record(
        fault, runs=runs, jobs=jobs, server=names.pop(),
        note="by libfaketime; a server and two workers for each run",
    )  # fmt: skip


def _work(scene: Scene) -> dict[str, int]:
    """Schedule some for now and some for later; when those are due, by the monotonic clock."""
    with Load(scene, pause_seconds=0.2) as load:
        load.goes_on()
    at = datetime.now(UTC) + timedelta(seconds=AHEAD_SECONDS)
    ahead_ns = int((at - datetime.now(UTC)) / timedelta(microseconds=1)) * 1000
    now_ns = time.monotonic_ns()
    return dict.fromkeys(scene.schedule("once", "again", at=at), now_ns + ahead_ns)


def _ticks(scene: Scene) -> list[str]:
    return [key for key in scene.effects().ends if key.startswith("tick/")]
