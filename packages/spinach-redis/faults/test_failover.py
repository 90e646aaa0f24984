"""Servers that take over from others: Sentinels, and Clusters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from redis import Redis
from redis.crc import key_slot

from ..tests.clusters import Cluster, running_cluster
from ..tests.sentinels import SERVICE, Watched, running_sentinels
from ..tests.servers import Server
from .application import ONCE
from .disk import Forgotten, Mark
from .fleet import Fleet, Process, until
from .load import Load
from .results import Record
from .scene import Scene, version_of

OUTAGE_SECONDS = 2.0
#: Of a job: the workers do fewer than are scheduled meanwhile.
JOB_SECONDS = 0.1
#: That are accepted while no replica hears of it, and bytes that are written.
UNSEEN_JOBS = 30
UNSEEN_BYTES = 1000


@pytest.fixture
def watched(binary: None) -> Iterator[Watched]:
    with running_sentinels("--appendonly", "yes") as watched:
        yield watched


def sentinel_url(watched: Watched) -> str:
    return f"sentinel://{','.join(f'{h}:{p}' for h, p in watched.addresses)}/{SERVICE}"


def cluster_url(cluster: Cluster) -> str:
    return f"cluster://{','.join(f'127.0.0.1:{server.port}' for server in cluster.servers)}"


@pytest.mark.parametrize("replicas", [1, 0])
def test_failover_forgets_nothing_that_replicas_were_waited_for(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    watched: Watched,
    rounds: Callable[..., int],
    record: Record,
    replicas: int,
) -> None:  # I1 to I4
    runs = rounds(full=3, bounded=0)
    url, options = sentinel_url(watched), {"wait_replicas": replicas}
    scene = new_scene(url, **options)
    workers = [fleet.start(url, scene.namespace, threads=3, broker=options) for _ in range(2)]
    lost = Forgotten()
    # Jobs that wait and jobs that run: there is something to lose.
    with Load(scene, seconds=JOB_SECONDS) as load:
        for _ in range(runs):
            load.goes_on(50)
            old = watched.primary()
            followers = [server for server in watched.group.servers if server is not old]
            with old.client() as client:
                # A moment too early: what was written before it is copied yet.
                mark = Mark(old)
                hold_back(client, followers)
                if replicas:
                    # Accepted is nothing now, but it is written.
                    goal = written(client) + UNSEEN_BYTES
                    until(lambda c=client, g=goal: written(c) > g, 30, "the primary writes")
                else:
                    load.goes_on(UNSEEN_JOBS)
            old.stop(kill=True)
            mark.note_rest(lost)
            for follower in followers:
                follower.thaw()
            watched.wait_for_other_primary(old)
            load.goes_on(20)
            # It comes back as a replica, once the Sentinels have told it.
            old.start()
            for server in watched.group.servers:
                if server is not watched.primary():
                    until(lambda s=server: follows(s), 60, "all follow the new primary")
    # Limits hold again, whatever was forgotten.
    scene.schedule(*["once.limited", "again.limited"] * 6, seconds=JOB_SECONDS)
    scene.drained(90)
    stop_all(workers)
    if replicas:
        # Neither leases of jobs that run at most once were confirmed, nor the storing of any job.
        lost = lost.only(lambda stored_id: stored_id.startswith("1"))
        lost.stored.clear()
    with watched.primary().client() as client:
        name = version_of(client)
        effects = scene.judge(client, forgotten=lost, undisturbed=True)
    failed = scene.failed()
    gone = [k for k in scene.jobs if not effects.ends.get(k) and k not in failed]
    twice = [k for k in scene.jobs if len(effects.starts.get(k, ())) > 1 and "stumble" not in k]
    once = [k for k in twice if scene.jobs[k] in ONCE]
    if not replicas:
        assert gone, "nothing was lost, so the replicas were not held back"
    concerned = [key for key, id_ in scene.ids.items() if {"0" + id_, "1" + id_} & lost.concerned]
    record(
        f"Sentinel failover, replicas held back before it, wait_replicas={replicas}",
        runs=runs, jobs=len(scene.jobs), server=name,
        note=f"no replica heard the last of {len(concerned)} jobs: {len(gone)} lost, "
        f"{len(twice)} ran twice, {len(once)} of them at-most-once; "
        f"{len(failed)} in the failed store",
    )  # fmt: skip


def hold_back(primary: Redis, followers: list[Server]) -> None:
    """Keep from the followers what the primary writes from now on.

    What the primary has sent they read when they go on. So the connections end, too, and
    stopped processes make no new ones.
    """
    for follower in followers:
        follower.freeze()
    primary.execute_command("CLIENT", "KILL", "TYPE", "replica")


def written(primary: Redis) -> int:
    """How many bytes it has for its replicas so far."""
    return int(primary.info("replication")["master_repl_offset"])


def follows(server: Server) -> bool:
    """Whether it is a replica that is up to date."""
    with server.client() as client:
        return client.info("replication").get("master_link_status") == "up"


def stop_all(workers: list[Process]) -> None:
    for worker in workers:
        worker.stop()


def judge(cluster: Cluster, scene: Scene, **kwargs: object) -> str:
    with cluster.client() as client:
        scene.judge(client, **kwargs)
    with next(server for server in cluster.servers if server.running).client() as one:
        return f"{version_of(one)} Cluster"


def test_slot_that_moves_under_load_takes_its_jobs_along(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    binary: None,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I1 to I6
    runs = rounds(full=3, bounded=0)
    with running_cluster() as cluster:
        scene = new_scene(cluster_url(cluster))
        workers = [fleet.start(scene.url, scene.namespace, threads=3) for _ in range(2)]
        slot = key_slot(f"{{{scene.namespace}/spinach}}".encode())
        with Load(scene) as load:
            for _ in range(runs):
                load.goes_on()
                owner = cluster.owner(f"{{{scene.namespace}/spinach}}")
                target = next(node for node in cluster.nodes if node is not owner)
                cluster.begin_migration(slot, owner, target)
                # In portions, so that calls meet a queue whose keys are here and there.
                while cluster.move_keys(slot, owner, target, 3):
                    threading.Event().wait(0.02)
                cluster.end_migration(slot, owner, target)
                load.goes_on()
        scene.drained(90)
        stop_all(workers)
        name = judge(cluster, scene, undisturbed=True)
    record("Cluster: slot migration under load", runs=runs, jobs=len(scene.jobs), server=name)


def test_replica_takes_over_from_a_dead_node(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    binary: None,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I1 to I4
    runs = rounds(full=3, bounded=0)
    jobs, name = 0, ""
    for _ in range(runs):
        with running_cluster(replicas=True) as cluster:
            scene = new_scene(cluster_url(cluster), wait_replicas=1)
            workers = [
                fleet.start(scene.url, scene.namespace, threads=3, broker={"wait_replicas": 1})
                for _ in range(2)
            ]
            with Load(scene) as load:
                load.goes_on()
                dead = cluster.owner(f"{{{scene.namespace}/spinach}}")
                dead.stop(kill=True)
                cluster.wait_for_takeover(dead)
                # The new node waits for a replica as well.
                dead.start()
                load.goes_on()
            scene.drained(90)
            stop_all(workers)
            name = judge(cluster, scene)
            jobs += len(scene.jobs)
    record("Cluster: node takeover, wait_replicas=1", runs=runs, jobs=jobs, server=name)


def test_dead_node_does_not_keep_workers_from_the_queues_of_others(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    binary: None,
    rounds: Callable[..., int],
    record: Record,
) -> None:
    runs = rounds(full=3, bounded=0)
    with running_cluster(3, "--appendonly", "yes") as cluster:
        namespace = "nodes"
        dead = cluster.owner(f"{{{namespace}/spinach}}")
        living = next(node for node in cluster.nodes if node is not dead)
        queue = cluster.queue_on(living, namespace)
        scene = new_scene(cluster_url(cluster), namespace, other_queue=queue)
        workers = [
            fleet.start(scene.url, namespace, queues=("spinach", queue), threads=2)
            for _ in range(2)
        ]
        for _ in range(runs):
            scene.schedule("again", "once", "other")
            until(lambda: set(scene.effects().ends) == set(scene.jobs), 30, "all is done")
            dead.stop(kill=True)
            for _ in range(20):
                scene.schedule("other")
            until(
                lambda: set(scene.effects().ends) == set(scene.jobs),
                OUTAGE_SECONDS + 10,
                "the other queue goes on",
            )
            dead.start()
            # The others believe that it lives after a while.
            scene.schedule("again", "once")
            scene.drained(60)
        stop_all(workers)
        name = judge(cluster, scene, undisturbed=True)
    record(
        "Cluster: one node dead while others serve", runs=runs, jobs=len(scene.jobs), server=name
    )
