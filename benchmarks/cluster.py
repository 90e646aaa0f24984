"""A private Cluster, and queues that lie evenly on its nodes."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.cluster import RedisCluster
from redis.crc import key_slot

from .server import START_SECONDS, PrivateServer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PrivateCluster", "even_queues", "private_cluster"]

#: Hash slots of every Cluster.
SLOTS = 16384


class PrivateCluster:
    """Nodes without replicas on the loopback, each with its share of the slots.

    Args:
        nodes: started with `--cluster-enabled yes`; they do not know each other yet.
    """

    def __init__(self, nodes: list[PrivateServer]) -> None:
        self._nodes = nodes
        self.port = nodes[0].port
        for number, node in enumerate(nodes):
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            first, last = _share(number, len(nodes))
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            if number:
                node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.port)
        deadline = time.monotonic() + START_SECONDS
        while not all(self._is_ready(node) for node in nodes):
            if time.monotonic() > deadline:
                raise RuntimeError("The Cluster did not come together.")
            time.sleep(0.02)
        self._client: Any = RedisCluster.from_url(self.url)

    def _is_ready(self, node: PrivateServer) -> bool:
        facts = node.client.execute_command("CLUSTER INFO")
        known = int(facts["cluster_known_nodes"])
        return known == len(self._nodes) and facts["cluster_state"] == "ok"

    @property
    def url(self) -> str:
        """Of the first node; clients learn of the others from it."""
        return self._nodes[0].url

    def clear(self) -> None:
        """See `Server`."""
        for node in self._nodes:
            node.clear()

    def count(self, commands: list[list[str]]) -> int:
        """See `Server`; each command goes to the node of its first key."""
        return sum(int(self._client.execute_command(*command)) for command in commands)

    def used_bytes(self) -> int:
        """See `Server`."""
        return sum(node.used_bytes() for node in self._nodes)

    def cpu_seconds(self) -> float:
        """See `Server`."""
        return sum(node.cpu_seconds() for node in self._nodes)

    def version(self) -> str:
        """See `Server`."""
        return f"{self._nodes[0].version()}, {len(self._nodes)} nodes"

    def close(self) -> None:
        """Give up the connections of this side."""
        self._client.close()


@contextlib.contextmanager
def private_cluster(nodes: int) -> Iterator[PrivateCluster]:
    """A Cluster for the block, in a directory that goes with it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
        servers = []
        for number in range(nodes):
            options = ("--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{number}")
            servers.append(PrivateServer(Path(folder), *options))
            stack.callback(servers[-1].stop)
        cluster = PrivateCluster(servers)
        stack.callback(cluster.close)
        yield cluster


def even_queues(namespace: str, number: int, nodes: int) -> list[str]:
    """Names of queues of which each node gets as many as the others.

    Args:
        namespace: of the engine; a queue lies where the hash of both says.
        number: of queues, a multiple of the number of nodes.
        nodes: of a Cluster as `private_cluster` makes it.
    """
    wanted = dict.fromkeys(range(nodes), number // nodes)
    names: list[str] = []
    candidate = 0
    while len(names) < number:
        name = f"q{candidate}"
        slot = key_slot(f"{namespace}/{name}".encode())
        node = next(n for n in range(nodes) if slot <= _share(n, nodes)[1])
        if wanted[node]:
            wanted[node] -= 1
            names.append(name)
        candidate += 1
    return names


def _share(number: int, nodes: int) -> tuple[int, int]:
    """First and last slot of a node."""
    return SLOTS * number // nodes, SLOTS * (number + 1) // nodes - 1
