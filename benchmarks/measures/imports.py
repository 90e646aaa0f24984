"""How long an import takes, in a new interpreter."""

from __future__ import annotations

import subprocess
import time
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from ..environment import plain_environ
from .measure import Measure, Metric

if TYPE_CHECKING:
    from pathlib import Path

    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["Imports"]

#: Interpreters started for one value, in turns with bare ones.
ROUNDS = 7


class Imports(Measure):
    """The module that users import, beside an interpreter that imports nothing."""

    name = "import"
    title = "Import, beyond bare Python"
    metrics: ClassVar[dict[str, Metric]] = {
        "module": Metric("ms", False, 1),
        "with broker": Metric("ms", False, 1),
        "bare Python": Metric("ms", None, 1),
    }

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Medians; compiled files are there from the first round, which does not count."""
        python = stage.python(contestant)
        statements = {
            "bare Python": "pass",
            "module": f"import {contestant.imports}",
        }
        if contestant.adapter == "spinach":
            statements["with broker"] = "from spinach import Engine, RedisBroker"
        taken: dict[str, list[float]] = {name: [] for name in statements}
        for turn in range(ROUNDS + 1):
            for name, statement in statements.items():
                seconds = _timed(python, statement)
                if turn:
                    taken[name].append(seconds * 1000)
        values = {name: median(each) for name, each in taken.items()}
        bare = values["bare Python"]
        return {name: v if name == "bare Python" else v - bare for name, v in values.items()}


def _timed(python: Path, statement: str) -> float:
    begin = time.perf_counter()
    subprocess.run([str(python), "-c", statement], check=True, env=plain_environ())
    return time.perf_counter() - begin
