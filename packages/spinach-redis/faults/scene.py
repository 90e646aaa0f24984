"""One namespace under a fault: what was scheduled, and whether all of it came right."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from redis import Redis

from spinach import Batch, Engine
from spinach.exc import BrokerError
from spinach_redis import RedisBroker

from .application import LIMIT, LIMITED, ONCE, build_tasks, open_client
from .disk import Forgotten
from .effects import Effects
from .fleet import Fleet, until
from .ledger import check_drained

__all__ = ["MIX", "Scene", "tidy", "version_of"]

#: Of producers: faults last longer than a web application would wait.
CLIENT_TIMEOUT = timedelta(seconds=30)

#: A bit of everything.
MIX = ("once", "again", "once.limited", "again.limited", "stumble")


class Scene:
    """A namespace, with a producer in this process.

    Args:
        fleet: whose effects are counted.
        url: of the server, for the test.
        namespace: None for a new one.
        producer_url: of the server, for the producer; None: the same.
        release: of the producer.
        other_queue: of the task `other`.
        options: of the producer's broker.
    """

    def __init__(
        self,
        fleet: Fleet,
        url: str,
        namespace: str | None = None,
        producer_url: str | None = None,
        release: str = "1",
        other_queue: str = "",
        **options: Any,
    ) -> None:
        self.fleet = fleet
        self.url = url
        self.namespace = namespace or f"scene-{uuid.uuid4().hex[:12]}"
        self.queues = ("spinach", other_queue) if other_queue else ("spinach",)
        options.setdefault("client_timeout", CLIENT_TIMEOUT)
        self.broker = RedisBroker(open_client(url), **options)
        self.engine = Engine(self.broker, self.namespace)
        self.producer = self.engine
        self.producer_broker = self.broker
        if producer_url is not None:
            self.producer_broker = RedisBroker.from_url(producer_url, client_timeout=CLIENT_TIMEOUT)
            self.producer = Engine(self.producer_broker, self.namespace)
        self.producer.attach_tasks(build_tasks(release=release, other_queue=other_queue))
        #: Key → task, of the jobs that the server accepted.
        self.jobs: dict[str, str] = {}
        #: Of those whose fate the producer did not learn.
        self.unknown: dict[str, str] = {}
        #: Key → id, of all that was ever sent.
        self.ids: dict[str, str] = {}
        self._numbers = itertools.count()

    # -- producer ----------------------------------------------------------

    def schedule(self, *tasks: str, at: datetime | None = None, **kwargs: object) -> list[str]:
        """Schedule a batch for each queue; keys of the jobs.

        Args:
            tasks: one job of each.
            at: not before this instant.
            kwargs: of all jobs.

        Raises:
            BrokerError: the server refused some, which are not counted then.
        """
        here = [task for task in tasks if task != "other"]
        elsewhere = [task for task in tasks if task == "other"]
        return [key for part in (here, elsewhere) if part for key in self._batch(part, at, kwargs)]

    def _batch(self, tasks: list[str], at: datetime | None, kwargs: dict[str, object]) -> list[str]:
        keys = [f"{task}/{next(self._numbers)}" for task in tasks]
        batch = Batch()
        for key, task in zip(keys, tasks, strict=True):
            if at is None:
                batch.schedule(task, key=key, **kwargs)
            else:
                batch.schedule_at(task, at, key=key, **kwargs)
        named = dict(zip(keys, tasks, strict=True))
        try:
            jobs = self.producer.schedule_batch(batch)
        except BrokerError as error:
            # The jobs of one queue are stored in the order of the batch, up to some point.
            ids = [*error.stored, *error.unknown, *error.not_sent]
            self.ids.update({key: str(id_) for key, id_ in zip(keys, ids, strict=True)})
            stored, known = len(error.stored), len(error.stored) + len(error.unknown)
            self.jobs.update({key: named[key] for key in keys[:stored]})
            self.unknown.update({key: named[key] for key in keys[stored:known]})
            raise
        self.ids.update({key: str(job.id) for key, job in zip(keys, jobs, strict=True)})
        self.jobs.update(named)
        return keys

    # -- what happened -----------------------------------------------------

    def effects(self) -> Effects:
        """What the jobs did so far."""
        return Effects(self.fleet.effects / self.namespace)

    def unfinished(self, broker: RedisBroker | None = None) -> int | None:
        """Jobs that the server still has to give out or to get back; None: no answer.

        Args:
            broker: that asks; None: the test's own.
        """
        answers = (broker or self.broker).counts(self.queues)
        if any(counts.error is not None for counts in answers):
            return None
        return sum(counts.unfinished + counts.future + counts.parked for counts in answers)

    def drained(self, seconds: float = 60.0) -> None:
        """Wait until the server has nothing left to do."""
        try:
            until(lambda: self.unfinished() == 0, seconds, f"{self.namespace} drained")
        except AssertionError as error:
            error.add_note(
                f"{self.unfinished()} of {len(self.jobs)} jobs are left. Unless they hang: start "
                "more threads, or schedule less by `Load(scene, pause_seconds=..., seconds=...)`."
            )
            raise

    def members(self) -> set[bytes]:
        """Live memberships, and dead ones that nobody recovered yet."""
        keys = [f"{{{self.namespace}/{queue}}}:members" for queue in self.queues]
        client = self.client()
        try:
            return {member for key in keys for member in client.zrange(key, 0, -1)}
        finally:
            client.close()

    def failed(self) -> dict[str, str]:
        """Key → exception, of the failed store."""
        entries = [
            entry
            for queue in self.queues
            for offset in range(0, 10_000, 1000)
            for entry in self.engine.failed.list(queue, offset=offset, limit=1000)
        ]
        return {str(e.job.task_kwargs.get("key", e.job.id)): e.error for e in entries}

    def client(self) -> Any:
        """A plain client of the server."""
        return open_client(self.url)

    def close(self) -> None:
        """Give up the producer's connections."""
        self.broker.close()
        self.producer_broker.close()

    # -- the judgement -----------------------------------------------------

    def judge(
        self,
        client: Any,
        *,
        may_fail: Iterable[str] = (),
        forgotten: Forgotten | None = None,
        undisturbed: bool = False,
        limits: Collection[str] = LIMITED,
        cancelled: Collection[str] = (),
    ) -> Effects:
        """Check what every fault has to leave behind, all workers having ended.

        Args:
            client: of the server.
            may_fail: keys of repeatable jobs that may end in the failed store.
            forgotten: what the server lost although it had confirmed it; None: nothing.
            undisturbed: no worker was lost, so each job succeeded exactly once, and none
                spent an attempt but by raising.
            limits: tasks whose limit may not have been exceeded.
            cancelled: keys of jobs whose cancel was asked for, so that they may be gone.

        Raises:
            AssertionError: something is lost, doubled, or left.
        """
        effects, failed = self.effects(), self.failed()
        lost = forgotten or Forgotten()
        wrong: list[str] = []
        for key, task in {**self.jobs, **self.unknown}.items():
            starts, ends = len(effects.starts.get(key, ())), len(effects.ends.get(key, ()))
            stored_id = ("0" if task in ONCE else "1") + self.ids.get(key, "")
            gone = lost.stored[stored_id] > 0
            again = lost.leased[stored_id] + lost.ended[stored_id]
            untold = task in ONCE and again
            if task in ONCE and starts > 1 + again:
                wrong.append(f"{key} runs at most once and started {starts} times")
            if task not in ONCE and key in failed and key not in may_fail:
                wrong.append(f"{key} may repeat and failed: {failed[key]}")
            if undisturbed and key not in self.unknown and key not in cancelled:
                if ends > 1 + again or not (ends or gone or untold):
                    wrong.append(f"{key} succeeded {ends} times, though no worker was lost")
                if key in failed and not untold:
                    wrong.append(f"{key} failed, though no worker was lost: {failed[key]}")
            if undisturbed and task != "stumble":
                spent = max((each.retries for each in effects.starts.get(key, ())), default=0)
                wrong += [f"{key} spent {spent} attempts"] * bool(spent)
            if not (ends or gone or key in failed or key in self.unknown or key in cancelled):
                wrong.append(f"{key} is gone: started {starts} times, not in the failed store")
        known = self.jobs.keys() | self.unknown.keys()
        strangers = [k for k in effects.starts if k not in known and not k.startswith("tick/")]
        wrong += [f"{key} ran and was not scheduled" for key in strangers]
        ticks = [k for k in effects.starts if k.startswith("tick/") and len(effects.starts[k]) > 1]
        wrong += [f"{key} ran {len(effects.starts[key])} times" for key in ticks]
        # A job that runs under a lease which the server forgot has no slot.
        outside = {
            key for key, id_ in self.ids.items() if {"0" + id_, "1" + id_} & lost.leased.keys()
        }
        for task in limits:
            peak = effects.peak(task, self.fleet.ends(), self.fleet.sleeps, outside)
            wrong += [f"{peak} of {task} ran at once"] * (peak > LIMIT)
        assert not wrong, f"{self.namespace}:\n  " + "\n  ".join(wrong)
        check_drained(client, self.namespace)
        return effects


def tidy(*scenes: Scene, **settings: object) -> None:
    """Wait until the leases of dead processes were taken back, and run the rest.

    Args:
        scenes: of one fleet and one server.
        settings: of the worker program that is started for it.
    """
    dead = {scene: left for scene in scenes if (left := scene.members()) or scene.unfinished()}
    if not dead:
        return
    names = [scene.namespace for scene in dead]
    worker = scenes[0].fleet.start(scenes[0].url, *names, **settings)
    for scene, left in dead.items():
        until(
            lambda scene=scene, left=left: not left & scene.members(),
            60,
            f"dead members of {scene.namespace} recovered",
        )
        scene.drained()
    worker.stop()


def version_of(client: Redis) -> str:
    """Kind and version of a server, as rows of the table name it."""
    info = client.info("server")
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"
