"""How fast waiting jobs are worked off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..roster import FLOOR
from .measure import Measure, Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..roster import Contestant
    from ..stage import Stage, Work

__all__ = ["METRICS", "Drain", "IoBound", "Prefetch", "drained"]

#: A contestant may take this long, in seconds.
LIMIT_SECONDS = 180.0

#: CPU time is that of the worker's process; it is missing where a pool of processes works.
METRICS = {"rate": Metric("jobs/s"), "cpu": Metric("µs of the worker's CPU a job", False, 1)}


def drained(
    stage: Stage,
    contestant: Contestant,
    *,
    task: str = "noop",
    count: int,
    slots: int,
    calls: Sequence[tuple[str, list[Any]]] | None = None,
    url: str | None = None,
) -> dict[str, float]:
    """Jobs a second, and CPU time of the worker.

    It counts from the start of the first job until every outcome is reported; start-up
    does not count. The end is when the server shows nothing as waiting or
    running and the last job has ended, whichever is later: for contestants that report
    no outcome the former comes too early.

    Args:
        stage: of the measure.
        contestant: to measure.
        task: a function of `benchmarks.contestants.jobs`, which calls `TALLY`.
        count: of jobs.
        slots: threads, or what takes their place.
        calls: task and arguments of each job; None: `count` jobs of the task, without any.
        url: of a proxy between worker and server; None: there is none.
    """
    if calls is None:
        stage.enqueue(contestant, task, count)
    else:
        stage.schedule(contestant, calls)
    with stage.worker(contestant, slots, expected=count, url=url) as work:
        end, _ = stage.await_done(contestant, [work], LIMIT_SECONDS)
        if work.usage().processes == 1:
            # A contestant that reports no outcome may still be running the last jobs.
            work.await_events("last", 1, LIMIT_SECONDS)
        values = {"rate": count / (max(end, last_end(work)) - first_start([work]))}
        firsts, lasts = work.events("first"), work.events("last")
        if lasts:
            values["cpu"] = 1e6 * (lasts[0]["cpu"] - firsts[0]["cpu"]) / count
        return values


def first_start(works: Sequence[Work]) -> float:
    """When the first job started, over all processes."""
    return min(event["at"] for work in works for event in work.events("first"))


def last_end(work: Work) -> float:
    """When the last expected job ended; a pool of processes does not tell."""
    return max((event["at"] for event in work.events("last")), default=0.0)


class Drain(Measure):
    """No-op jobs, ten threads."""

    name = "drain"
    title = "Drain no-op jobs, 10 threads"
    metrics: ClassVar[dict[str, Metric]] = METRICS
    quick = True

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """See `drained`."""
        count = contestant.drained // stage.share
        return drained(stage, contestant, count=count, slots=10)


class Prefetch(Drain):
    """The floor with smaller pops."""

    name = "prefetch"
    title = "The floor with other prefetches"
    quick = False

    def takes(self, contestant: Contestant) -> bool:
        """The floors that the other measures leave out."""
        return contestant.kind == "floor" and contestant.name != FLOOR


class IoBound(Measure):
    """Jobs that wait 10 ms, fifty threads."""

    name = "io"
    title = "2,000 jobs of 10 ms, 50 threads (ideal 5,000/s)"
    metrics: ClassVar[dict[str, Metric]] = METRICS
    quick = True

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """See `drained`."""
        count = min(2000, contestant.drained) // min(stage.share, 2)
        return drained(stage, contestant, task="nap", count=count, slots=50)
