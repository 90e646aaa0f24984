"""The worker program that the fault suite starts, and breaks.

It is a program as a user writes one: tasks, an engine, `start_workers`. Beyond that it

- appends what its jobs do to a file, outside the server that suffers (see `effects.py`);
- stops for ever at a point that it is told, and says so, so that it can be killed there;
- speaks to its parent over its output, one word a line.

Run as `python program.py SETTINGS`, with the settings as JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

from spinach import Engine, RetryException, Tasks, signals
from spinach_redis import RedisBroker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import FetchReply, FetchTurn, ReportReply
    from spinach.job import Job
    from spinach.outcome import Outcome

__all__ = [
    "LIMIT",
    "ONCE",
    "Settings",
    "build_tasks",
    "digest",
    "make_broker",
    "open_client",
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
    #: Where to stop: `fetched`, `running`, `effect` or `report`, for ever; `freeze`.
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


class HoldingBroker(RedisBroker):
    """A broker that stops where it is told, between what the server did and the rest."""

    hold_at = ""

    def fetch(
        self,
        turns: Sequence[FetchTurn],
        *,
        idle: int,
        extra: int,
        max_bytes: int,
        block_seconds: float = 0.0,
    ) -> list[FetchReply]:
        replies = super().fetch(
            turns, idle=idle, extra=extra, max_bytes=max_bytes, block_seconds=block_seconds
        )
        if self.hold_at == "fetched" and any(reply.leases for reply in replies):
            hold("fetched")
        return replies

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        if self.hold_at == "report":
            hold("report")
        return super().report(outcomes)


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


def make_broker(settings: Settings) -> RedisBroker:
    """The broker of one engine."""
    broker = HoldingBroker(
        open_client(settings.url),
        lease=timedelta(seconds=settings.lease_seconds),
        **settings.broker,
    )
    broker.hold_at = settings.hold
    return broker


def _nothing(*_: object) -> None:
    """What a client records."""


def build_tasks(
    done: Any = _nothing,
    *,
    hold_at: str = "",
    release: str = "1",
    period_seconds: float = 0.0,
    other_queue: str = "",
) -> Tasks:
    """The application's tasks.

    Args:
        done: called with the key of a job that had its effect.
        hold_at: `running` or `effect`: stop there; `freeze`: stop the process in jobs
            that ask for it, until it is told to continue.
        release: of the application, or `both`.
        period_seconds: of the periodic task; 0: there is none.
        other_queue: of the task `other`, which there is if this is given.
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
            time.sleep(seconds)
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

    def poison(key: str, seconds: float = 0.0, filler: object = None) -> None:
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


class Journal:
    """Appends what jobs of one namespace do to a file; any number of processes do."""

    def __init__(self, path: Path, namespace: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        # Key of the job that runs in a thread.
        self._current = threading.local()
        signals.job_started.connect(self._started, sender=namespace)
        signals.job_failed.connect(self._failed, sender=namespace)

    def done(self, key: str | None, filler: object) -> None:
        """The effect of a job; a periodic one does not know its key."""
        self._write("end", key or self._current.key, 0, digest(filler))

    def _started(self, _: object, job: Job, **kwargs: object) -> None:
        self._current.key = self._key(job)
        self._write("start", self._current.key, job.retries, job.task_name)

    def _failed(self, _: object, job: Job, err: BaseException, **kwargs: object) -> None:
        self._write("failed", self._key(job), job.retries, type(err).__name__)

    @staticmethod
    def _key(job: Job) -> str:
        # Jobs of a periodic task are told apart by the instant they were due, in ms.
        return str(job.task_kwargs.get("key") or f"tick/{job.at.timestamp() * 1000:.0f}")

    def _write(self, event: str, key: str, retries: int, detail: str) -> None:
        line = f"{event} {key} {retries} {detail} {os.getpid()} {time.monotonic_ns()}\n"
        os.write(self._file, line.encode())


def usage() -> str:
    """Memory in KiB, open files, threads."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return f"{pages * resource.getpagesize() // 1024} {files} {threading.active_count()}"


def main() -> int:
    """Run workers until told to stop."""
    settings = Settings(**json.loads(sys.argv[1]))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # One line for each job helps nobody.
    logging.getLogger("spinach.job").setLevel(logging.WARNING)
    signal.signal(signal.SIGUSR1, lambda *_: say("usage", usage()))
    signal.signal(signal.SIGUSR2, lambda *_: say("time", time.time()))
    engines = []
    journals: dict[str, Journal] = {}
    for namespace in settings.namespaces:
        if namespace not in journals:
            journals[namespace] = Journal(Path(settings.effects) / namespace, namespace)
        engine = Engine(make_broker(settings), namespace)
        engine.attach_tasks(
            build_tasks(
                journals[namespace].done,
                hold_at=settings.hold,
                release=settings.release,
                period_seconds=settings.period_seconds,
                other_queue=settings.queues[1] if len(settings.queues) > 1 else "",
            )
        )
        engines.append(engine)
    if len(engines) == 1:
        # Said by a worker thread: now SIGTERM is in the hands of `start_workers`.
        announced = threading.Event()

        def announce(_: object, **kwargs: object) -> None:
            if not announced.is_set():
                announced.set()
                say("ready")

        signals.worker_started.connect(announce)
        engines[0].start_workers(
            settings.threads, settings.queues, stop_when_queue_empty=settings.until_empty
        )
        return 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for engine in engines:
        engine.start_workers(settings.threads, settings.queues, block=False)
    say("ready")
    # In slices, since a signal may reach another thread first.
    while not stop.wait(1.0):
        pass
    with contextlib.ExitStack() as stack:
        for engine in engines:
            engine.stop_workers(_join_arbiter=False)
            stack.callback(engine.stop_workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
