"""Clocks that are set wrong: the server's while everything runs, and the workers'."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from ..tests.servers import Server
from .fleet import Fleet, until
from .load import Load
from .program import offset_in
from .results import Record
from .scene import Scene, tidy, version_of

LEASE_SECONDS = 10.0
HOUR_SECONDS = 3600.0
#: How far a job that is due lies ahead.
AHEAD_SECONDS = 2.0
#: The server's clock is set by an offset that each script is told, since a server for
#: tests shares the clock of this machine.
JUMPS_MS = {"+1 h": 3_600_000, "-10 min": -600_000}


@pytest.mark.parametrize("jump", JUMPS_MS)
def test_server_clock_that_jumps_costs_nobody_his_life(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    server: Server,
    rounds: Callable[..., int],
    record: Record,
    jump: str,
) -> None:  # I8, I11
    runs = rounds(full=5, bounded=0)
    offset = fleet.folder / "offset"
    offset.write_text("0", encoding="ascii")
    scenes = [new_scene(server.unix_url, _offset_ms=offset_in(str(offset))) for _ in range(runs)]
    for scene in scenes:
        # Runs through the jump, and a lease longer.
        scene.schedule("once", "again", seconds=2.5 * LEASE_SECONDS)
    names = [scene.namespace for scene in scenes]
    workers = [
        fleet.start(server.unix_url, *names, threads=3, offset_file=str(offset)) for _ in range(2)
    ]
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(scene, pause_seconds=0.2)) for scene in scenes]
        for load in loads:
            load.goes_on(10)
        # In one step: nobody reads half of it.
        replacement = fleet.folder / "offset.new"
        replacement.write_text(str(JUMPS_MS[jump]), encoding="ascii")
        replacement.replace(offset)
        # Long enough for leases to end that were wrongly given or taken.
        threading.Event().wait(2 * LEASE_SECONDS)
    for scene in scenes:
        scene.drained(60)
    for worker in workers:
        worker.stop()
    with server.client() as client:
        for scene in scenes:
            effects = scene.judge(client, undisturbed=True)
            assert effects.failures == {}
        name = version_of(client)
    record(
        f"server clock {jump}, all workers alive",
        runs=runs, jobs=sum(len(scene.jobs) for scene in scenes), server=name,
        note="by the offset that scripts take",
    )  # fmt: skip


def test_wrong_clocks_of_workers_change_nothing(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    server: Server,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I8, I15
    runs = rounds(full=5, bounded=0)
    scenes = [new_scene(server.unix_url) for _ in range(runs)]
    names = [scene.namespace for scene in scenes]
    workers = [
        fleet.start(
            server.unix_url, *names, clock_error_seconds=error, period_seconds=1.0, threads=2
        )
        for error in (HOUR_SECONDS, -HOUR_SECONDS)
    ]
    due_ns: dict[str, int] = {}
    for scene in scenes:
        with Load(scene, pause_seconds=0.2) as load:
            load.goes_on()
        at = datetime.now(UTC) + timedelta(seconds=AHEAD_SECONDS)
        # The instant on the clock that effects are written by.
        ahead_ns = int((at - datetime.now(UTC)) / timedelta(microseconds=1)) * 1000
        now_ns = time.monotonic_ns()
        for key in scene.schedule("once", "again", at=at):
            due_ns[scene.namespace + key] = now_ns + ahead_ns
    for scene in scenes:
        until(lambda s=scene: len(_ticks(s)) >= 3, 30, "ticks")
        until(lambda s=scene: set(s.jobs) <= set(s.effects().ends), 60, "all is done")
    for worker in workers:
        worker.stop()
    tidy(*scenes, period_seconds=1.0)
    with server.client() as client:
        for scene in scenes:
            effects = scene.judge(client, undisturbed=True)
            early = [
                key
                for key, starts in effects.starts.items()
                if starts[0].at_ns < due_ns.get(scene.namespace + key, 0)
            ]
            assert early == []
        name = version_of(client)
    record(
        "clocks of two workers one hour fast and one hour slow",
        runs=runs, jobs=sum(len(scene.jobs) for scene in scenes), server=name,
    )  # fmt: skip


def _ticks(scene: Scene) -> list[str]:
    return [key for key in scene.effects().ends if key.startswith("tick/")]
