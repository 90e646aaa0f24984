"""Requests and answers that are lost, at every call of a scenario."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta

import pytest

from spinach.exc import BrokerError
from spinach.failed import FailedEntry
from spinach.job import JobStatus
from spinach_redis import scripts as script

from ..tests.proxy import Loss, Proxy
from ..tests.servers import Server, running_server
from .fleet import Fleet, until
from .results import Record
from .scene import MIX, Scene, tidy, version_of

#: Scenarios that go on at once.
PARALLEL = 6

#: Of them in a bounded run.
BOUNDED = 4

#: Call → what a request has in it.
CALLS = {
    "enqueue": script.ENQUEUE.sha,
    "join": script.JOIN.sha,
    "wait": b"BZPOPMIN",
    "fetch": script.FETCH.sha,
    "report": script.REPORT.sha,
    "beat": script.BEAT.sha,
    "tick": script.TICK.sha,
    "fire": script.FIRE.sha,
    "interrupt": b"UNBLOCK",
    "leave": script.LEAVE.sha,
    # Of the examination of the server before the first join: sent together.
    "hello": b"HELLO\r\n*",
    "info": b"INFO\r\n$6\r\nmemory",
    # On a new connection, so that a wait on it can be broken off.
    "client id": b"CLIENT\r\n$2\r\nID",
    # The list of queues, by producers and by workers.
    "list queue": b"SADD",
    # By people.
    "counts": script.COUNTS.sha,
    "failed page": script.FAILED_PAGE.sha,
    "revive": script.REVIVE.sha,
    "revive all": script.REVIVE_ALL.sha,
}
#: By people as well; a scenario makes these only where it loses one of them.
STEERING = {
    "survey": script.SURVEY.sha,
    "workers": script.WORKERS.sha,
    "pause": script.PAUSE.sha,
    "limit": script.LIMIT.sha,
    "limits": script.LIMITS.sha,
    "periodic": script.PERIODIC.sha,
    "suspend": script.SUSPEND.sha,
    "purge": script.PURGE.sha,
    "find": script.FIND.sha,
    "list": script.LIST.sha,
    "cancel": script.CANCEL.sha,
    "failed find": script.FAILED_FIND.sha,
}
#: Calls that a scenario makes only because another one failed, a process died, or the server
#: does not know a script.
RARE = {
    "reconcile": script.RECONCILE.sha,
    "recover": script.RECOVER.sha,
    "script": b"EVAL\r\n",
}
NEEDLES = {**CALLS, **STEERING, **RARE}

#: So far away that a job does not start by itself.
FAR = timedelta(hours=1)

#: Processes that die, so that there is something to recover.
DOOMED = 2
#: Fetches whose answers are lost so that there is something to reconcile.
FETCHES_LOST = 3


class TroubledProxy(Proxy):
    """Loses answers of fetches as well as what is planned.

    Args:
        port: of the server.
        fetches: how many, each second one.
    """

    def __init__(self, port: int, fetches: int = 0) -> None:
        super().__init__(port)
        self._fetches = itertools.count()
        self._lost_fetches = range(1, 2 * fetches, 2)

    def _strike(self, data: bytes) -> tuple[int, Loss | None]:
        at, loss = super()._strike(data)
        fetched = data.find(script.FETCH.sha)
        if loss is None and fetched >= 0:
            with self._lock:
                number = next(self._fetches)
            if number in self._lost_fetches:
                return fetched, Loss.ANSWER
        return at, loss


class Trouble:
    """Runs scenarios, each with one loss somewhere.

    Args:
        fleet: of the test.
        server: that all scenarios share.
        new_scene: makes namespaces.
    """

    def __init__(self, fleet: Fleet, server: Server, new_scene: Callable[..., Scene]) -> None:
        self._fleet = fleet
        self._server = server
        self._new_scene = new_scene
        # Guards what is counted.
        self._lock = threading.Lock()
        self.runs = 0
        self.jobs = 0

    def each_occurrence(self, call: str, loss: Loss) -> int:
        """Lose the first request of a call, in the next scenario the second, and so on.

        Returns:
            How often the scenario makes the call: that many scenarios had their loss.
        """
        for number in itertools.count():
            if not self.scenario(call, loss, number):
                return number
        raise AssertionError("unreachable")

    def scenario(self, call: str, loss: Loss, number: int) -> bool:
        """Schedule, run and stop, with one loss; whether there was occasion for it."""
        with ExitStack() as stack:
            server = self._server
            if call == "script":
                # One that knows no script yet.
                server = stack.enter_context(running_server())
            fetches = FETCHES_LOST if call == "reconcile" else 0
            proxy = stack.enter_context(closing(TroubledProxy(server.port, fetches)))
            proxy.lose(loss, NEEDLES[call], skip=number)
            name = f"loss-{call.replace(' ', '-')}-{loss.value}-{number}"
            scene = self._new_scene(server.unix_url, name, proxy.url)
            at_once, steers = call == "revive all", call in STEERING
            gone = self._play(scene, proxy, dies=call == "recover", at_once=at_once, steers=steers)
            struck = proxy.losses_left == 0
            with server.client() as client:
                undisturbed = call != "recover"
                effects = scene.judge(client, undisturbed=undisturbed, cancelled=gone)
        [faulty] = [key for key, task in scene.jobs.items() if task == "faulty"]
        if call != "recover":
            failures = effects.failures.keys() - gone
            assert failures == {faulty}, f"{name}: nobody died, but jobs were lost"
            ticks = [key for key in effects.starts if key.startswith("tick/")]
            assert all(len(effects.ends.get(key, ())) == 1 for key in ticks), f"{name}: {ticks}"
        # Once by itself, and once because a person said so.
        starts, ends = effects.starts[faulty], effects.ends[faulty]
        assert (len(starts), len(ends)) == (2, 1), f"{name}: revived {len(starts) - 1} times"
        with self._lock:
            self.runs += struck
            self.jobs += len(scene.jobs)
        return struck

    def _play(
        self, scene: Scene, proxy: Proxy, *, dies: bool, at_once: bool, steers: bool
    ) -> set[str]:
        """Keys of the jobs that people took back or forgot."""
        doomed = []
        if dies:
            scene.schedule(*("once", "again") * DOOMED)
            for _ in range(DOOMED):
                doomed.append(
                    self._fleet.start(scene.url, scene.namespace, hold="running", ready=False)
                )
                doomed[-1].expect("held")
        scene.schedule(*MIX, "faulty")
        scene.schedule("again", at=datetime.now(UTC) + timedelta(seconds=1))
        worker = self._fleet.start(proxy.url, scene.namespace, period_seconds=1.0)
        for each in doomed:
            self._fleet.kill(each)
        self._revive(scene, at_once=at_once)
        gone = self._steer(scene) if steers else set()
        # A beat is due after a third of the lease, and some ticks of the periodic task.
        until(lambda: len(_ticks(scene)) >= 4, 60, f"{scene.namespace} ticks")
        scene.drained(60)
        # Also asked over the line that loses things: then there is no answer, once.
        until(lambda: scene.unfinished(scene.producer_broker) is not None, 10, "counted")
        worker.stop()
        # A lost join or leave ends with the lease; a tick may have come after the last look.
        tidy(scene, period_seconds=1.0)
        return gone

    @staticmethod
    def _steer(scene: Scene) -> set[str]:
        """Look at everything and steer it, as a person does who repeats what is unsure.

        Returns:
            Keys of the jobs that are gone.
        """
        [waits] = scene.schedule("once", at=datetime.now(UTC) + FAR)
        [fails] = scene.schedule("doomed")
        until(lambda: fails in scene.failed(), 60, f"{fails} fails")
        engine, job_id = scene.producer, scene.ids[waits]
        calls: list[Callable[[], object]] = [
            engine.queues.list,
            engine.workers.list,
            lambda: engine.queues.pause("spinach"),
            lambda: engine.queues.resume("spinach"),
            lambda: engine.limits.set("again", 1),
            lambda: engine.limits.set("again", None),
            engine.limits.list,
            lambda: engine.periodic.pause("tick"),
            lambda: engine.periodic.resume("tick"),
            engine.periodic.list,
            lambda: engine.jobs.get(job_id),
            lambda: engine.jobs.list("spinach"),
            lambda: engine.jobs.cancel(job_id),
            lambda: engine.failed.get(scene.ids[fails]),
            lambda: engine.queues.purge("spinach", JobStatus.FAILED),
        ]
        for call in calls:
            while True:
                with suppress(BrokerError):
                    call()
                    break
        return {waits, fails}

    def _revive(self, scene: Scene, *, at_once: bool) -> None:
        """Run the job that failed again, as a person does who is not sure that it worked.

        Args:
            scene: of the scenario.
            at_once: with all others that failed, by a call that no loss makes unsure.
        """
        [faulty] = [key for key, task in scene.jobs.items() if task == "faulty"]
        until(lambda: faulty in scene.failed(), 60, f"{faulty} fails")
        if at_once:
            assert scene.producer.failed.retry_all(None, task="faulty") == 1
            return

        def entries() -> list[FailedEntry]:
            found = scene.producer.failed.list()
            return [entry for entry in found if entry.job.task_name == "faulty"]

        while left := entries():
            # When the answer is lost it may have worked, and another look tells.
            with suppress(BrokerError):
                scene.producer.failed.retry(left[0].job)


def _ticks(scene: Scene) -> list[str]:
    return [key for key in scene.effects().ends if key.startswith("tick/")]


@pytest.fixture
def trouble(fleet: Fleet, server: Server, new_scene: Callable[..., Scene]) -> Trouble:
    with server.client() as client:
        for each in script.SCRIPTS:
            client.script_load(each.text)
    return Trouble(fleet, server, new_scene)


def test_lost_request_or_answer_of_any_call_harms_no_job(
    trouble: Trouble, server: Server, full: bool, rng: random.Random, record: Record
) -> None:  # I2, I5, I6, I15
    with ThreadPoolExecutor(PARALLEL) as pool:
        if full:
            each = list(itertools.product(NEEDLES, Loss))
            counts = dict(
                zip(each, pool.map(lambda pair: trouble.each_occurrence(*pair), each), strict=True)
            )
            assert [pair for pair, count in counts.items() if count == 0] == []
            assert sum(counts.values()) == trouble.runs
            note = ", ".join(
                f"{call} {sum(counts[call, loss] for loss in Loss)}" for call in NEEDLES
            )
        else:
            # Losses of these two are over when a lease is.
            quick = [call for call in (*CALLS, *STEERING) if call not in ("join", "leave")]
            some = rng.sample(list(itertools.product(quick, Loss)), BOUNDED)
            assert all(pool.map(lambda pair: trouble.scenario(*pair, 0), some))
            note = ", ".join(call for call, _ in some)
    with server.client() as client:
        name = version_of(client)
    record(
        "lost reply, and cut before execution, at every call of a scenario",
        runs=trouble.runs,
        jobs=trouble.jobs,
        server=name,
        note=note,
    )
