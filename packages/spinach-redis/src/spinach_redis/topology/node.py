"""A server, as one process knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinach_redis.client.health import MOST_REST_SECONDS, Health

if TYPE_CHECKING:
    from spinach_redis.topology.settings import ConnectionSettings

__all__ = ["Node"]


class Node:
    """One server that is connected to; compared by identity.

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
