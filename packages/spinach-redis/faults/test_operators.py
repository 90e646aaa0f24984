"""Operators retry, discard and purge while they, the workers and the server die."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ..tests.servers import Server
from . import ledger
from .application import LIMITED
from .effects import Effects
from .fleet import Fleet, Process, until
from .load import Load
from .results import Record
from .scene import Scene, tidy, version_of

PROGRAM = Path(__file__).parent / "steering.py"
WORKERS, OPERATORS = 3, 2
#: A queue that is paused from the beginning.
SHELF = "shelf"
#: Of one batch. `faulty` is retried, `doomed` discarded, and `other` lies on the shelf.
TASKS = ("faulty", "doomed", "faulty", "doomed", "again.limited", "stumble", "other", "other")
#: What is set in the place of the limit that workers declare.
OVERRIDE = 1
#: Longest pause between two faults, in seconds.
PAUSE_SECONDS = 0.3


class Operators:
    """Processes of operators, and what they said.

    Args:
        url: of the server.
        namespace: that they steer.
        folder: for what they say.
        rng: makes their seeds.
    """

    def __init__(self, url: str, namespace: str, folder: Path, rng: random.Random) -> None:
        self._arguments = (url, namespace)
        self._path = folder / "operators"
        self._file: IO[bytes] = self._path.open("ab")
        self._log: IO[bytes] = (folder / "operators.log").open("ab")
        self._rng = rng
        self._running = [self._start() for _ in range(OPERATORS)]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), *self._arguments, str(self._rng.random())],
            stdout=self._file,
            stderr=self._log,
        )

    def kill(self) -> None:
        """One of them dies at its work, and another takes its place."""
        place = self._rng.randrange(OPERATORS)
        process = self._running[place]
        until(lambda: self._busy(process.pid), 60, "an operator at work")
        assert process.poll() is None, "an operator ended by itself"
        self._end(process)
        self._running[place] = self._start()

    def _busy(self, pid: int) -> bool:
        return [words[1] for words in self.said() if words[0] == str(pid)][-1:] == ["begun"]

    def close(self) -> None:
        """All of them die."""
        for each in self._running:
            self._end(each)
        self._file.close()
        self._log.close()

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(30)

    def said(self) -> list[list[str]]:
        """Each line that was said, by its words."""
        return [line.split() for line in self._path.read_text(encoding="ascii").splitlines()]

    def told(self, verb: str) -> int:
        """How many jobs those calls were told of that came to their end."""
        return sum(int(words[3]) for words in self.said() if words[1:3] == ["done", verb])

    def number(self, word: str) -> int:
        """How many calls have `begun`, are `done`, or `broke`."""
        return sum(words[1] == word for words in self.said())


class Board:
    """A scene with a shelf, a limit and a periodic task that operators steer.

    Args:
        scene: with its other queue.
        fleet: of its workers.
    """

    def __init__(self, scene: Scene, fleet: Fleet) -> None:
        self.scene = scene
        self._fleet = fleet
        first = self.start()
        scene.engine.queues.pause(SHELF)
        scene.engine.limits.set("again.limited", OVERRIDE)
        scene.engine.periodic.pause("tick")
        #: By the clock of the machine, which is the server's.
        self.paused_at_ms = time.time() * 1000
        self.workers = [first, *(self.start() for _ in range(WORKERS - 1))]

    def start(self) -> Process:
        """One more worker."""
        return self._fleet.start(
            self.scene.url,
            self.scene.namespace,
            threads=3,
            queues=("spinach", SHELF),
            period_seconds=1.0,
        )

    def kill(self, rng: random.Random) -> None:
        """A worker dies, and another takes its place."""
        place = rng.randrange(WORKERS)
        self._fleet.kill(self.workers[place])
        self.workers[place] = self.start()

    def drained(self) -> None:
        """Wait until only the shelf is left, and stop all workers."""
        broker = self.scene.broker

        def left() -> int:
            [counts] = broker.counts(["spinach"])
            return counts.unfinished + counts.future + counts.parked

        until(lambda: left() == 0, 120, "all but the shelf is drained")
        for worker in self.workers:
            worker.stop()

    def in_force(self) -> None:
        """What was set holds, as the server tells it and as jobs ran."""
        engine = self.scene.engine
        assert engine.queues.get(SHELF).paused
        limits = {view.task: view.override for view in engine.limits.list()}
        assert limits["again.limited"] == OVERRIDE
        assert {view.task: view.paused for view in engine.periodic.list()} == {"tick": True}
        effects = self.scene.effects()
        peak = effects.peak("again.limited", self._fleet.ends(), self._fleet.sleeps)
        assert peak <= OVERRIDE
        assert [key for key in effects.starts if key.startswith("other/")] == []
        late = [k for k in effects.starts if k[:5] == "tick/" and float(k[5:]) > self.paused_at_ms]
        assert late == []


def judge_failed_store(scene: Scene, operators: Operators, effects: Effects, revived: int) -> int:
    """No failed job is lost or doubled; how many were discarded."""
    failed = scene.failed()
    gone = 0
    again = 0
    wrong = []
    for key, task in scene.jobs.items():
        starts, ends = len(effects.starts.get(key, ())), len(effects.ends.get(key, ()))
        if task == "faulty":
            again += max(0, starts - 1)
            if not ends and key not in failed:
                wrong.append(f"{key} did not succeed, and is not in the failed store")
        elif task == "doomed":
            if starts > 1:
                wrong.append(f"{key} was not to be retried, and started {starts} times")
            if key not in failed:
                gone += 1
                if key not in effects.failures:
                    wrong.append(f"{key} is gone, and did not fail in a way that is discarded")
    assert wrong == []
    # A job that was put back and lost its worker before it started did not start again.
    assert again <= revived
    assert operators.told("retry") <= revived
    assert operators.told("discard") <= gone
    return gone


def test_operators_lose_and_double_nothing_whatever_dies(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    own_server: Server,
    rounds: Callable[..., int],
    rng: random.Random,
    record: Record,
    tmp_path: Path,
) -> None:  # I1, I3, I10, I24
    runs = rounds(full=200, bounded=5)
    scene = new_scene(own_server.url, other_queue=SHELF)
    board = Board(scene, fleet)
    operators = Operators(own_server.url, scene.namespace, tmp_path, rng)
    done: Counter[str] = Counter()
    try:
        with Load(scene, TASKS) as load, own_server.client() as client:
            load.goes_on()
            for _ in range(runs):
                threading.Event().wait(rng.uniform(0, PAUSE_SECONDS))
                fault = rng.choices(("operator", "worker", "cut", "server"), (8, 4, 7, 1))[0]
                if fault == "operator":
                    operators.kill()
                elif fault == "worker":
                    board.kill(rng)
                elif fault == "cut":
                    client.client_kill_filter(_type="normal", skipme=True)
                else:
                    own_server.restart(kill=True)
                done[fault] += 1
            load.goes_on()
            # Also where there were few faults each of the calls is made.
            for verb in ("retry", "discard", "purge"):
                until(lambda verb=verb: operators.told(verb) > 0, 60, f"a {verb} that did some")
    finally:
        operators.close()
    board.drained()
    board.in_force()

    # All is started anew.
    own_server.restart()
    board.workers = [board.start()]
    for _ in range(5):
        scene.schedule(*TASKS)
    board.drained()
    board.in_force()

    with own_server.client() as client:
        content = {each.queue: each for each in ledger.check(client, scene.namespace)}
        main, shelf = content["spinach"], content[SHELF]
        revived = int(main.get("flow", {}).get("revived", "0"))
        purged = int(shelf.get("flow", {}).get("purged", "0"))
        gone = judge_failed_store(scene, operators, scene.effects(), revived)
        # Nothing came but what was scheduled and what was put back, and all but the shelf ended.
        jobs = Counter(task == "other" for task in scene.jobs.values())
        unknown = Counter(task == "other" for task in scene.unknown.values())
        came, ended = main.flow()
        assert 0 <= came - revived - jobs[False] <= unknown[False]
        assert came == ended
        came, ended = shelf.flow()
        assert 0 <= came - jobs[True] <= unknown[True]
        assert ended == 0
        assert came - purged == len(shelf.jobs)
        assert operators.told("purge") <= purged
        left = list(shelf.get("ready", []))

        scene.engine.queues.resume(SHELF)
        board.workers = [board.start()]
        scene.drained()
        board.workers[0].stop()
        tidy(scene, queues=("spinach", SHELF))
        others = {key for key, task in scene.jobs.items() if task == "other"}
        failing = {key for key, task in scene.jobs.items() if task in ("faulty", "doomed")}
        effects = scene.judge(client, may_fail=failing, cancelled=others | failing, limits=LIMITED)
        ran = {key for key in effects.ends if key.startswith("other/")}
        assert {"1" + scene.ids[key] for key in ran} == set(left)
        name = version_of(client)
    broken = operators.number("begun") - operators.number("done")
    record(
        "operators that retry, discard and purge are killed and cut off, and workers with them",
        runs=runs, jobs=len(scene.jobs), server=name,
        note=f"{', '.join(f'{n} times {each}' for each, n in done.most_common())}; "
        f"{operators.number('begun')} calls, {broken} broke off; {revived} jobs put back, "
        f"{gone} discarded, {purged} purged",
    )  # fmt: skip
