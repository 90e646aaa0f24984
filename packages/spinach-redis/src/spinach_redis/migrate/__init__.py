"""Moves what the older `spinach` (0.0.25 and before) left on a server; not for other queues.

    python -m spinach_redis.migrate redis://localhost:6379/0 --namespace shop --dry-run

Each job is taken out of its old place and stored in its new one by one script, so that it is
moved once, whatever breaks off and however often this is run.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from spinach.const import DEFAULT_MAX_PAYLOAD_BYTES, DEFAULT_NAMESPACE
from spinach.exc import InvalidArgument, SpinachError
from spinach.record.names import check_name
from spinach.support.checks import require_int
from spinach_redis.client.client import RedisClient
from spinach_redis.migrate.moving import Left, Migration, Move
from spinach_redis.migrate.older import Reader
from spinach_redis.topology.user_settings import settings_of
from spinach_redis.transport.settings import ClusterSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis

__all__ = ["Left", "Migration", "main", "migrate"]


def migrate(
    redis: Redis | None = None,
    namespace: str = DEFAULT_NAMESPACE,
    *,
    url: str | None = None,
    into: str | None = None,
    tasks: Mapping[str, str] | None = None,
    queues: Mapping[str, str] | None = None,
    dry_run: bool = False,
    workers_stopped: bool = False,
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
) -> Migration:
    """Move the jobs of the older `spinach` (0.0.25 and before) to where workers take them.

    Jobs keep id, arguments, instant, `max_retries` and the retries they have spent. Of jobs
    whose worker died, those with retries left run again, which costs them one; all others go to
    the failed store with `WorkerLost`, since they may have run. Periodic tasks keep their next
    instant. What cannot be moved stays where it is, and is reported.

    It may be broken off, killed and run again at any time: each job is moved once. Run it again
    whenever a producer was forgotten. New workers may run meanwhile.

    Args:
        redis: as for `RedisBroker`, but no Cluster: the older spinach did not work on one.
        namespace: of the older engine.
        url: in the place of a client, as for `RedisBroker`.
        into: namespace of the new engine; None is the same.
        tasks: old names of tasks → new ones; all others keep theirs.
        queues: old names of queues → new ones; all others keep theirs.
        dry_run: only look; the answer tells what would be done.
        workers_stopped: move although workers of the older spinach proved their life within the
            last three minutes. The caller knows that they are gone: a job that one of them still
            runs would run twice.
        max_payload_bytes: of the new broker; jobs with larger arguments stay.

    Raises:
        WorkersRunning: workers of the older spinach may still live.
        InvalidArgument: a client, a URL or a limit that cannot be used.
        InvalidName: a namespace that no engine could have.
        BrokerError: the server does not do it. What was moved until then is; run it again.
    """
    settings = settings_of(redis, url)
    if isinstance(settings, ClusterSettings):
        raise InvalidArgument(
            "redis is a RedisCluster, on which the older spinach did not work. "
            "Pass the redis.Redis that it was given."
        )
    require_int(max_payload_bytes, "max_payload_bytes", 1, sys.maxsize)
    move = Move(
        RedisClient(settings),
        namespace,
        check_name(namespace if into is None else into, "namespace"),
        Reader(dict(tasks or {}), dict(queues or {}), max_payload_bytes),
        dry_run=dry_run,
    )
    try:
        return move.run(workers_stopped=workers_stopped)
    finally:
        move.close()


# -- from the command line -----------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Migrate as a command does; what it is told is what `migrate` takes.

    Returns:
        0: everything moved. 1: something was left. 2: refused, or broken off.
    """
    parser = argparse.ArgumentParser(
        prog="python -m spinach_redis.migrate",
        description="Move the jobs of the older spinach (0.0.25 and before) to where workers of "
        "spinach-redis take them. May be broken off and run again.",
    )
    parser.add_argument(
        "url",
        nargs="?",
        default=os.environ.get("REDIS_URL"),
        help="of the server; by default REDIS_URL of the environment, which hides a password",
    )
    parser.add_argument("--namespace", default=DEFAULT_NAMESPACE, help="of the older engine")
    parser.add_argument("--into", help="namespace of the new engine, if it is another one")
    for what in ("task", "queue"):
        parser.add_argument(
            f"--{what}",
            action="append",
            default=[],
            type=_renaming,
            metavar="OLD=NEW",
            help=f"a {what} that has another name now; may stand several times",
        )
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    parser.add_argument(
        "--workers-stopped",
        action="store_true",
        help="do not wait for killed workers of the older spinach to count as dead",
    )
    parser.add_argument(
        "--max-payload-bytes",
        type=int,
        default=DEFAULT_MAX_PAYLOAD_BYTES,
        help="of the new broker; jobs with larger arguments stay",
    )
    given = parser.parse_args(arguments)
    if given.url is None:
        parser.error("name the server: redis://localhost:6379/0, or REDIS_URL in the environment")
    try:
        done = migrate(
            url=given.url,
            namespace=given.namespace,
            into=given.into,
            tasks=dict(given.task),
            queues=dict(given.queue),
            dry_run=given.dry_run,
            workers_stopped=given.workers_stopped,
            max_payload_bytes=given.max_payload_bytes,
        )
    except SpinachError as exc:
        sys.stderr.write(f"{type(exc).__name__}: {exc}\n")
        return 2
    # Names of tasks that are left may be in letters that this terminal does not have.
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{done}\n".encode(encoding, "backslashreplace").decode(encoding))
    return 1 if done.left else 0


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.rpartition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW")
    return old, new
