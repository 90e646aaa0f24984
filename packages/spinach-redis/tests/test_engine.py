"""Whole worker processes on the servers that a single test server does not stand for."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
import redis

from spinach import ALL_QUEUES, Batch, Engine, Tasks
from spinach_redis import RedisBroker

from .clusters import Cluster
from .replicas import Replicated

SECONDS = 30.0


@pytest.mark.concurrency
def test_worker_runs_jobs_of_queues_on_all_nodes(cluster: Cluster, namespace: str) -> None:
    queues = [cluster.queue_on(node, namespace) for node in cluster.nodes]
    seen: list[int] = []
    all_seen = threading.Event()
    tasks = Tasks()

    def note(number: int) -> None:
        seen.append(number)
        if len(seen) == 300:
            all_seen.set()

    for queue in queues:
        tasks.add(note, name=f"note.{queue}", queue=queue)
    with cluster.client() as client:
        engine = Engine(RedisBroker(client), namespace=namespace)
    engine.attach_tasks(tasks)
    engine.start_workers(number=3, queue=queues, block=False)
    batch = Batch()
    for number in range(300):
        batch.schedule(f"note.{queues[number % 3]}", number)
    engine.schedule_batch(batch)
    assert all_seen.wait(SECONDS)
    # What comes while all wait wakes them through the wait for several nodes.
    for queue in queues:
        all_seen.clear()
        seen[:] = range(299)
        engine.schedule(f"note.{queue}", 1000)
        assert all_seen.wait(SECONDS)
    engine.stop_workers()


@pytest.mark.concurrency
def test_worker_takes_up_tasks_of_queues_on_other_nodes_while_it_runs(
    cluster: Cluster, namespace: str
) -> None:
    queues = [cluster.queue_on(node, namespace) for node in cluster.nodes]
    lock, inside, seen = threading.Lock(), Counter[int](), []
    at_once: set[int] = set()
    all_seen = threading.Event()

    def note(number: int) -> None:
        with lock:
            inside[number % 3] += 1
            at_once.add(inside[number % 3])
        with lock:
            inside[number % 3] -= 1
            seen.append(number)
            if len(seen) == 60:
                all_seen.set()

    with cluster.client() as client:
        engine = Engine(RedisBroker(client), namespace=namespace)
    engine.start_workers(number=3, queue=ALL_QUEUES, block=False)
    for queue in queues:
        tasks = Tasks(queue=queue, max_concurrency=1)
        tasks.add(note, name=f"note.{queue}")
        engine.attach_tasks(tasks)
    batch = Batch()
    for number in range(60):
        batch.schedule(f"note.{queues[number % 3]}", number)
    engine.schedule_batch(batch)
    assert all_seen.wait(SECONDS)
    assert at_once == {1}
    # Who waits is told at once, not after the five seconds of a wait.
    replaced = threading.Event()
    tasks.add(replaced.set, name="set")
    engine.schedule("set")
    assert replaced.wait(SECONDS)
    engine.stop_workers()


@pytest.mark.concurrency
def test_jobs_wait_for_the_replica_and_then_run_once(
    replicated: Replicated, namespace: str
) -> None:  # I3
    ran: list[int] = []
    done = threading.Event()
    tasks = Tasks()

    def note(number: int) -> None:
        ran.append(number)
        done.set()

    tasks.add(note, name="note")
    client = redis.Redis(port=replicated.primary.port)
    engine = Engine(RedisBroker(client, wait_replicas=1), namespace=namespace)
    engine.attach_tasks(tasks)
    engine.schedule("note", 1)
    replicated.replicas[0].freeze()
    engine.start_workers(number=2, block=False)
    try:
        assert not done.wait(2.0)
    finally:
        replicated.replicas[0].thaw()
    assert done.wait(SECONDS)
    engine.stop_workers()
    assert ran == [1]
