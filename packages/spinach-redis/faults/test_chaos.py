"""Everything at random, at once."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from redis.exceptions import ConnectionError as RedisConnectionError

from spinach_redis import script

from ..tests.proxy import Loss, Proxy
from ..tests.servers import Server
from .fleet import Fleet, Process, until
from .load import Load
from .results import Record
from .scene import Scene, tidy, version_of

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
        server: that suffers.
        rng: chooses.
    """

    def __init__(self, fleet: Fleet, scene: Scene, server: Server, rng: random.Random) -> None:
        self._fleet = fleet
        self._scene = scene
        self._server = server
        self._rng = rng
        self.proxies = [Proxy(server.port) for _ in range(WORKERS)]
        self.workers = [self._start(number) for number in range(WORKERS)]
        #: Worker → when it may go on.
        self._asleep: dict[Process, float] = {}
        self.done: Counter[str] = Counter()

    def _start(self, number: int) -> Process:
        return self._fleet.start(
            self.proxies[number].url,
            self._scene.namespace,
            threads=3,
            period_seconds=PERIOD_SECONDS,
            ready=False,
        )

    def go_on(self) -> None:
        """One more fault."""
        self._wake(time.monotonic())
        faults: list[Callable[[], None]] = [
            self._kill, self._sleep, self._stop, self._restart_server, self._stall_server,
            self._cut_connections, self._lose_a_call, self._lose_a_call, self._forget_scripts,
            self._fill_memory,
        ]  # fmt: skip
        fault = self._rng.choice(faults)
        fault()
        self.done[fault.__name__.strip("_")] += 1

    def end(self) -> None:
        """Let everything run undisturbed, and stop it."""
        self._wake(float("inf"))
        for proxy in self.proxies:
            proxy.lose(Loss.ANSWER, b"", times=0)
        for worker in self.workers:
            until(lambda worker=worker: worker.said("ready"), 60, "the last one is up")

    def _wake(self, now: float) -> None:
        for worker, until_ in list(self._asleep.items()):
            if until_ <= now:
                worker.send(signal.SIGCONT)
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
            worker.send(signal.SIGSTOP)
            self._asleep[worker] = time.monotonic() + self._rng.uniform(0.5, SLEEP_SECONDS)

    def _stop(self) -> None:
        number = self._awake()
        # Before its workers are started a signal ends it without a word.
        if number is not None and self.workers[number].said("ready"):
            self.workers[number].stop()
            self.workers[number] = self._start(number)

    def _restart_server(self) -> None:
        self._server.restart(kill=True)

    def _stall_server(self) -> None:
        self._server.freeze()
        threading.Event().wait(self._rng.uniform(0.2, 6.0))
        self._server.thaw()

    def _cut_connections(self) -> None:
        with self._server.client() as client, contextlib.suppress(RedisConnectionError):
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _lose_a_call(self) -> None:
        each = self._rng.choice(script.SCRIPTS)
        self._rng.choice(self.proxies).lose(self._rng.choice(list(Loss)), each.sha)

    def _forget_scripts(self) -> None:
        with self._server.client() as client:
            client.script_flush()

    def _fill_memory(self) -> None:
        with self._server.client() as client:
            client.config_set("maxmemory", 1)
            threading.Event().wait(self._rng.uniform(0, 1.0))
            client.config_set("maxmemory", 0)


def test_everything_at_random(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    own_server: Server,
    full: bool,
    rng: random.Random,
    record: Record,
) -> None:  # I1 to I21
    seconds = 60.0 if full else 4.0
    with own_server.client() as client:
        name = version_of(client)
    scene = new_scene(own_server.url)
    chaos = Chaos(fleet, scene, own_server, rng)
    with Load(scene, seconds=0.02) as load:
        load.goes_on()
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            chaos.go_on()
            threading.Event().wait(rng.uniform(0, PAUSE_SECONDS))
        chaos.end()
    scene.drained(120)
    for worker in chaos.workers:
        worker.stop()
    # Who slept past its lease, and who was stopped by a server that was away.
    tidy(scene, period_seconds=PERIOD_SECONDS)
    for proxy in chaos.proxies:
        proxy.close()
    # A worker that sleeps goes on with what it runs when its lease, and its slot, are gone.
    overtaken = chaos.done["sleep"] > 0
    with own_server.client() as client:
        effects = scene.judge(client, may_fail=poisoned(scene), limits=not overtaken)
    note = ", ".join(f"{count} {fault.replace('_', ' ')}" for fault, count in chaos.done.items())
    record(
        "everything at random",
        runs=sum(chaos.done.values()), jobs=len(scene.jobs), server=name,
        note=f"{seconds:.0f} s: {note}; {len(effects.failures)} jobs that run at most once lost",
    )  # fmt: skip


def poisoned(scene: Scene) -> set[str]:
    """Jobs that ran in three workers which died, by chance."""
    return {
        key
        for key, error in scene.failed().items()
        if "WorkerLost" in error and len(scene.effects().starts.get(key, ())) >= 3
    }
