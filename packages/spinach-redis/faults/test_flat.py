"""Two hundred thousand jobs leave nothing behind."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

from redis import Redis

from ..tests.servers import Server
from .fleet import Fleet, until
from .results import Record
from .scene import Scene, version_of

BATCH = 500
#: Parts, after each of which is measured; the first ones are the warm-up.
PARTS = 20
WARM_UP = 8
FLAT = 1.02
#: From the middle third to the last, between medians.
STEADY = 1.005


def thirds(values: Sequence[int]) -> Iterator[Sequence[int]]:
    """The series in three parts, in order."""
    size = len(values) // 3
    for number in range(3):
        yield values[number * size : (number + 1) * size]


def test_many_jobs_leave_memory_files_and_threads_flat(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    own_server: Server,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I19
    jobs = rounds(full=200_000, bounded=0)
    scene = new_scene(own_server.unix_url)
    tasks = ("again",) * 6 + ("once",) * 2 + ("again.limited", "stumble")
    batch = tasks * (BATCH // len(tasks))
    with own_server.client() as client:
        client.config_set("appendfsync", "no")
        worker = fleet.start(own_server.unix_url, scene.namespace, threads=4)
        measured = []
        for _ in range(PARTS):
            for _ in range(jobs // PARTS // BATCH):
                scene.schedule(*batch)
            scene.drained(120)
            # The last outcomes are answered, too.
            until(lambda: not scene.broker.counts(["spinach"])[0].leased, 30)
            measured.append((stored(client), used(client), *worker.usage()))
        worker.stop()
        scene.judge(client, undisturbed=True)
        name = version_of(client)
    notes = []
    for what, values in zip(
        ("stored", "server", "RSS", "files", "threads"), zip(*measured, strict=True), strict=True
    ):
        print(f"{what}: {', '.join(map(str, values))}")
        first, middle, last = (statistics.median(third) for third in thirds(values[WARM_UP:]))
        notes.append(f"{what} {first:.0f} → {middle:.0f} → {last:.0f}")
        assert last <= first * FLAT, (what, values)
        # What grows all the time grows by as much in the end as before. The server's own
        # memory comes in pieces that are larger than this.
        assert what == "server" or last <= middle * STEADY, (what, values)
    record(
        "200,000 jobs: memory of server and worker, open files and threads are flat",
        runs=1, jobs=len(scene.jobs), server=name, note=", ".join(notes) + " (keys in bytes, KiB)",
    )  # fmt: skip


def stored(client: Redis) -> int:
    """Memory of all keys, in bytes."""
    return sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter())


def used(client: Redis) -> int:
    """Memory of the server without the buffers of connections, which come and go, in KiB."""
    info = client.info("memory")
    return int(info["used_memory"] - info["mem_clients_normal"]) // 1024
