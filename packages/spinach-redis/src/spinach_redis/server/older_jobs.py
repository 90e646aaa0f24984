"""The warning that workers are about to pass over jobs of the older spinach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spinach_redis.migrate.older import OldKeys, OldWorker, read_workers
from spinach_redis.transport.command import Command
from spinach_redis.transport.health import LOGGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach_redis.client.client import RedisClient
    from spinach_redis.transport.connection import Answer

__all__ = ["warn_of_jobs"]

#: Worker processes that are looked at, at most.
_MOST_WORKERS: Final = 100


def warn_of_jobs(client: RedisClient, namespace: str, queue: str, *, all_of_it: bool) -> bool:
    """Warn where workers are about to pass over what the older spinach left.

    Looks at keys whose names are known, and never at a keyspace. A server that does not let
    this user look is as good as one with nothing to see.

    Args:
        client: of a single server; the older spinach worked on no Cluster.
        namespace: of the engine.
        queue: that these workers consume.
        all_of_it: look at what belongs to no queue as well.

    Returns:
        Whether there was an answer; without one it is to be asked again.
    """
    old = OldKeys(namespace)
    asked = [Command(b"LLEN", old.of(queue), key=old.of(queue))]
    if all_of_it:
        asked += (
            Command(b"ZCARD", old.future, key=old.future),
            Command(b"HLEN", old.periodic, key=old.periodic),
            Command(b"HGETALL", old.workers, key=old.workers),
            Command(b"TIME", key=old.workers),
        )
    answers = client.probe(*asked)
    if not answers:
        return False
    found = [_found(answers[0], "queued jobs", old.of(queue))]
    if all_of_it:
        _, future, periodic, entries, time = answers
        workers: list[OldWorker] = []
        if entries.cause is None and time.cause is None:
            workers = read_workers(entries.reply, float(time.reply[0]))[:_MOST_WORKERS]
        found += [
            _found(future, "jobs for the future or to be retried", old.future),
            *_running(client, old, workers),
            _found(periodic, "periodic tasks, fired while its workers live", old.periodic),
            *(f"a worker that lives, on {worker}" for worker in workers if worker.alive),
        ]
    parts = [part for part in found if part]
    if parts:
        LOGGER.warning(
            "The older spinach (0.0.25 and before) uses namespace %s on this Redis, too, and its "
            "jobs are not run by these workers. Found: %s. Stop its workers and producers, then "
            "move what it left: python -m spinach_redis.migrate URL --namespace %s",
            namespace,
            "; ".join(parts),
            namespace,
            extra={"queue": queue},
        )
    return True


def _running(client: RedisClient, old: OldKeys, workers: Sequence[OldWorker]) -> list[str]:
    """What the worker processes have in their hands."""
    keys = [old.running(worker.id) for worker in workers]
    if not keys:
        return []
    answers = client.probe(*(Command(b"HLEN", key, key=key) for key in keys))
    return [
        _found(count, "jobs that run or were lost", key)
        for count, key in zip(answers, keys, strict=False)
    ]


def _found(count: Answer, what: str, key: bytes) -> str:
    """A part of the warning; empty where nothing is, or nothing may be seen."""
    return f"{what}: {count.reply} in {key.decode()}" if count.reply else ""
