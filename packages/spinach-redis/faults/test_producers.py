"""Producers: processes that fork, and threads that come and go."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

from redis import Redis

from ..tests.servers import Server
from .fleet import Fleet, until
from .results import Record
from .scene import Scene, version_of

#: Children of one process that forks, before and after its first job each; and what
#: each of them schedules.
CHILDREN = 5
JOBS = 20
#: Threads that are alive at once.
ALIVE = 20

FORKING = """
import os, sys
from spinach import Engine, Tasks
from spinach_redis import RedisBroker

url, namespace, children, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
tasks = Tasks()
tasks.add(lambda key: None, name="again", max_retries=5)
engine = Engine(RedisBroker.from_url(url), namespace)
engine.attach_tasks(tasks)


def produce(who):
    for number in range(jobs):
        engine.schedule("again", key=f"{who}/{number}")


def fork(who):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            produce(who)
            code = 0
        finally:
            os._exit(code)
    return pid


pids = [fork(f"before-{number}") for number in range(children)]
produce("parent")
pids += [fork(f"after-{number}") for number in range(children)]
# The sockets of the parent are open in its children, and must not be shared.
produce("parent-again")
sys.exit(any(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


def test_forked_producers_store_each_job_once(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    server: Server,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I2
    runs = rounds(full=10, bounded=1)
    who = [f"{when}-{n}" for when in ("before", "after") for n in range(CHILDREN)]
    keys = [f"{each}/{n}" for each in (*who, "parent", "parent-again") for n in range(JOBS)]
    scenes = [new_scene(server.unix_url) for _ in range(runs)]
    for scene in scenes:
        program = [sys.executable, "-c", FORKING, server.unix_url, scene.namespace]
        subprocess.run([*program, str(CHILDREN), str(JOBS)], check=True, timeout=60)
        scene.jobs.update(dict.fromkeys(keys, "again"))
        [counts] = scene.broker.counts(["spinach"])
        assert (counts.ready, counts.enqueued) == (len(keys), len(keys))
    worker = fleet.start(server.unix_url, *(scene.namespace for scene in scenes))
    for scene in scenes:
        scene.drained()
    worker.stop()
    with server.client() as client:
        for scene in scenes:
            scene.judge(client, undisturbed=True)
        record(
            "producer forks before and after its first job",
            runs=runs, jobs=runs * len(keys), server=version_of(client),
            note=f"{2 * CHILDREN} children each",
        )  # fmt: skip


def test_short_lived_threads_share_few_connections(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    own_server: Server,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I19
    threads = rounds(full=10_000, bounded=500)
    scene = new_scene(own_server.unix_url)
    with own_server.client() as client:
        client.config_set("appendfsync", "no")
        before = client.info("clients")["connected_clients"]
        room = threading.Semaphore(ALIVE)
        most = 0

        def produce() -> None:
            try:
                scene.schedule("again")
            finally:
                room.release()

        started = []
        for number in range(threads):
            room.acquire()
            thread = threading.Thread(target=produce)
            thread.start()
            started.append(thread)
            if number % 100 == 99:
                most = max(most, client.info("clients")["connected_clients"] - before)
        for thread in started:
            thread.join(60)
        # The pool is as large as there were threads at once.
        assert most <= ALIVE
        sessions = producer_keys(client, scene)
        assert 0 < len(sessions) <= ALIVE
        assert all(0 < client.pttl(key) <= 10 * 60 * 1000 for key in sessions)
        # Their ten minutes are over, and the producer, which does not know, goes on.
        for key in sessions:
            client.pexpire(key, 1)
        until(lambda: producer_keys(client, scene) == [], 10, "producer keys gone")
        scene.schedule("again")
        assert len(producer_keys(client, scene)) == 1
        worker = fleet.start(own_server.unix_url, scene.namespace, threads=4, until_empty=True)
        worker.ended(120)
        scene.judge(client, undisturbed=True)
        record(
            "short-lived producer threads: connections at most the pool, keys gone after expiry",
            runs=threads, jobs=threads + 1, server=version_of(client),
            note=f"{most} connections for {ALIVE} threads at once",
        )  # fmt: skip


def producer_keys(client: Redis, scene: Scene) -> list[bytes]:
    """The keys of producers' sessions."""
    return list(client.scan_iter(match=f"*{scene.namespace}/*producer:*", count=1000))
