"""What measures are made of: runs adapters on the server, starts workers, counts jobs there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .environment import ROOT, plain_environ
from .usage import Usage, usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .environment import Environments
    from .roster import Contestant
    from .server import Server

__all__ = ["Stage", "TimeIsUp", "Work"]

#: A worker that has not ended this long after SIGTERM is killed; in seconds.
STOP_SECONDS = 8.0

#: A producer may take this long, in seconds.
PRODUCE_SECONDS = 600.0

#: Shortest and longest pause between looks at the server, in seconds. A look costs the
#: server some microseconds.
LOOK_SECONDS = (0.002, 0.05)


class TimeIsUp(Exception):
    """A contestant did not get done within the time that a measure grants."""


class Work:
    """A worker of a contestant, in a process of its own; made by `Stage.worker`."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder
        #: Name of a file → its text, of a worker that has ended: its folder is gone.
        self._kept: dict[str, str] = {}

    def events(self, kind: str) -> list[dict[str, float]]:
        """What jobs have told so far by `jobs.EVENTS`; also after the end of the worker."""
        # What is being appended has no line end yet.
        lines = self._text("events").split("\n")[:-1]
        return [event for event in map(json.loads, lines) if event["kind"] == kind]

    def _text(self, name: str) -> str:
        path = self._folder / name
        if name in self._kept or not path.exists():
            return self._kept.get(name, "")
        return path.read_text(encoding="utf-8", errors="replace")

    def end(self, grace_seconds: float) -> None:
        """Stop the worker, and keep what it and its jobs told."""
        _end(self._process, grace_seconds)
        self._kept = {name: self._text(name) for name in ("events", "stderr")}

    def await_events(self, kind: str, count: int, seconds: float) -> None:
        """Wait until `count` events of a kind were told.

        Raises:
            TimeIsUp: they were not, within this time.
        """
        deadline = time.monotonic() + seconds
        while len(self.events(kind)) < count:
            if time.monotonic() > deadline:
                raise TimeIsUp(f"{len(self.events(kind))} of {count} jobs told {kind!r}")
            self.check()
            time.sleep(LOOK_SECONDS[1])

    def usage(self) -> Usage:
        """What the worker takes of the machine.

        Raises:
            RuntimeError: it has ended.
        """
        self.check()
        return usage(self._process.pid)

    def check(self) -> None:
        """Raise if the worker has died.

        Raises:
            RuntimeError: with what it wrote at the end.
        """
        if self._process.poll() is not None:
            raise RuntimeError(
                f"The worker ended with {self._process.returncode}: " + self._text("stderr")[-2000:]
            )


