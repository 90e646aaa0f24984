"""Jobs are cancelled at random while workers are killed, sleep and stop."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable

import pytest

from spinach.brokers.calls import CancelVerdict
from spinach.exc import BrokerError

from .application import LIMITED, ONCE
from .beside import Beside
from .effects import Effects
from .fleet import Fleet
from .load import Load
from .results import Record
from .scene import MIX, Scene, tidy
from .sites import SITES
from .test_chaos import WORKERS, Chaos, poisoned

#: Longest pause between two faults, and between two cancels.
PAUSE_SECONDS = 0.5
CANCEL_SECONDS = 0.02
#: Of the newest jobs some are cancelled: most of them still wait.
NEWEST = 60
#: One job sleeps so long, so that the queue is never empty.
JOB_SECONDS = 0.05


class Canceller(Beside):
    """Cancels jobs of a scene from a thread of its own."""

    def __init__(self, scene: Scene, rng: random.Random) -> None:
        super().__init__("canceller")
        self._scene = scene
        self._rng = rng
        #: Key → when the answer CANCELLED was there, in ns of the clock that effects are told by.
        self.cancelled: dict[str, int] = {}
        #: Keys of jobs whose worker was to hear of it.
        self.requested: set[str] = set()
        #: Keys of those whose cancel got no answer.
        self.unknown: set[str] = set()

    def work(self) -> None:
        """Cancel some of the newest jobs, again and again."""
        while not self.over.wait(self._rng.uniform(0, CANCEL_SECONDS)):
            keys = list(self._scene.jobs)[-NEWEST:]
            self._cancel(self._rng.sample(keys, min(len(keys), self._rng.randint(1, 3))))

    def _cancel(self, keys: list[str]) -> None:
        try:
            verdicts = self._scene.engine.jobs.cancel(*(self._scene.ids[key] for key in keys))
        except BrokerError:
            self.unknown.update(keys)
            return
        now = time.monotonic_ns()
        for key, verdict in zip(keys, verdicts, strict=True):
            if verdict is CancelVerdict.CANCELLED:
                self.cancelled[key] = now
            elif verdict is CancelVerdict.REQUESTED:
                self.requested.add(key)

    @property
    def asked(self) -> set[str]:
        """Keys of all jobs that may be gone."""
        return {*self.cancelled, *self.requested, *self.unknown}

    def judge(self, effects: Effects) -> None:
        """Nothing started that had been cancelled (I22)."""
        wrong = []
        for key, at_ns in self.cancelled.items():
            starts = effects.starts.get(key, ())
            if starts and key.rpartition("/")[0] in ONCE:
                wrong.append(f"{key} runs at most once, was cancelled, and started")
            # One that waited for a retry had started before.
            wrong += [f"{key} started after its cancel" for each in starts if each.at_ns > at_ns]
        assert wrong == []


@pytest.mark.parametrize("kind", ["server", "cluster"])
def test_cancelled_jobs_start_no_more_whatever_dies(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    binary: None,
    rounds: Callable[..., int],
    rng: random.Random,
    record: Record,
    kind: str,
) -> None:  # I1, I22
    faults = rounds(full=100, bounded=8 if kind == "server" else 0)
    namespace = f"cancels-{uuid.uuid4().hex[:12]}"
    with SITES[kind](rng, namespace, WORKERS) as site:
        queue = site.other_queue
        scene = new_scene(site.url, namespace, other_queue=queue, **site.options)
        chaos = Chaos(fleet, scene, site, rng)
        tasks = (*MIX, "other") if queue else MIX
        canceller = Canceller(scene, random.Random(rng.random()))
        with Load(scene, tasks, seconds=JOB_SECONDS) as load, canceller:
            load.goes_on()
            while sum(chaos.done.values()) < faults:
                chaos.go_on()
                threading.Event().wait(rng.uniform(0, PAUSE_SECONDS))
            chaos.end()
        scene.drained(120)
        for worker in chaos.workers:
            worker.stop()
        tidy(scene, **chaos.settings)
        with scene.client() as client:
            effects = scene.judge(
                client,
                may_fail=poisoned(scene),
                limits=LIMITED & ONCE if site.forgets_leases else LIMITED,
                cancelled=canceller.asked,
            )
        canceller.judge(effects)
        assert len(canceller.cancelled) >= faults
        name = site.name
    record(
        "jobs cancelled at random, while processes die and servers fail",
        runs=sum(chaos.done.values()), jobs=len(scene.jobs), server=name,
        note=f"{len(canceller.cancelled)} cancelled, {len(canceller.requested)} while they ran",
    )  # fmt: skip
