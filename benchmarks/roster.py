"""The contestants: what each of them needs, and how many jobs it gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AT_LEAST_ONCE", "AT_MOST_ONCE", "FLOOR", "ROSTER", "Contestant", "before"]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One line of the tables.

    Args:
        name: in tables and plots.
        adapter: its module in `benchmarks.contestants`.
        imports: the module that its users import.
        requirements: what its environment holds; the newest releases.
        options: for its adapter.
        kind: "floor", "spinach", "peer", or "before" for an earlier Spinach.
        drained: jobs of the drain measure; fewer for those that would take minutes. The
            rate does not depend on it.
        distant: jobs drained at a round trip of 10 ms.
        batch: jobs of a batch.
        twin: a second variant of a contestant, which measures that take minutes leave out.
    """

    name: str
    adapter: str
    imports: str
    requirements: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = "peer"
    drained: int = 20_000
    distant: int = 1_000
    batch: int = 10_000
    twin: bool = False

    @property
    def environment(self) -> str:
        """Name of its environment; variants of one library share it."""
        if self.kind == "peer":
            return self.adapter
        return {"floor": "redis", "spinach": "spinach", "before": "before"}[self.kind]

    def several(self, most: int) -> int:
        """Jobs of a measure that drains several times; a peer has as few as take it a second."""
        return self.drained // 8 if self.kind == "peer" else most


FLOOR = "floor, prefetch 1000"
AT_LEAST_ONCE = "Spinach, at least once"
AT_MOST_ONCE = "Spinach, at most once"


def _floor(prefetch: int) -> Contestant:
    return Contestant(
        name=f"floor, prefetch {prefetch}",
        adapter="floor",
        imports="redis",
        requirements=("redis",),
        options={"prefetch": prefetch},
        kind="floor",
        distant=20_000,
    )


def _spinach(
    name: str, retries: int, distant: int, checkout: str = ".", kind: str = "spinach"
) -> Contestant:
    return Contestant(
        name=name,
        adapter="spinach",
        imports="spinach",
        requirements=tuple(f"-e {checkout}/packages/spinach-{part}" for part in ("core", "redis")),
        options={"retries": retries},
        kind=kind,
        distant=distant,
        twin=not retries,
    )


def before(checkout: Path) -> tuple[Contestant, ...]:
    """An earlier Spinach, to see what a change brought.

    Args:
        checkout: another working tree of this repository, at the earlier commit.
    """
    folder = str(checkout.resolve())
    return (
        _spinach("before, at least once", 3, 20_000, folder, "before"),
        _spinach("before, at most once", 0, 2_000, folder, "before"),
    )


#: All contestants, in the order of the tables.
ROSTER = (
    _floor(1000),
    _floor(500),
    _floor(100),
    _spinach(AT_LEAST_ONCE, 3, 20_000),
    _spinach(AT_MOST_ONCE, 0, 2_000),
    Contestant(
        name="Dramatiq",
        adapter="dramatiq",
        imports="dramatiq",
        requirements=("dramatiq[redis]",),
        distant=2_000,
    ),
    Contestant(
        name="Celery, threads",
        adapter="celery",
        imports="celery",
        requirements=("celery[redis]",),
        options={"pool": "threads"},
        drained=4_000,
        distant=200,
        batch=1_000,
    ),
    Contestant(
        name="Celery, prefork",
        adapter="celery",
        imports="celery",
        requirements=("celery[redis]",),
        options={"pool": "prefork"},
        drained=4_000,
        distant=200,
        batch=1_000,
        twin=True,
    ),
    Contestant(
        name="RQ",
        adapter="rq",
        imports="rq",
        requirements=("rq",),
        options={"fork": True},
        drained=1_000,
        distant=200,
        twin=True,
    ),
    Contestant(
        name="RQ, SimpleWorker",
        adapter="rq",
        imports="rq",
        requirements=("rq",),
        options={"fork": False},
        drained=4_000,
        distant=200,
    ),
    Contestant(name="Huey", adapter="huey", imports="huey", requirements=("huey", "redis")),
    Contestant(
        name="Taskiq",
        adapter="taskiq",
        imports="taskiq",
        requirements=("taskiq", "taskiq-redis"),
        options={"scheduler": True},
        distant=2_000,
    ),
    Contestant(
        name="SAQ",
        adapter="saq",
        imports="saq",
        # It imports typing_extensions on every Python, but asks for it on some only.
        requirements=("saq[redis]", "typing_extensions"),
    ),
    Contestant(
        name="arq",
        adapter="arq",
        imports="arq",
        requirements=("arq",),
        drained=2_000,
        distant=200,
    ),
    Contestant(name="streaQ", adapter="streaq", imports="streaq", requirements=("streaq",)),
)
