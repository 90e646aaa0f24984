"""The map of a Redis Cluster, and how it is kept up to date.

It is read with CLUSTER SLOTS when it is first needed, and when it may be out of date: after a
redirection, a lost connection, CLUSTERDOWN. There is half a second at least between two readings.
Meanwhile the calls of that queue fail and are made again, as after any failure that passes.
"""

from __future__ import annotations

import contextlib
import random
import threading
from typing import TYPE_CHECKING, Any, Final

from redis.crc import key_slot
from redis.exceptions import ClusterDownError, RedisError

from spinach.support.realtime import time
from spinach_redis.topology.topology import Node, Topology
from spinach_redis.transport.command import Command
from spinach_redis.transport.connection import Connection
from spinach_redis.transport.errors import redirection_of
from spinach_redis.transport.health import MOST_REST_OF_NODE_SECONDS, Health

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spinach_redis.transport.deadline import Deadline
    from spinach_redis.transport.settings import Address, ClusterSettings

__all__ = ["Cluster"]

_SLOTS: Final = 16384

#: Least time between two readings of the map, in seconds.
READ_EVERY_SECONDS: Final = 0.5

#: How long one node may take to answer, and all that are asked together, in seconds.
READ_TIMEOUT_SECONDS: Final = 2.0
READ_DEADLINE_SECONDS: Final = 5.0


class Cluster(Topology):
    """Slots and the nodes that serve them.

    Args:
        settings: how to connect to its nodes, and some of their addresses.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self.joint = False
        self.health = Health(settings.address)
        self._settings = settings
        # Guards nodes and owners. The map is read outside. A thread may take this lock and the
        # next one twice, as a call that is nested in another one does: what they guard makes
        # sense after each step.
        self._lock = threading.RLock()
        self._nodes: dict[Address, Node] = {}
        self._owners: list[Node | None] = [None] * _SLOTS
        # Where the map can be read: every node that was seen last, replicas too.
        self._sources: list[Address] = list(settings.startup)
        self._stale = True
        # One thread reads, the others go on with what they have.
        self._reading = threading.RLock()
        self._read_at = float("-inf")

    def node_of(self, key: bytes, deadline: Deadline | None = None) -> Node:
        """See `Topology`. May read the map first."""
        slot = key_slot(key)
        node = self._owners[slot]
        if self._stale or node is None:
            error = self._read(wait=node is None, deadline=deadline)
            node = self._owners[slot]
            if node is None:
                raise error or ClusterDownError(f"CLUSTERDOWN no node serves slot {slot}")
        return node

    def redirected(self, error: Exception, asked: Node) -> tuple[Node, bool] | None:
        """See `Topology`."""
        redirection = redirection_of(error)
        if redirection is None:
            return None
        kind, slot, host, port = redirection
        with self._lock:
            # Without a name it is the one that the node was reached by.
            node = self._node((host or asked.settings.host, port))
            if kind == "MOVED":
                self._owners[slot] = node
                self._stale = True
        return node, kind == "ASK"

    def doubt(self) -> None:
        """See `Topology`."""
        self._stale = True

    def _node(self, address: Address) -> Node:
        address = self._settings.reachable(address)
        node = self._nodes.get(address)
        if node is None:
            settings = self._settings.at(address)
            node = self._nodes[address] = Node(settings, MOST_REST_OF_NODE_SECONDS)
        return node

    # -- reading the map ---------------------------------------------------

    def _read(self, *, wait: bool, deadline: Deadline | None) -> Exception | None:
        """Read the map, unless another thread does or it was just read; what failed."""
        most = READ_DEADLINE_SECONDS
        if deadline is not None:
            most = max(0.0, min(most, deadline.left()))
        if not self._reading.acquire(timeout=most if wait else 0.0):
            return None
        try:
            now = time.monotonic()
            if not self._stale or now - self._read_at < READ_EVERY_SECONDS:
                return None
            try:
                return self._read_from_anyone(now + READ_DEADLINE_SECONDS, deadline)
            finally:
                self._read_at = time.monotonic()
        finally:
            self._reading.release()

    def _read_from_anyone(self, end: float, deadline: Deadline | None) -> Exception | None:
        failure: Exception | None = None
        sources = list(self._sources)
        random.shuffle(sources)
        sources.sort(key=self._rests)
        # The names that the user gave may have come to stand for other nodes.
        sources += [each for each in self._settings.startup if each not in sources]
        for address in sources:
            try:
                self._adopt(self._ask(address, deadline), address)
            except (RedisError, OSError) as error:
                failure = error
            else:
                return None
            if time.monotonic() >= end or (deadline is not None and deadline.left() <= 0):
                break
        return failure

    def _rests(self, address: Address) -> bool:
        """Whether the node of that address is to be left alone."""
        node = self._nodes.get(address)
        return node is not None and node.health.rest_until > time.monotonic()

    def _ask(self, address: Address, deadline: Deadline | None) -> list[Any]:
        settings = self._settings.at(address)
        connection = Connection(settings, Health(settings.address), READ_TIMEOUT_SECONDS)
        with contextlib.closing(connection):
            # A node that hangs leaves time to ask another one.
            connection.open(deadline=None if deadline is None else deadline.share(2))
            connection.send([Command(b"CLUSTER", b"SLOTS")])
            [answer] = connection.receive()
        if answer.cause is not None:
            raise answer.cause
        if not answer.reply:
            # A node that was just forgotten by the others, for example.
            raise ClusterDownError("CLUSTERDOWN the node knows of no slots")
        return list(answer.reply)

    def _adopt(self, entries: list[Any], source: Address) -> None:
        """Take over an answer: first slot, last slot, its primary, its replicas, each."""
        owners: list[Node | None] = [None] * _SLOTS
        seen: dict[Address, None] = {}
        with self._lock:
            for first, last, *servers in entries:
                addresses = list(_addresses(servers, source))
                seen.update(dict.fromkeys(addresses))
                if addresses:
                    owners[first : last + 1] = [self._node(addresses[0])] * (last + 1 - first)
            self._owners = owners
            self._sources = [self._settings.reachable(address) for address in seen]
            served = set(filter(None, owners))
            self._nodes = {a: node for a, node in self._nodes.items() if node in served}
            self._stale = False


def _addresses(servers: Iterable[Any], source: Address) -> Iterable[Address]:
    for host, port, *_ in servers:
        # Nothing or "" stands for the node that was asked, "?" for an unknown name.
        name = host.decode() if host else source[0]
        if name != "?":
            yield name, int(port)
