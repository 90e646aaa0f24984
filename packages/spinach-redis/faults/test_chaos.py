"""Everything at random, at once."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable

import pytest

from .application import LIMITED, ONCE
from .fleet import Fleet, Process, until
from .load import Load
from .results import Record
from .scene import MIX, Scene, tidy
from .sites import SITES, Fault, Site

WORKERS = 4
#: Longest pause between two faults.
PAUSE_SECONDS = 1.0
PERIOD_SECONDS = 1.0
#: Longest time that a process stands still: beyond its lease.
SLEEP_SECONDS = 13.0


class Chaos:
    """Brings about one fault after the other.

    Args:
        fleet: of the test.
        scene: whose workers suffer.
        site: whose servers suffer.
        rng: chooses.
    """

    def __init__(self, fleet: Fleet, scene: Scene, site: Site, rng: random.Random) -> None:
        self._fleet = fleet
        self._scene = scene
        self._site = site
        self._rng = rng
        self.settings = {
            "period_seconds": PERIOD_SECONDS,
            "queues": ("spinach", site.other_queue) if site.other_queue else ("spinach",),
            "broker": site.options,
        }
        self.workers = [self._start(number) for number in range(WORKERS)]
        #: Worker → when it may go on.
        self._asleep: dict[Process, float] = {}
        self.done: Counter[str] = Counter()

    def _start(self, number: int) -> Process:
        return self._fleet.start(
            self._site.worker_url(number),
            self._scene.namespace,
            threads=3,
            ready=False,
            **self.settings,
        )

    def go_on(self) -> None:
        """One more fault."""
        self._wake(time.monotonic())
        faults: list[Fault] = [self._kill, self._sleep, self._stop, *self._site.faults]
        fault = self._rng.choice(faults)
        name = fault.__name__.strip("_").replace("_", " ")
        # Shown with the logs of a run that failed.
        print(time.strftime("%H:%M:%S"), name)
        fault()
        self.done[name] += 1

    def end(self) -> None:
        """Let everything run undisturbed, and stop it."""
        self._wake(float("inf"))
        self._site.end()
        for worker in self.workers:
            until(lambda worker=worker: worker.said("ready"), 60, "the last one is up")

    def _wake(self, now: float) -> None:
        for worker, until_ in list(self._asleep.items()):
            if until_ <= now:
                self._fleet.wake(worker)
                del self._asleep[worker]

    def _awake(self) -> int | None:
        awake = [n for n, worker in enumerate(self.workers) if worker not in self._asleep]
        return self._rng.choice(awake) if awake else None

    def _kill(self) -> None:
        if (number := self._awake()) is not None:
            self._fleet.kill(self.workers[number])
            self.workers[number] = self._start(number)

    def _sleep(self) -> None:
        if (number := self._awake()) is not None:
            worker = self.workers[number]
            self._fleet.sleep(worker)
            self._asleep[worker] = time.monotonic() + self._rng.uniform(0.5, SLEEP_SECONDS)

    def _stop(self) -> None:
        number = self._awake()
        # Before its workers are started a signal ends it without a word.
        if number is not None and self.workers[number].said("ready"):
            self.workers[number].stop()
            self.workers[number] = self._start(number)


@pytest.mark.parametrize("kind", SITES)
def test_everything_at_random(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    binary: None,
    rounds: Callable[..., int],
    rng: random.Random,
    record: Record,
    kind: str,
) -> None:  # I1 to I24
    seconds = rounds(full=60, bounded=4 if kind == "server" else 0)
    namespace = f"chaos-{uuid.uuid4().hex[:12]}"
    with SITES[kind](rng, namespace, WORKERS) as site:
        queue = site.other_queue
        scene = new_scene(site.url, namespace, other_queue=queue, **site.options)
        chaos = Chaos(fleet, scene, site, rng)
        with Load(scene, (*MIX, "other") if queue else MIX, seconds=0.02) as load:
            load.goes_on()
            ends_at = time.monotonic() + seconds
            while time.monotonic() < ends_at:
                chaos.go_on()
                threading.Event().wait(rng.uniform(0, PAUSE_SECONDS))
            chaos.end()
        scene.drained(120)
        for worker in chaos.workers:
            worker.stop()
        # Some slept past their lease, or could not tell a server that was away of their end.
        tidy(scene, **chaos.settings)
        # Where leases of jobs that may repeat may be forgotten, so may their slots.
        limits = LIMITED & ONCE if site.forgets_leases else LIMITED
        with scene.client() as client:
            effects = scene.judge(client, may_fail=poisoned(scene), limits=limits)
        name = site.name
    note = ", ".join(f"{count} {fault}" for fault, count in chaos.done.items())
    record(
        "everything at random",
        runs=sum(chaos.done.values()), jobs=len(scene.jobs), server=name,
        note=f"{seconds} s: {note}; {len(effects.failures)} jobs that run at most once lost",
    )  # fmt: skip


def poisoned(scene: Scene) -> set[str]:
    """Jobs that ran in three workers which died, by chance."""
    return {
        key
        for key, error in scene.failed().items()
        if "WorkerLost" in error and len(scene.effects().starts.get(key, ())) >= 3
    }
