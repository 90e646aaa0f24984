"""A Cluster, made by commands alone."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis.cluster import ClusterNode, RedisCluster
from redis.connection import Connection
from redis.crc import key_slot

from .servers import running_servers, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from .servers import Server

__all__ = ["SLOTS", "Cluster", "running_cluster"]

SLOTS = 16384

#: After this time without an answer a node is held for dead, in ms.
NODE_TIMEOUT_MS = 1000


@dataclass
class Cluster:
    """Nodes that share the slots, and their replicas."""

    nodes: list[Server]
    #: Of the node at the same place; empty without replicas.
    replicas: list[Server] = field(default_factory=list)

    @property
    def servers(self) -> list[Server]:
        """All of them."""
        return [*self.nodes, *self.replicas]

    @property
    def url(self) -> str:
        """Of one node, from which a client learns the others."""
        return self.nodes[0].url

    def client(self, **options: Any) -> RedisCluster:
        """What a user passes to a broker."""
        nodes = [ClusterNode("127.0.0.1", node.port) for node in self.servers if node.running]
        return RedisCluster(startup_nodes=nodes, **options)

    def owner(self, key: bytes | str) -> Server:
        """The node that serves a key now."""
        slot = key_slot(key.encode() if isinstance(key, str) else key)
        return self._by_port(slot_owner_port(self._any, slot))

    def _by_port(self, port: int) -> Server:
        return next(server for server in self.servers if server.port == port)

    @property
    def _any(self) -> Server:
        return next(server for server in self.servers if server.running)

    def queue_on(self, node: Server, namespace: str, *, but: tuple[str, ...] = ()) -> str:
        """The name of a queue whose keys live on a node."""
        for number in range(10_000):
            name = f"queue{number}"
            if name not in but and self.owner(f"{{{namespace}/{name}}}") is node:
                return name
        raise AssertionError("no queue lives on that node")

    # -- migration of a slot, in the steps that an operator's tool takes --------

    def begin_migration(self, slot: int, source: Server, target: Server) -> None:
        """From now on what `source` does not have it sends to `target` with ASK."""
        with source.client() as one, target.client() as other:
            other.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(one))
            one.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(other))

    def move_keys(self, slot: int, source: Server, target: Server, count: int = 10_000) -> int:
        """Move some keys of the slot; how many."""
        with source.client() as one:
            names = one.execute_command("CLUSTER", "GETKEYSINSLOT", slot, count)
            if names:
                one.execute_command(
                    "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names
                )
        return len(names)

    def end_migration(self, slot: int, source: Server, target: Server) -> None:
        """The slot is the target's."""
        with target.client() as other:
            new = node_id(other)
        for server in (target, source, *self.servers):
            if server.running:
                with server.client() as client, contextlib.suppress(Exception):
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new)

    def migrate(self, slot: int, target: Server) -> None:
        """All steps."""
        source = self._by_port(slot_owner_port(self._any, slot))
        self.begin_migration(slot, source, target)
        while self.move_keys(slot, source, target):
            pass
        self.end_migration(slot, source, target)

    def wait_for_takeover(self, dead: Server, seconds: float = 30.0) -> Server:
        """Wait until the replica of a dead node serves in its place."""
        replica = self.replicas[self.nodes.index(dead)]
        with replica.client() as client:
            until(
                lambda: client.info("replication")["role"] == "master" and is_ok(client),
                "takeover",
                seconds,
            )
        return replica


def node_id(client: Redis) -> str:
    """What the Cluster calls a node."""
    answer = client.execute_command("CLUSTER", "MYID")
    return answer.decode() if isinstance(answer, bytes) else str(answer)


def facts_of(client: Redis) -> dict[str, str]:
    """CLUSTER INFO, whatever this release of redis-py makes of it."""
    answer = client.execute_command("CLUSTER INFO")
    if isinstance(answer, dict):
        return {str(name): str(value) for name, value in answer.items()}
    lines = answer.decode() if isinstance(answer, bytes) else answer
    return dict(line.split(":", 1) for line in lines.split())


def is_ok(client: Redis) -> bool:
    """Whether a node holds the Cluster for usable."""
    return facts_of(client)["cluster_state"] == "ok"


def slot_owner_port(server: Server, slot: int) -> int:
    """The port of the node that serves a slot, as one of them has it."""
    # A bare connection: releases of redis-py differ in what they make of this answer.
    connection = Connection(host="127.0.0.1", port=server.port)
    try:
        connection.connect()
        connection.send_command("CLUSTER", "SLOTS")
        for first, last, owner, *_ in connection.read_response():
            if first <= slot <= last:
                return int(owner[1])
    finally:
        connection.disconnect()
    raise AssertionError(f"nobody serves slot {slot}")


@contextlib.contextmanager
def running_cluster(
    nodes: int = 3, *options: str, replicas: bool = False, full_coverage: bool = False
) -> Iterator[Cluster]:
    """A Cluster that is ready, for the block.

    Args:
        nodes: that share the slots evenly.
        options: for each server's command line.
        replicas: whether each node has one.
        full_coverage: whether all nodes refuse to serve while one slot has no node.

    Raises:
        NoServer: no binary.
    """
    settings = (
        *("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
        *("--cluster-require-full-coverage", "yes" if full_coverage else "no"),
        *("--repl-diskless-sync-delay", "0", "--repl-timeout", "5"),
        *("--cluster-replica-validity-factor", "0"),
    )
    with running_servers(nodes * (2 if replicas else 1), *settings, *options) as servers:
        cluster = Cluster(servers[:nodes], servers[nodes:])
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for server in servers]
            _assemble(clients, [server.port for server in servers], nodes)
        yield cluster


def _assemble(clients: list[Redis], ports: list[int], nodes: int) -> None:
    for number, client in enumerate(clients):
        # Else two nodes may begin with one epoch, and the Cluster takes a while to settle.
        client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        if number < nodes:
            share = range(SLOTS * number // nodes, SLOTS * (number + 1) // nodes)
            client.execute_command("CLUSTER", "ADDSLOTS", *share)
        if number:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])
    for client in clients:
        until(
            lambda c=client: int(facts_of(c)["cluster_known_nodes"]) == len(clients),
            "nodes know each other",
        )
    for number, client in enumerate(clients[nodes:]):
        owner = node_id(clients[number])
        until(
            lambda c=client, o=owner: c.execute_command("CLUSTER", "REPLICATE", o),
            "replica knows its node",
        )
        until(
            lambda c=client: c.info("replication").get("master_link_status") == "up",
            "replica follows its node",
        )
    for client in clients:
        until(lambda c=client: is_ok(c), "Cluster is ready")
