"""The application of the fault suite: its tasks, and what a worker of it is told.

Imported by the tests, which schedule jobs of it, and by the worker program beside it, which is
run as a script. So nothing of this folder is imported here.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

from spinach import RetryException, Tasks, current_job

__all__ = [
    "LIMIT",
    "LIMITED",
    "ONCE",
    "Settings",
    "build_tasks",
    "digest",
    "hold",
    "open_client",
    "say",
]

#: Tasks whose jobs run at most once.
ONCE = frozenset({"once", "once.limited", "tick"})
#: How many jobs of a limited task run at once.
LIMIT = 2
#: How often a job looks whether its gate, a file, is there.
GATE_SECONDS = 0.05
#: A signal that stops the process has done so after this time.
FREEZE_SECONDS = 2.0
LIMITED = frozenset({"once.limited", "again.limited"})

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a worker program is told."""

    url: str
    #: One engine for each; one that is named twice gets two.
    namespaces: Sequence[str]
    #: Folder for a file of effects of each namespace.
    effects: str
    queues: Sequence[str] = ("spinach",)
    #: Of each engine.
    threads: int = 2
    lease_seconds: float = 10.0
    #: Where to stop: `fetched`, `running`, `effect` or `report`, for ever; `freeze`; or
    #: `crowd`: kill the process only once many jobs are buffered.
    hold: str = ""
    #: Stop when the queues are empty, rather than at a signal.
    until_empty: bool = False
    #: Of the application: `1` and `2` know one task each beside the rest; or `both`.
    release: str = "1"
    #: Seconds between jobs of the periodic task; 0: there is none.
    period_seconds: float = 0.0
    #: Further arguments of the broker.
    broker: dict[str, Any] = field(default_factory=dict)


def say(*words: object) -> None:
    """Tell the parent; one write, so that lines of several threads do not mix."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def hold(point: str) -> None:
    """Stop for ever, and say so."""
    say("held", point)
    while True:
        signal.pause() if threading.current_thread() is threading.main_thread() else time.sleep(60)


def open_client(url: str) -> Any:
    """A client of a server, a Cluster or what Sentinels watch.

    Args:
        url: as redis-py reads them, or `cluster://host:port,...` of some nodes, or
            `sentinel://host:port,.../service`.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in ("cluster", "sentinel"):
        return Redis.from_url(url)
    addresses, _, service = rest.partition("/")
    pairs = [
        (host, int(port)) for host, _, port in (a.partition(":") for a in addresses.split(","))
    ]
    if scheme == "sentinel":
        return Sentinel(pairs).master_for(service)
    return RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in pairs])


def _nothing(*_: object) -> None:
    """What a client records."""


def build_tasks(
    done: Any = _nothing,
    *,
    hold_at: str = "",
    release: str = "1",
    period_seconds: float = 0.0,
    other_queue: str = "",
    strike: Callable[[], None] | None = None,
) -> Tasks:
    """The application's tasks.

    Args:
        done: called with the key of a job that had its effect.
        hold_at: `running` or `effect`: stop there; `freeze`: stop the process in jobs
            that ask for it, until it is told to continue.
        release: of the application, or `both`.
        period_seconds: of the periodic task; 0: there is none.
        other_queue: of the task `other`, which there is if this is given.
        strike: called by poisonous jobs before they kill their process.
    """
    tasks = Tasks()

    def run(
        key: str,
        seconds: float = 0.0,
        filler: object = None,
        gate: str = "",
        freeze: bool = False,
    ) -> None:
        if hold_at == "running":
            hold("running")
        if seconds:
            for step in range(2):
                current_job().progress(step, 2, key)
                time.sleep(seconds / 2)
        while gate and not Path(gate).exists():
            time.sleep(GATE_SECONDS)
        if freeze and hold_at == "freeze":
            say("held", "freeze")
            before = time.monotonic()
            os.kill(os.getpid(), signal.SIGSTOP)
            # Another thread may take the signal, and this one must not take a job meanwhile.
            while time.monotonic() < before + FREEZE_SECONDS:
                time.sleep(GATE_SECONDS)
        done(key, filler)
        if hold_at == "effect":
            hold("effect")

    tasks.add(run, name="once")
    tasks.add(run, name="again", max_retries=5)
    tasks.add(run, name="once.limited", max_concurrency=LIMIT)
    tasks.add(run, name="again.limited", max_retries=5, max_concurrency=LIMIT)
    for number in ("1", "2") if release == "both" else (release,):
        tasks.add(run, name=f"release.{number}", max_retries=5)

    if other_queue:
        tasks.add(run, name="other", queue=other_queue, max_retries=5)

    failed: set[str] = set()

    def stumble(key: str, seconds: float = 0.0, filler: object = None) -> None:
        if key not in failed:
            failed.add(key)
            raise RetryException("The first attempt of this process fails.", at=_LONG_AGO)
        failed.discard(key)
        run(key, seconds, filler)

    tasks.add(stumble, name="stumble", max_retries=20)

    def faulty(key: str, seconds: float = 0.0, filler: object = None) -> None:
        if key not in failed:
            failed.add(key)
            raise ValueError("The first attempt of this process fails.")
        run(key, seconds, filler)

    # Runs at most once, and again if a person says so.
    tasks.add(faulty, name="faulty")

    def doomed(key: str, seconds: float = 0.0, filler: object = None) -> None:
        raise KeyError("No attempt succeeds.")

    tasks.add(doomed, name="doomed")

    def poison(key: str, seconds: float = 0.0, filler: object = None) -> None:
        if strike is not None:
            strike()
        os.kill(os.getpid(), signal.SIGKILL)

    tasks.add(poison, name="poison", max_retries=20)

    if period_seconds:

        def tick() -> None:
            done(None, None)

        tasks.add(tick, name="tick", periodicity=timedelta(seconds=period_seconds))
    return tasks


def digest(filler: object) -> str:
    """What a long argument is written down as."""
    return hashlib.sha256(repr(filler).encode()).hexdigest()[:16]
