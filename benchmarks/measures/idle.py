"""What a worker costs that has nothing to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from ..proxy import proxied
from .measure import Measure, Metric

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["Idle"]

#: How long the worker is left alone before it counts, in seconds. Spinach sends a script's
#: text to a server that has never seen it, for its first beat after ten.
SETTLE_SECONDS = 12.0

#: How long it is looked at, in seconds.
WATCH_SECONDS = 20.0


class Idle(Measure):
    """Ten threads, no job."""

    name = "idle"
    title = "Idle worker with 10 threads"
    metrics: ClassVar[dict[str, Metric]] = {
        "commands": Metric("commands/s", False, 2),
        "cpu": Metric("ms CPU/s", False, 2),
        "rss": Metric("MiB", False, 1),
        "processes": Metric("processes", None),
    }

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """Commands are counted on the way, since the server also counts those in scripts."""
        with (
            proxied(stage.server.port) as proxy,
            stage.worker(contestant, 10, url=proxy.url) as work,
        ):
            stage.warm_up(contestant, work)
            time.sleep(SETTLE_SECONDS)
            commands, cpu = sum(proxy.counts().values()), work.usage().cpu_seconds
            begin = time.monotonic()
            time.sleep(WATCH_SECONDS / stage.share)
            seconds = time.monotonic() - begin
            usage = work.usage()
            return {
                "commands": (sum(proxy.counts().values()) - commands) / seconds,
                "cpu": 1000 * (usage.cpu_seconds - cpu) / seconds,
                "rss": usage.rss_bytes / 2**20,
                "processes": usage.processes,
            }
