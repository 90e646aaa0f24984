"""What Spinach set out to reach, and whether a run shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .measures.growth import WAITING
from .roster import AT_LEAST_ONCE, AT_MOST_ONCE, FLOOR, ROSTER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .results import Results

__all__ = ["GoalCheck", "check_goals"]

PEERS = [contestant.name for contestant in ROSTER if contestant.kind == "peer"]

#: Ideal rate of the I/O-bound measure, jobs a second.
IDEAL_IO = 5_000.0

#: Longest wait of a short job behind a long one, in ms: four horizons of the buffer and
#: a round trip on the loopback.
LONGEST_WAIT_MS = 4 * 50 + 5


@dataclass(frozen=True)
class GoalCheck:
    """A goal, and whether a run reached it."""

    measure: str
    goal: str
    found: str
    met: bool


def check_goals(results: Results) -> list[GoalCheck]:
    """One for each goal whose measures the run has, in the order of the tables."""
    judge = _Judge(results)
    found = [
        judge.times_peer("drain", "rate", AT_LEAST_ONCE, 10),
        judge.share_of_floor("drain", 50),
        judge.times_peer("drain", "rate", AT_MOST_ONCE, 5),
        judge.at_least("io", "rate", AT_LEAST_ONCE, 0.95 * IDEAL_IO, "95 % of the ideal 5,000/s"),
        judge.at_least("io", "rate", AT_MOST_ONCE, 0.95 * IDEAL_IO, "95 % of the ideal 5,000/s"),
        judge.times_peer("one by one", "rate", AT_LEAST_ONCE, 1),
        judge.times_peer("batch", "rate", AT_LEAST_ONCE, 2.5),
        *(judge.no_later("pick-up", metric, name) for metric, name in _pairs()),
        *(judge.at_most("future", "early", name, 0, "never early") for name in _ours()),
        *(judge.due("p50", 2.0, name) for name in _ours()),
        *(judge.due("p99", 5.0, name) for name in _ours()),
        *(judge.no_later("result", metric, name) for metric, name in _pairs()),
        judge.times_peer("distant drain", "rate", AT_LEAST_ONCE, 8),
        judge.at_least("distant batch", "share", AT_LEAST_ONCE, 70, "70 % of its own rate"),
        judge.at_most("idle", "commands", AT_LEAST_ONCE, 0.5, "≤ 0.5 commands/s"),
        judge.at_most_peer("idle", "cpu", 0),
        judge.at_most_peer("idle", "rss", 3),
        judge.at_most("import", "module", AT_LEAST_ONCE, 60, "≤ 60 ms"),
        judge.at_most("mixed", "wait", AT_LEAST_ONCE, LONGEST_WAIT_MS, "≤ 4·H and a round trip"),
        *judge.flat(),
    ]
    return [each for each in found if each is not None]


def _ours() -> tuple[str, str]:
    return AT_LEAST_ONCE, AT_MOST_ONCE


def _pairs() -> Iterator[tuple[str, str]]:
    return ((metric, name) for metric in ("p50", "p99") for name in _ours())


class _Judge:
    """Each method is None where the run lacks what it takes."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def times_peer(self, measure: str, metric: str, name: str, times: float) -> GoalCheck | None:
        ours = self._results.median(measure, name, metric)
        best = self._results.best(measure, metric, PEERS, most=True)
        if ours is None or best is None:
            return None
        ratio = ours / best[1]
        return GoalCheck(
            measure,
            f"{name}: {metric} ≥ {times:g} times the best peer",
            f"{ratio:.2f} times {best[0]}",
            ratio >= times,
        )

    def share_of_floor(self, measure: str, percent: float) -> GoalCheck | None:
        ours = self._results.median(measure, AT_LEAST_ONCE, "rate")
        floor = self._results.median(measure, FLOOR, "rate")
        if ours is None or floor is None:
            return None
        share = 100 * ours / floor
        goal = f"{AT_LEAST_ONCE}: rate ≥ {percent:g} % of the floor"
        return GoalCheck(measure, goal, f"{share:.0f} %", share >= percent)

    def at_least(
        self, measure: str, metric: str, name: str, bound: float, goal: str
    ) -> GoalCheck | None:
        ours = self._results.median(measure, name, metric)
        if ours is None:
            return None
        return GoalCheck(measure, f"{name}: {metric} ≥ {goal}", f"{ours:,.0f}", ours >= bound)

    def at_most(
        self, measure: str, metric: str, name: str, bound: float, goal: str
    ) -> GoalCheck | None:
        ours = self._results.summary(measure, name, metric)
        if ours is None:
            return None
        # What must never happen must not happen in any repeat.
        value = ours.high if bound == 0 else ours.median
        return GoalCheck(measure, f"{name}: {metric} {goal}", f"{value:.2f}", value <= bound)

    def no_later(self, measure: str, metric: str, name: str) -> GoalCheck | None:
        ours = self._results.median(measure, name, metric)
        best = self._results.best(measure, metric, PEERS, most=False)
        if ours is None or best is None:
            return None
        return GoalCheck(
            measure,
            f"{name}: {metric} ≤ the best peer",
            f"{ours:.2f} ms, {best[0]} {best[1]:.2f} ms",
            ours <= best[1],
        )

    def due(self, metric: str, bound: float, name: str) -> GoalCheck | None:
        ours = self._results.median("future", name, metric)
        if ours is None:
            return None
        # A peer that starts jobs early does not set the mark.
        punctual = [p for p in PEERS if self._results.median("future", p, "early") == 0]
        best = self._results.best("future", metric, punctual, most=False)
        limit = max(bound, best[1]) if best else bound
        beside = f", {best[0]} {best[1]:.2f} ms" if best else ""
        goal = f"{name}: {metric} ≤ {bound:g} ms, or the best peer's"
        return GoalCheck("future", goal, f"{ours:.2f} ms{beside}", ours <= limit)

    def at_most_peer(self, measure: str, metric: str, above: float) -> GoalCheck | None:
        ours = self._results.median(measure, AT_LEAST_ONCE, metric)
        best = self._results.best(measure, metric, PEERS, most=False)
        if ours is None or best is None:
            return None
        extra = f" + {above:g}" if above else ""
        return GoalCheck(
            measure,
            f"{AT_LEAST_ONCE}: {metric} ≤ the best peer{extra}",
            f"{ours:.1f}, {best[0]} {best[1]:.1f}",
            ours <= best[1] + above,
        )

    def flat(self) -> Iterator[GoalCheck]:
        """A job costs the server no more beside many others than beside a thousand."""
        base = self._results.median("growth", AT_LEAST_ONCE, "server 1e3")
        for size in [*list(WAITING)[1:], "future", "held"]:
            cost = self._results.median("growth", AT_LEAST_ONCE, f"server {size}")
            if base is None or cost is None:
                continue
            more = 100 * (cost / base - 1)
            goal = f"{AT_LEAST_ONCE}: a job beside {size} costs the server ≤ 15 % more"
            yield GoalCheck("growth", goal, f"{more:+.0f} %", more <= 15)
