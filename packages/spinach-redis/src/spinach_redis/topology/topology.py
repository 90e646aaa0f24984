"""Which server holds a queue.

Everything that sends asks a topology where to; nothing else differs between one server,
a server that Sentinels name, and a Cluster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from spinach_redis.client.lockout import Admission
from spinach_redis.topology.node import Node

if TYPE_CHECKING:
    from spinach_redis.client.deadline import Deadline
    from spinach_redis.client.health import Health
    from spinach_redis.topology.settings import ConnectionSettings

__all__ = ["SingleServer", "Topology"]


class Topology(ABC):
    """Maps keys to nodes; thread safe, and made anew in each process."""

    #: Whether one script may take the keys of several queues.
    joint: bool
    #: The node that serves every key and redirects nobody; None: there are several.
    only: Node | None = None
    #: Nobody stands in for the server when it is down.
    alone: bool = False
    #: For what concerns no node in particular.
    health: Health

    def __init__(self) -> None:
        #: Whether this process is let in.
        self.admission = Admission()

    @abstractmethod
    def node_of(self, key: bytes, deadline: Deadline | None = None) -> Node:
        """The node that serves a key.

        Args:
            key: of a queue.
            deadline: of the call that asks, where it has one.

        Raises:
            RedisError, OSError: nobody knows; as redis-py has it.
        """

    @abstractmethod
    def redirected(self, error: Exception, asked: Node) -> tuple[Node, bool] | None:
        """Where the answer of a node sends the caller, and whether only for this time.

        A redirection for good is remembered. None: the answer is no redirection.
        """

    @abstractmethod
    def doubt(self) -> None:
        """Something went wrong that another map may mend."""

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
        super().__init__()
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
