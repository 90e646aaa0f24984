"""A server whose address Sentinels know, and know anew after a failover."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from redis.connection import Connection, SSLConnection
from redis.sentinel import Sentinel

from spinach.exc import InvalidArgument
from spinach_redis.transport.deadline import LEAST_WAIT_SECONDS
from spinach_redis.transport.settings import ConnectionSettings

if TYPE_CHECKING:
    from redis.sentinel import SentinelConnectionPool

    from spinach_redis.transport.deadline import Deadline

__all__ = ["SentinelSettings"]

#: How long one Sentinel may take to answer, in seconds.
ANSWER_TIMEOUT_SECONDS: Final = 1.0


class SentinelSettings(ConnectionSettings):
    """Every connection that is opened asks for the primary's address first.

    Args:
        pool: of a client made by `Sentinel.master_for`.

    Raises:
        InvalidArgument: a client of replicas, or settings that cannot be used.
    """

    #: See `ConnectionSettings`. Sentinels name another one.
    alone = False

    def __init__(self, pool: SentinelConnectionPool) -> None:
        if not pool.is_master:
            raise InvalidArgument(
                "The Redis client comes from Sentinel.slave_for(...), but jobs need the "
                "primary. Pass Sentinel(...).master_for(...)."
            )
        encrypted = issubclass(pool.connection_class, SSLConnection)
        super().__init__(SSLConnection if encrypted else Connection, pool.connection_kwargs)
        manager = pool.sentinel_manager
        self._service: str = pool.service_name
        self._others: int = manager.min_other_sentinels
        #: Set in newer releases of redis-py.
        self._primary_ip: str | None = getattr(manager, "_force_master_ip", None)
        # Copies: the user's own clients may wait for ever.
        self._sentinels = [
            ConnectionSettings(pool.connection_class, pool.connection_kwargs)
            for pool in (sentinel.connection_pool for sentinel in manager.sentinels)
        ]

    def connection(self, timeout_seconds: float, deadline: Deadline | None = None) -> Any:
        """See `ConnectionSettings`; asks the Sentinels."""
        return self.at(self._primary(deadline)).connection(timeout_seconds, deadline)

    def _primary(self, deadline: Deadline | None) -> tuple[str, int]:
        seconds, ends = ANSWER_TIMEOUT_SECONDS, deadline
        if deadline is not None:
            # Those that hang take half of the time together, and leave the rest for the server.
            share = deadline.left() / 2 / len(self._sentinels)
            seconds, ends = max(LEAST_WAIT_SECONDS, min(seconds, share)), deadline.share(2)
        with contextlib.ExitStack() as stack:
            # One a question: redis-py sorts the list while it asks, without a lock.
            asked: Any = Sentinel([], min_other_sentinels=self._others)  # type: ignore[no-untyped-call] # redis-py has no types there
            for each in self._sentinels:
                client = each.client(seconds, ends)
                stack.callback(client.close)
                stack.callback(client.connection_pool.disconnect)
                asked.sentinels.append(client)
            host, port = asked.discover_master(self._service)
        return str(self._primary_ip or host), int(port)

    @property
    def host(self) -> str:
        """See `ConnectionSettings`."""
        return self._service

    @property
    def address(self) -> str:
        """See `ConnectionSettings`; the name that the Sentinels give."""
        sentinels = ", ".join(each.address for each in self._sentinels)
        return f"{self._service} (Sentinels at {sentinels})"
