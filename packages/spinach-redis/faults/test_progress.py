"""Jobs tell how far they have come while their workers are killed, sleep and stop."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from spinach.exc import BrokerError
from spinach.job import JobStatus

from .application import LIMITED
from .beside import Beside
from .fleet import Fleet
from .load import Load
from .results import Record
from .scene import MIX, Scene, tidy
from .sites import SITES
from .test_cancels import Canceller
from .test_chaos import WORKERS, Chaos, poisoned

#: Longest pause between two faults, in seconds.
PAUSE_SECONDS = 0.5
#: A job takes this time, so that beats meet many that run.
JOB_SECONDS = 0.2
#: Between two batches, so that the workers keep up.
BATCH_SECONDS = 0.25

#: What is wrong at one instant: ids with progress that are not leased, and a size that is told
#: otherwise. It reads all keys of the queue, which this server allows.
LOOK = """
local tag = KEYS[1]
local leased = {}
for _, member in ipairs(redis.call('ZRANGE', tag .. 'members', 0, -1)) do
  for _, id in ipairs(redis.call('HKEYS', tag .. 'running:' .. member)) do
    leased[id] = true
  end
end
local wrong, told = {}, redis.call('HKEYS', tag .. 'progress')
for _, id in ipairs(told) do
  if not leased[id] then
    wrong[#wrong + 1] = id
  end
end
local size = tonumber(redis.call('HGET', tag .. 'guard', 'progress') or 0)
if size ~= #told then
  wrong[#wrong + 1] = size .. ' is told of ' .. #told
end
return {#told, wrong}
"""


class Watch(Beside):
    """Looks at the progress of a queue again and again, from a thread of its own.

    Args:
        scene: whose first queue is looked at.
    """

    def __init__(self, scene: Scene) -> None:
        super().__init__("watch")
        self._scene = scene
        self._tag = f"{{{scene.namespace}/{scene.queues[0]}}}:"
        #: Looks that found some progress, most of it at once, and what was wrong.
        self.looks = 0
        self.most = 0
        self.wrong: list[Any] = []
        #: Notes that users were shown, and keys of their jobs.
        self.shown: set[tuple[str, str]] = set()

    def work(self) -> None:
        """Look."""
        client = self._scene.client()
        pause = threading.Event()
        while not self.over.is_set():
            try:
                number, wrong = client.eval(LOOK, 1, self._tag)
                page = self._scene.engine.jobs.list("spinach", status=JobStatus.RUNNING)
            except (BrokerError, RedisError):
                pause.wait(0.05)
                continue
            self.looks += number > 0
            self.most = max(self.most, number)
            self.wrong += wrong
            for view in page.jobs:
                if view.progress is not None and view.job is not None:
                    self.shown.add((view.progress.note, view.job.task_kwargs["key"]))
            pause.wait(0.02)
        client.close()


def test_progress_never_outlives_its_lease(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    binary: None,
    rounds: Callable[..., int],
    rng: random.Random,
    record: Record,
) -> None:  # I22
    faults = rounds(full=200, bounded=8)
    namespace = f"progress-{uuid.uuid4().hex[:12]}"
    with SITES["server"](rng, namespace, WORKERS) as site:
        scene = new_scene(site.url, namespace, **site.options)
        chaos = Chaos(fleet, scene, site, rng)
        canceller = Canceller(scene, random.Random(rng.random()))
        load = Load(scene, MIX, seconds=JOB_SECONDS, pause_seconds=BATCH_SECONDS)
        with canceller, Watch(scene) as watch:
            with load:
                load.goes_on()
                # Beats meet jobs that run, sooner or later.
                while sum(chaos.done.values()) < faults or not watch.shown:
                    chaos.go_on()
                    threading.Event().wait(rng.uniform(0, PAUSE_SECONDS))
                chaos.end()
            scene.drained(120)
        for worker in chaos.workers:
            worker.stop()
        tidy(scene, **chaos.settings)
        assert watch.wrong == []
        # Each told of itself.
        assert all(note == key for note, key in watch.shown)
        with scene.client() as client:
            scene.judge(client, may_fail=poisoned(scene), limits=LIMITED, cancelled=canceller.asked)
            assert client.hlen(f"{{{namespace}/spinach}}:progress") == 0
        name = site.name
    record(
        "progress that jobs tell, while processes die and servers fail",
        runs=sum(chaos.done.values()), jobs=len(scene.jobs), server=name,
        note=f"{watch.looks} looks found some, {watch.most} at once at most",
    )  # fmt: skip