class Stage:
    """Runs adapters of contestants.

    Args:
        server: of all measures.
        environments: of the contestants.
        share: 1, or 10 in a quick run. Measures divide numbers of jobs and seconds by it.
    """

    def __init__(self, server: Server, environments: Environments, share: int = 1) -> None:
        self.server = server
        self.share = share
        self._environments = environments
        self._cards: dict[str, dict[str, Any]] = {}

    def on(self, server: Server) -> Stage:
        """The same stage on other servers."""
        return Stage(server, self._environments, self.share)

    def python(self, contestant: Contestant) -> Path:
        """Its interpreter."""
        return self._environments.python(contestant)

    def card(self, contestant: Contestant) -> dict[str, Any]:
        """What an adapter says of its contestant."""
        card = self._cards.get(contestant.name)
        if card is None:
            card = self._cards[contestant.name] = self.play(contestant, "describe")
        return card

    def play(
        self, contestant: Contestant, command: str, url: str | None = None, **order: Any
    ) -> dict[str, Any]:
        """Run a command of an adapter to its end.

        Args:
            contestant: whose adapter.
            command: see `benchmarks.contestants.adapter`.
            url: of a proxy before the server; None is the server itself.
            order: what the command takes.
        """
        done = subprocess.run(
            self._program(contestant),
            input=self._order(contestant, command, url, order),
            cwd=ROOT,
            env=_environ(),
            stdout=subprocess.PIPE,
            timeout=PRODUCE_SECONDS,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def enqueue(self, contestant: Contestant, task: str, count: int) -> float:
        """Schedule jobs without arguments, in the quickest way that the contestant has.

        Args:
            contestant: whose producer.
            task: a function of `benchmarks.contestants.jobs`.
            count: of jobs.

        Returns:
            Seconds that it took the producer.
        """
        command = "batch" if self.card(contestant)["has_batch"] else "enqueue"
        seconds: float = self.play(contestant, command, task=task, count=count)["seconds"]
        return seconds

    def schedule(self, contestant: Contestant, calls: Sequence[tuple[str, list[Any]]]) -> None:
        """Schedule jobs with arguments, in this order.

        Args:
            contestant: whose producer.
            calls: task and arguments of each job.
        """
        self.play(contestant, "calls", calls=calls)

    @contextlib.contextmanager
    def worker(
        self,
        contestant: Contestant,
        slots: int,
        *,
        expected: int = 0,
        url: str | None = None,
        kill: bool = False,
    ) -> Iterator[Work]:
        """A worker for the block.

        Args:
            contestant: whose worker.
            slots: threads, or what takes their place.
            expected: number of the job that tells `last` when it ends; 0: none does.
            url: of a proxy before the server; None is the server itself.
            kill: end it with SIGKILL, so that it gives nothing back.
        """
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            told = {"BENCH_EVENTS": str(folder / "events"), "BENCH_EXPECTED": str(expected)}
            with (folder / "stderr").open("wb") as stderr:
                process = subprocess.Popen(
                    self._program(contestant),
                    cwd=ROOT,
                    env=_environ() | told,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    start_new_session=True,
                )
            work = Work(process, folder)
            try:
                assert process.stdin is not None
                with process.stdin as stdin:
                    stdin.write(self._order(contestant, "work", url, {"slots": slots}))
                yield work
                work.check()
            finally:
                work.end(0.0 if kill else STOP_SECONDS)

    def pending(self, contestant: Contestant) -> int:
        """Jobs whose outcome the server does not know yet."""
        return self.server.count(self.card(contestant)["pending"])

    def await_done(
        self, contestant: Contestant, works: Sequence[Work], seconds: float, left: int = 0
    ) -> tuple[float, int]:
        """Wait until no more than `left` jobs are pending.

        Returns:
            When that was seen, on the monotonic clock, and how many were pending.

        Raises:
            TimeIsUp: it took too long.
        """
        begin = time.monotonic()
        total = self.pending(contestant)
        while True:
            pending = self.pending(contestant)
            now = time.monotonic()
            if pending <= left:
                return now, pending
            if now - begin > seconds:
                raise TimeIsUp(f"{contestant.name}: {pending} jobs left after {seconds:g} s")
            for work in works:
                work.check()
            # Half of what the rest takes at the pace so far, so that looks are few and exact.
            pace = max(1, total - pending) / (now - begin)
            pause = (pending - left) / pace / 2
            time.sleep(min(max(pause, LOOK_SECONDS[0]), LOOK_SECONDS[1]))

    def warm_up(self, contestant: Contestant, work: Work, seconds: float = 30.0) -> None:
        """Run a few jobs, so that the worker has loaded its modules and connected."""
        self.play(contestant, "enqueue", task="noop", count=5)
        self.await_done(contestant, [work], seconds)

    def _program(self, contestant: Contestant) -> list[str]:
        module = f"benchmarks.contestants.{contestant.adapter}"
        return [str(self.python(contestant)), "-m", module]

    def _order(
        self, contestant: Contestant, command: str, url: str | None, order: dict[str, Any]
    ) -> bytes:
        """For standard input: an argument holds 128 KiB, too little for thousands of calls."""
        known = {
            "command": command,
            "url": url or self.server.url,
            "options": contestant.options,
        }
        return json.dumps({**known, **order}).encode()


def _environ() -> dict[str, str]:
    # RQ's workers import the jobs by name.
    return plain_environ() | {"PYTHONPATH": str(ROOT)}


def _end(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """Stop a worker, and whatever processes it leaves behind."""
    if grace_seconds and process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    # It leads a session of its own, which holds its children.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
