"""Runs measures: in each repeat all contestants take turns, so that all see the same machine."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import time
from typing import TYPE_CHECKING

from .results import Results
from .stage import TimeIsUp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .measures import Measure
    from .roster import Contestant
    from .stage import Stage

__all__ = ["run"]


def run(
    stage: Stage,
    measures: Sequence[Measure],
    contestants: Sequence[Contestant],
    repeats: int,
    say: Callable[[str], None],
    keep: Callable[[Results], None],
    earlier: Results | None = None,
) -> Results:
    """Measure all. A contestant that fails is noted, and the rest goes on.

    Contestants take turns within a measure, so that its values compare; measures do not
    depend on each other, and may be taken in several sittings on one machine.

    Args:
        stage: where.
        measures: in this order.
        contestants: in this order within each repeat.
        repeats: of each measure.
        say: is told what goes on.
        keep: is given what there is after each measure.
        earlier: of a run that is to be continued: measures that it has are left out.
    """
    results = earlier or Results(setting=_setting(stage))
    for contestant in contestants:
        results.cards[contestant.name] = stage.card(contestant)
    for measure in measures:
        if measure.name in results.values:
            say(f"{measure.name}: already measured")
            continue
        taking = [contestant for contestant in contestants if measure.takes(contestant)]
        for repeat in range(repeats):
            for contestant in taking:
                begin = time.monotonic()
                values = _once(stage, measure, contestant, results)
                shown = "  ".join(f"{name} {value:,.5g}" for name, value in values.items())
                seconds = time.monotonic() - begin
                say(f"{measure.name} {repeat + 1}: {contestant.name:24} {seconds:5.1f} s  {shown}")
        results.setting["load at the end"] = os.getloadavg()[0]
        keep(results)
    return results


def _once(
    stage: Stage, measure: Measure, contestant: Contestant, results: Results
) -> dict[str, float]:
    stage.server.clear()
    try:
        values = measure.run(stage, contestant)
        _require_known(measure, values)
    except (TimeIsUp, RuntimeError, subprocess.SubprocessError) as exc:
        trouble: object = exc
        if isinstance(exc, subprocess.CalledProcessError):
            # What it said stands above; its command line names this machine.
            trouble = f"the adapter ended with {exc.returncode}"
        told = f"{measure.name}, {contestant.name}: {trouble}"
        if told not in results.troubles:
            results.troubles.append(told)
        return {}
    except Exception as exc:
        exc.add_note(f"while measuring {measure.name!r} of {contestant.name!r}")
        raise
    results.add(measure.name, contestant.name, values)
    return values


def _require_known(measure: Measure, values: dict[str, float]) -> None:
    # The tables show what `metrics` names, and would silently leave out anything else.
    unknown = values.keys() - measure.metrics.keys()
    if unknown:
        raise ValueError(
            f"{type(measure).__name__}.run returned {sorted(unknown)}, expected metrics that the "
            f"class names: {list(measure.metrics)}. Add what is missing to its `metrics`."
        )


def _setting(stage: Stage) -> dict[str, object]:
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "server": stage.server.version(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load at the start": os.getloadavg()[0],
    }
