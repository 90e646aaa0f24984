"""The same namespace in two databases of one server, at once."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from ..tests.servers import Server
from .fleet import Fleet
from .load import Load
from .results import Record
from .scene import MIX, Scene, version_of

NAMESPACE = "letters"
DATABASES = (0, 5)


def test_namespace_in_one_database_knows_nothing_of_its_like_in_another(
    fleet: Fleet,
    own_server: Server,
    full: bool,
    record: Record,
    tmp_path: Path,
) -> None:  # I21
    # Effects go by the namespace, so each database has a fleet of its own. Keys of jobs are
    # the same on both sides: one that ran on the wrong side ran twice there, and never here.
    (tmp_path / "other").mkdir()
    other = Fleet(tmp_path / "other")
    with ExitStack() as stack:
        stack.callback(other.close)
        sides = []
        for each, database in zip((fleet, other), DATABASES, strict=True):
            url = f"{own_server.url}/{database}"
            scene = Scene(each, url, NAMESPACE)
            stack.callback(scene.close)
            sides.append((scene, each.start(url, NAMESPACE, threads=3), database))
        with ExitStack() as loads:
            for scene, _, _ in sides:
                load = loads.enter_context(Load(scene, pause_seconds=0.02))
                load.goes_on(200 if full else 20)
        for number, (scene, _, _) in enumerate(sides):
            # One has jobs that the other has not.
            keys = scene.schedule(*MIX * 4 * (1 + number))
            scene.drained()
            assert set(keys) <= set(scene.effects().ends)
        # A database without workers keeps its jobs, while workers run in the other one.
        (idle, worker, _), (busy, busy_worker, _) = sides
        worker.stop()
        keys = idle.schedule(*MIX)
        busy.schedule(*MIX * 4)
        busy.drained()
        busy_worker.stop()
        [counts] = idle.broker.counts(["spinach"])
        assert (counts.ready, counts.leased) == (len(keys), 0)
        idle.fleet.start(idle.url, NAMESPACE, until_empty=True).ended()
        for scene, _, database in sides:
            with own_server.client(db=database) as client:
                scene.judge(client, undisturbed=True)
                name = version_of(client)
    record(
        "two databases of one server, the same namespace in both, workers in both",
        runs=1, jobs=sum(len(scene.jobs) for scene, _, _ in sides), server=name,
    )  # fmt: skip
