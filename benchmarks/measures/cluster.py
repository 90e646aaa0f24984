"""Six queues on a Cluster of one node and of three."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..cluster import even_queues, private_cluster
from .drain import LIMIT_SECONDS, first_start
from .measure import Measure, Metric

if TYPE_CHECKING:
    from ..roster import Contestant
    from ..stage import Stage

__all__ = ["OnCluster"]

#: Nodes of the Clusters.
NODES = (1, 3)

#: Queues, which are what spreads over nodes.
QUEUES = 6

#: Jobs over all queues.
COUNT = 30_000


class OnCluster(Measure):
    """Those that play on a Cluster; one process with ten threads.

    A peer has two slots for each of the queues, since it needs a worker for each.
    """

    name = "cluster"
    title = "Drain six queues on a Cluster of 1 node and of 3"
    metrics: ClassVar[dict[str, Metric]] = {
        key: metric
        for number in NODES
        for key, metric in (
            (f"{number} nodes", Metric("jobs/s")),
            (f"busiest of {number}", Metric("jobs/s that the nodes carry at one core each")),
        )
    }

    def run(self, stage: Stage, contestant: Contestant) -> dict[str, float]:
        """What the nodes could carry follows from the time that they used for a job."""
        values: dict[str, float] = {}
        if not stage.card(contestant)["on_cluster"]:
            return values
        for nodes in NODES:
            queues = even_queues("bench", QUEUES, nodes)
            variant = replace(contestant, options={**contestant.options, "queues": queues})
            with private_cluster(nodes) as cluster:
                inner = stage.on(cluster)
                count = contestant.several(COUNT) // stage.share
                before = cluster.cpu_seconds()
                tasks = [f"noop.{queue}" for queue in queues]
                inner.schedule(variant, [(tasks[n % QUEUES], []) for n in range(count)])
                with inner.worker(variant, 10) as work:
                    end, _ = inner.await_done(variant, [work], LIMIT_SECONDS)
                    used = cluster.cpu_seconds() - before
                    values[f"{nodes} nodes"] = count / (end - first_start([work]))
                # The queues lie evenly, so all nodes are as busy as the busiest one.
                values[f"busiest of {nodes}"] = nodes * count / used
        return values
