"""Real worker processes that an orchestrator stops by `kill -TERM`, once and twice (I20)."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from spinach import Engine, current_job
from spinach.brokers.calls import QueueCounts
from spinach.jobs import CancelVerdict
from spinach_redis import RedisBroker

from .servers import Server

pytestmark = [
    pytest.mark.concurrency,
    pytest.mark.skipif(sys.platform == "win32", reason="nothing is sent to a process there"),
]

SECONDS = 30.0

#: Arguments: URL, namespace, what the task does, its retries, the grace in seconds or "none", and
#: the lease in seconds.
PROGRAM = """
import sys, threading
from datetime import timedelta
from spinach import Engine, RedisBroker, current_job

url, namespace, how, retries, grace, lease = sys.argv[1:]
broker = RedisBroker.from_url(url, lease=timedelta(seconds=int(lease)))
spin = Engine(broker, namespace)
never = threading.Event()

@spin.task(name="work", max_retries=int(retries))
def work():
    print("begun", flush=True)
    while not current_job().should_stop:
        never.wait(0.001)
    print("hears", flush=True)
    if how == "check":
        current_job().check()
    elif how == "release":
        current_job().release()
    elif how == "go on":
        never.wait()

spin.start_workers(1, grace=None if grace == "none" else timedelta(seconds=float(grace)))
print("ended", flush=True)
"""


class Process:
    """A worker process whose one thread runs the job."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._lines = self._process.stdout

    def says(self, line: str) -> None:
        """It says so, sooner or later."""
        assert self._lines.readline() == f"{line}\n"

    def term(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def ends(self) -> str:
        """It comes to its end by itself; what it wrote to stderr."""
        self.says("ended")
        _, errors = self._process.communicate(timeout=SECONDS)
        assert self._process.returncode == 0
        return errors

    def kill(self) -> None:
        self._process.kill()
        with contextlib.suppress(ValueError):  # the pipes are closed by then
            self._process.communicate()


class Site:
    """A queue with one job in it, and processes that work on it."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url = url
        self.engine = Engine(RedisBroker.from_url(url), namespace)
        self.attempts: list[int] = []
        self._processes: list[Process] = []

    def start(self, how: str, *, retries: int = 3, grace: str = "none", lease: int = 30) -> Process:
        """A process that has begun with the job."""
        self.engine.task(name="work", max_retries=retries)(self._note)
        self.engine.schedule("work")
        namespace = self.engine.namespace
        process = Process(self.url, namespace, how, str(retries), grace, str(lease))
        self._processes.append(process)
        process.says("begun")
        return process

    def _note(self) -> None:
        self.attempts.append(current_job().attempt)

    @property
    def counts(self) -> QueueCounts:
        (counts,) = self.engine._broker.counts(["spinach"])
        return counts

    @property
    def places(self) -> tuple[int, int, int, int]:
        """Jobs that are ready, leased, waiting for a retry and failed."""
        counts = self.counts
        assert counts.members == 0 or counts.leased
        return counts.ready, counts.leased, counts.retrying, counts.failed

    def next_attempt(self) -> int:
        """Which attempt another worker runs."""
        self.engine.start_workers(1, stop_when_queue_empty=True)
        (attempt,) = self.attempts
        return attempt

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        self.engine.stop_workers()


@pytest.fixture
def site(server: Server, namespace: str) -> Iterator[Site]:
    site = Site(server.unix_url, namespace)
    yield site
    site.close()


@pytest.mark.parametrize("grace", ["none", "600"])
@pytest.mark.parametrize("how", ["check", "release"])
def test_one_signal_lets_a_task_that_listens_give_its_job_back(
    site: Site, how: str, grace: str
) -> None:
    process = site.start(how, grace=grace)
    process.term()
    process.says("hears")
    process.ends()
    assert site.places == (1, 0, 0, 0)
    assert site.next_attempt() == 1


def test_one_signal_without_a_grace_waits_for_a_task_that_does_not_end_early(site: Site) -> None:
    process = site.start("return")
    process.term()
    process.says("hears")
    process.ends()
    assert site.places == (0, 0, 0, 0)


@pytest.mark.parametrize("how", ["check", "release"])
def test_a_job_that_runs_at_most_once_fails_where_it_would_be_given_back(
    site: Site, how: str
) -> None:
    process = site.start(how, retries=0)
    process.term()
    process.says("hears")
    errors = process.ends()
    assert site.places == (0, 0, 0, 1)
    (failed,) = site.engine.failed.list()
    assert failed.message.endswith("has started, so that it cannot be given back.")
    assert "Job failed: work" in errors


@pytest.mark.parametrize(("retries", "places"), [(3, (1, 0, 0, 0)), (0, (0, 1, 0, 0))])
def test_a_second_signal_ends_a_stop_that_waits_for_a_task(
    site: Site, retries: int, places: Any
) -> None:
    process = site.start("go on", retries=retries)
    process.term()
    # The kernel makes one of two signals that come at once.
    process.says("hears")
    process.term()
    errors = process.ends()
    assert "Grace is over, and task work still runs" in errors
    assert site.places == places
    if retries:
        assert site.next_attempt() == 1


def test_a_grace_ends_by_itself(site: Site) -> None:
    process = site.start("go on", grace="0.2")
    process.term()
    process.says("hears")
    errors = process.ends()
    assert "Grace is over, and task work still runs" in errors
    assert site.places == (1, 0, 0, 0)


def test_a_task_on_a_server_hears_of_its_cancel_with_the_next_beat(site: Site) -> None:
    process = site.start("check", lease=10)
    (listed,) = site.engine.jobs.list("spinach").jobs
    assert site.engine.jobs.cancel(listed.id) == (CancelVerdict.REQUESTED,)
    process.says("hears")
    # It has retries left, and is not run again: the queue is empty, and the process goes on.
    assert site.engine.jobs.wait(listed.id, timeout=timedelta(seconds=SECONDS)) == (None,)
    assert (site.counts.unfinished, site.counts.failed, site.counts.future) == (0, 0, 0)
    process.term()
    process.ends()
