"""Results while workers are killed and connections cut: one is there, or the job has not ended."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from spinach import Engine, Job, RedisBroker, Tasks
from spinach.brokers.calls import Ending
from spinach.const import WORKER_LOST
from spinach.exc import JobFailed
from spinach.record.ids import stored_id

from ..tests.servers import Server
from .fleet import until
from .results import Record
from .scene import version_of

WORKERS, PRODUCERS = 3, 6
NAMESPACE = "kept"

#: Longest pause between two faults, in seconds.
PAUSE_SECONDS = 0.3
#: For a job that lost two workers, one after the other.
PATIENCE = timedelta(seconds=180)

#: A worker process; its lease is as short as leases are.
PROGRAM = """
import sys, time
from datetime import timedelta
from spinach import Engine, RedisBroker, Tasks

tasks = Tasks(keep_result=timedelta(hours=1))


def answer(number):
    time.sleep(0.005)
    return number


tasks.add(answer, "again", max_retries=50)
tasks.add(answer, "once")
spin = Engine(RedisBroker.from_url(sys.argv[1], lease=timedelta(seconds=10)), namespace="kept")
spin.attach_tasks(tasks)
spin.start_workers(4)
"""


class Producers:
    """Threads that schedule jobs, and wait for the result of each."""

    def __init__(self, url: str) -> None:
        tasks = Tasks(keep_result=timedelta(hours=1))
        tasks.add(abs, "again", max_retries=50)
        tasks.add(abs, "once")
        self.spin = Engine(RedisBroker.from_url(url), namespace=NAMESPACE)
        self.spin.attach_tasks(tasks)
        self.told: list[tuple[Job, str]] = []
        self.problems: list[str] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(PRODUCERS)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, first: int) -> None:
        number = first
        while not self._over.is_set():
            job = self.spin.schedule("once" if number % 3 == 0 else "again", number)
            try:
                found = self.spin.result(job, timeout=PATIENCE)
            except JobFailed as error:
                self.told.append((job, error.error))
            except Exception as error:  # noqa: BLE001 - the test judges it
                self.problems.append(f"{job}: {error!r}")
            else:
                if found != number:
                    self.problems.append(f"{job} answered {found!r}")
                self.told.append((job, "returned"))
            number += PRODUCERS

    def end(self) -> None:
        """Let each get its last result."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE.total_seconds())
            assert not thread.is_alive(), "a producer still waits"


def test_result_is_there_or_the_job_has_not_ended(
    own_server: Server, rounds: Callable[..., int], rng: random.Random, record: Record
) -> None:  # I23
    runs = rounds(full=200, bounded=12)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, own_server.url], stderr=subprocess.DEVNULL
        )

    workers = [start() for _ in range(WORKERS)]
    producers = Producers(own_server.url)
    done: Counter[str] = Counter()
    try:
        with own_server.client() as client:
            until(lambda: producers.told, 60, "the first result")
            for _ in range(runs):
                threading.Event().wait(rng.uniform(0, PAUSE_SECONDS))
                if rng.random() < 0.5:
                    place = rng.randrange(WORKERS)
                    workers[place].kill()
                    workers[place].wait()
                    workers[place] = start()
                    done["kills"] += 1
                else:
                    client.client_kill_filter(_type="normal", skipme=True)
                    done["cuts"] += 1
            producers.end()
            assert producers.problems == []
            broker = producers.spin._broker
            until(lambda: broker.counts(["spinach"])[0].unfinished == 0, 120, "all jobs done")
            kinds = Counter(kind for _, kind in producers.told)
            assert set(kinds) <= {"returned", WORKER_LOST}
            # What was told once is there still, and the failed store has what failed.
            for job, kind in producers.told:
                [found] = broker.job_ends("spinach", [stored_id(job.id_text, job.max_retries)])
                expected = Ending.SUCCEEDED if kind == "returned" else Ending.FAILED
                assert found.ending is expected, job
            failed = {entry.job.id for entry in producers.spin.failed.iterate()}
            assert failed == {job.id for job, kind in producers.told if kind == WORKER_LOST}
            name = version_of(client)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    record(
        "kills and cuts while results are waited for",
        runs=runs, jobs=len(producers.told), server=name,
        note=f"{done['kills']} kills, {done['cuts']} cuts; {kinds[WORKER_LOST]} jobs lost their "
        "worker for good, and their results say so",
    )  # fmt: skip
