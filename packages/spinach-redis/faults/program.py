"""The worker program that the fault suite starts, and breaks.

It is a program as a user writes one: tasks (in `application.py`), an engine, `start_workers`.
Beyond that it

- appends what its jobs do to a file, outside the server that suffers (see `effects.py`);
- stops for ever at a point that it is told, and says so, so that it can be killed there;
- speaks to its parent over its output, one word a line.

Run as `python program.py SETTINGS`, with the settings as JSON.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

# A script's own folder is on the path.
from application import Settings, build_tasks, digest, hold, open_client, say

from spinach import Engine, signals
from spinach.brokers.calls import FetchReply, FetchTurn, ReportReply
from spinach.job import Job
from spinach.outcome import Lease, Outcome, OutcomeKind
from spinach_redis import RedisBroker
from spinach_redis.keys import QueueKeys


class Crowd:
    """Lets a job that kills its process wait until enough others are buffered there.

    A process buffers as many as it can run within two fetches. So some fetches are made to
    take long; then it believes that many are needed. Fetches of one job for an idle thread
    are not: what was recovered is not buffered, and takes many of them.
    """

    #: Buffered jobs that are enough, with a reserve for those that start meanwhile.
    ENOUGH = 525
    #: Fetches that take long, and how long.
    SLOW_FETCHES = 3
    SLOW_SECONDS = 0.3

    def __init__(self) -> None:
        #: Ids of all jobs that ran here.
        self.started: set[str] = set()
        self._slow_left = self.SLOW_FETCHES
        self._waiting = threading.Event()

    def wait(self) -> None:
        """Called by the job."""
        self._waiting.set()
        hold("crowd")

    def came(self, leases: list[Lease], leased: Callable[[], dict[bytes, bytes]]) -> None:
        """Called with what a fetch brought, before any of it can start.

        Args:
            leases: of the fetch.
            leased: stored id → token, of all that the server counts as this process's.
        """
        if not self._waiting.is_set() or all(lease.direct for lease in leases):
            return
        if self._slow_left:
            self._slow_left -= 1
            time.sleep(self.SLOW_SECONDS)
            return
        buffered = [id_.decode()[1:] for id_, token in leased().items() if token[:1] == b"b"]
        if sum(each not in self.started for each in buffered) >= self.ENOUGH:
            # The blow falls here: before the job's thread came to its turn, others would have
            # run half of what is buffered.
            os.kill(os.getpid(), signal.SIGKILL)


class HoldingBroker(RedisBroker):
    """A broker that stops where it is told, between what the server did and the rest."""

    hold_at = ""
    url = ""
    crowd: Crowd | None = None

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
        if self.crowd is not None:
            leases = [lease for reply in replies for lease in reply.leases]
            self.crowd.came(leases, lambda: self._leased(turns[0]))
        return replies

    def _leased(self, turn: FetchTurn) -> dict[bytes, bytes]:
        with open_client(self.url) as client:
            found: dict[bytes, bytes] = client.hgetall(
                QueueKeys(self.namespace, turn.queue).running(turn.member)
            )
        return found

    def report(self, outcomes: Sequence[Outcome]) -> ReportReply:
        # On a busy machine a thread may be so slow to start that what was buffered goes back first.
        ran = any(outcome.kind is not OutcomeKind.RELEASE for outcome in outcomes)
        if ran and self.hold_at == "report":
            hold("report")
        return super().report(outcomes)


def make_broker(settings: Settings, crowd: Crowd | None = None) -> RedisBroker:
    """The broker of one engine."""
    broker = HoldingBroker(
        open_client(settings.url),
        lease=timedelta(seconds=settings.lease_seconds),
        **settings.broker,
    )
    broker.hold_at, broker.url, broker.crowd = settings.hold, settings.url, crowd
    return broker


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
    crowd = Crowd() if settings.hold == "crowd" else None
    if crowd is not None:
        started = crowd.started

        def note(_: object, job: Job, **kwargs: object) -> None:
            started.add(str(job.id))

        signals.job_started.connect(note)
    engines = []
    journals: dict[str, Journal] = {}
    for namespace in settings.namespaces:
        if namespace not in journals:
            journals[namespace] = Journal(Path(settings.effects) / namespace, namespace)
        engine = Engine(make_broker(settings, crowd), namespace)
        engine.attach_tasks(
            build_tasks(
                journals[namespace].done,
                hold_at=settings.hold,
                release=settings.release,
                period_seconds=settings.period_seconds,
                other_queue=settings.queues[1] if len(settings.queues) > 1 else "",
                strike=crowd.wait if crowd is not None else None,
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
