"""Requests and answers that are lost, at every call of a scenario."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from spinach_redis import script

from ..tests.proxy import Loss, Proxy
from ..tests.servers import Server
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
}
#: Calls that a scenario makes only because another one failed or a process died.
RARE = {"reconcile": script.RECONCILE.sha, "recover": script.RECOVER.sha}


class TroubledProxy(Proxy):
    """Loses one more request, or its answer, after the loss that was planned first."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._next: tuple[Loss, bytes] | None = None

    def then_lose(self, loss: Loss, needle: bytes) -> None:
        """Plan the second loss."""
        self._next = (loss, needle)

    def _strike(self, data: bytes) -> tuple[int, Loss | None]:
        struck = super()._strike(data)
        with self._lock:
            exhausted = self._plan is not None and self._plan.times == 0
            following, self._next = (self._next, None) if exhausted else (None, self._next)
        if following is not None:
            self.lose(*following)
        return struck


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
        proxy = TroubledProxy(self._server.port)
        try:
            if call == "reconcile":
                proxy.lose(Loss.ANSWER, CALLS["fetch"], skip=1)
                proxy.then_lose(loss, RARE[call])
            else:
                proxy.lose(loss, {**CALLS, **RARE}[call], skip=number)
            scene = self._new_scene(
                self._server.unix_url, f"loss-{call}-{loss.value}-{number}", proxy.url
            )
            self._play(scene, proxy, dies=call == "recover")
            struck = proxy.losses_left == 0 and proxy._next is None
        finally:
            proxy.close()
        with self._server.client() as client:
            effects = scene.judge(client)
        if call != "recover":
            assert effects.failures == {}, f"{scene.namespace}: nobody died, but jobs were lost"
        with self._lock:
            self.runs += struck
            self.jobs += len(scene.jobs)
        return struck

    def _play(self, scene: Scene, proxy: Proxy, *, dies: bool) -> None:
        if dies:
            scene.schedule("once", "again")
            doomed = self._fleet.start(
                self._server.unix_url, scene.namespace, hold="running", ready=False
            )
            doomed.expect("held")
        scene.schedule(*MIX)
        scene.schedule("again", at=datetime.now(UTC) + timedelta(seconds=1))
        worker = self._fleet.start(proxy.url, scene.namespace, period_seconds=1.0)
        if dies:
            self._fleet.kill(doomed)
        # A beat is due after a third of the lease, and some ticks of the periodic task.
        until(lambda: len(_ticks(scene)) >= 4, 60, f"{scene.namespace} ticks")
        scene.drained(60)
        worker.stop()
        # A lost join or leave ends with the lease; a tick may have come after the last look.
        tidy(scene, period_seconds=1.0)


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
    each = list(itertools.product(CALLS, Loss))
    rare = list(itertools.product(RARE, Loss))
    with ThreadPoolExecutor(PARALLEL) as pool:
        if full:
            counts = dict(
                zip(each, pool.map(lambda pair: trouble.each_occurrence(*pair), each), strict=True)
            )
            assert [pair for pair, count in counts.items() if count == 0] == []
            assert all(pool.map(lambda pair: trouble.scenario(*pair, 0), rare))
        else:
            # Losses of these two are over when a lease is.
            quick = [pair for pair in each if pair[0] not in ("join", "leave")]
            some = rng.sample(quick, BOUNDED)
            assert all(pool.map(lambda pair: trouble.scenario(*pair, 0), some))
    with server.client() as client:
        name = version_of(client)
    record(
        "lost reply, and cut before execution, at every call of a scenario",
        runs=trouble.runs,
        jobs=trouble.jobs,
        server=name,
    )
