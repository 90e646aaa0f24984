"""Which server holds a queue.

The client asks a topology where to send a call. Nothing else differs between one server, a
server that Sentinels name, and a Cluster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from spinach_redis.transport.health import MOST_REST_SECONDS, Health

if TYPE_CHECKING:
    from spinach_redis.transport.deadline import Deadline
    from spinach_redis.transport.settings import ConnectionSettings

__all__ = ["Node", "SingleServer", "Topology"]


class Node:
    """One server, as this process knows it; compared by identity.

    Args:
        settings: how to connect.
        most_rest_seconds: how long it is left alone at most when it hangs.
    """

    __slots__ = ("__weakref__", "examined", "health", "settings")

    def __init__(
        self, settings: ConnectionSettings, most_rest_seconds: float = MOST_REST_SECONDS
    ) -> None:
        self.settings = settings
        #: What the last calls learned.
        self.health = Health(settings.address, most_rest_seconds)
        #: It was found to be usable.
        self.examined = False

    def __repr__(self) -> str:
        return f"<Node {self.settings.address}>"


class Topology(ABC):
    """Maps keys to nodes; thread safe, and made anew in each process."""

    #: Whether one script may take the keys of several queues.
    joint: bool
    #: The node that serves every key, and redirects no call; None: there are several.
    only: Node | None = None
    #: No other server takes over when the only one is down.
    alone: bool = False
    #: For what concerns no node in particular.
    health: Health

    @abstractmethod
    def node_of(self, key: bytes, deadline: Deadline | None = None) -> Node:
        """The node that serves a key.

        Args:
            key: of a queue.
            deadline: of the call that asks, where it has one.

        Raises:
            RedisError, OSError: no node is known to serve it; as redis-py has it.
        """

    @abstractmethod
    def redirected(self, error: Exception, asked: Node) -> tuple[Node, bool] | None:
        """Where the answer of a node sends the caller, and whether only for this time.

        A redirection for good is remembered. None: the answer is no redirection.
        """

    @abstractmethod
    def doubt(self) -> None:
        """A call failed in a way that a newer map may mend."""

    def part(self) -> bool:
        """The server refused keys of several queues: from now on one queue a call.

        Returns:
            Whether that is a change.
        """
        before, self.joint = self.joint, False
        return before


class SingleServer(Topology):
    """One server holds everything.

    Args:
        settings: how to connect to it.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self.joint = True
        self.alone = settings.alone
        self.only = self._node = Node(settings)
        self.health = self._node.health

    def node_of(self, key: bytes, deadline: Deadline | None = None) -> Node:  # noqa: ARG002 - there is but one
        """See `Topology`."""
        return self._node

    def redirected(self, error: Exception, asked: Node) -> tuple[Node, bool] | None:  # noqa: ARG002 - see below
        """See `Topology`. A redirection is an error here: the server is of a Cluster."""
        return None

    def doubt(self) -> None:
        """See `Topology`; there is no map."""
