"""How to connect: what a client of the user says, with what Spinach decides itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis import Redis
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.exceptions import RedisError

from spinach.const import BLOCK_SECONDS
from spinach.exc import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CALL_TIMEOUT_SECONDS", "ConnectionSettings"]

#: How long a call waits for its answer, in seconds.
CALL_TIMEOUT_SECONDS: Final = 5.0

#: How long opening a connection may take, in seconds.
CONNECT_TIMEOUT_SECONDS: Final = 2.0

#: Settings of a pool, not of a connection, and the library's own retries, which would
#: resend what must not be resent blindly.
_DROPPED: Final = frozenset(
    {
        "cache",
        "cache_config",
        "health_check_interval",
        "maint_notifications_config",
        "maint_notifications_pool_handler",
        "max_connections",
        "oss_cluster_maint_notifications_handler",
        "retry",
        "retry_on_error",
        "retry_on_timeout",
        "socket_timeout",  # each connection gets one for its purpose
        "timeout",
    }
)


class ConnectionSettings:
    """What every connection of a broker is made with. Opens none by itself.

    Args:
        connection_class: of redis-py, as in the user's pool.
        options: keyword arguments for it, as in the user's pool.

    Raises:
        InvalidArgument: settings that Spinach cannot work with.
    """

    def __init__(self, connection_class: type[Any], options: Mapping[str, Any]) -> None:
        if options.get("decode_responses"):
            raise InvalidArgument(
                "The Redis client has decode_responses=True, but jobs are bytes. "
                "Create a client for Spinach without it."
            )
        timeout = options.get("socket_timeout")
        if timeout is not None and float(timeout) < BLOCK_SECONDS:
            raise InvalidArgument(
                f"The Redis client has socket_timeout={timeout}, but workers wait for jobs "
                f"up to {BLOCK_SECONDS:g} s. Leave it out: Spinach sets its own timeouts."
            )
        self._connection_class = connection_class
        self._options = {
            **{name: value for name, value in options.items() if name not in _DROPPED},
            "decode_responses": False,
            "protocol": 2,
            "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        }
        if issubclass(connection_class, UnixDomainSocketConnection):
            # Knows no such option in older releases of redis-py.
            del self._options["socket_connect_timeout"]
        try:
            self.connection(CALL_TIMEOUT_SECONDS)
        except (TypeError, ValueError, RedisError) as exc:
            raise InvalidArgument(f"The settings of the Redis client are unusable: {exc}.") from exc

    @classmethod
    def of_client(cls, client: object) -> ConnectionSettings:
        """The settings of a client; None is a server on this machine.

        Raises:
            InvalidArgument: not a `redis.Redis`, or settings that cannot be used.
        """
        if client is None:
            client = Redis()
        if not isinstance(client, Redis):
            raise InvalidArgument(
                f"redis is {type(client).__module__}.{type(client).__qualname__}, expected a "
                "redis.Redis. Pass redis.Redis(host=...), or use RedisBroker.from_url(...)."
            )
        pool = client.connection_pool
        return cls(pool.connection_class, pool.connection_kwargs)

    @classmethod
    def of_url(cls, url: str) -> ConnectionSettings:
        """The settings in a URL.

        Raises:
            InvalidArgument: not a URL of a Redis server.
        """
        expected = "expected redis://, rediss:// or unix://, such as redis://localhost:6379/0"
        if not isinstance(url, str):
            raise InvalidArgument(f"The Redis URL is {url!r}, {expected}.")
        # The URL may hold a password and is not shown.
        scheme, found, rest = url.partition("://")
        if not found or scheme not in ("redis", "rediss", "unix"):
            shown = repr(scheme) if found else "missing"
            raise InvalidArgument(f"The scheme of the Redis URL is {shown}, {expected}.")
        if scheme != "unix":
            database = rest.partition("?")[0].rpartition("@")[2].partition("/")[2].strip("/")
            if database and not database.isdecimal():
                raise InvalidArgument(
                    f"The Redis URL names the database {database!r}, but databases have numbers."
                )
        elif not rest.partition("?")[0].rpartition("@")[2].startswith("/"):
            raise InvalidArgument("The Redis URL has no absolute path: unix:///path/to/socket.")
        try:
            options = dict(parse_url(url))  # type: ignore[no-untyped-call] # redis-py has no types there
        except ValueError as exc:
            raise InvalidArgument(f"The Redis URL cannot be read: {exc}") from None
        default = SSLConnection if scheme == "rediss" else Connection
        return cls(options.pop("connection_class", default), options)

    def connection(self, timeout_seconds: float) -> Any:
        """A new connection of redis-py, not opened yet."""
        return self._connection_class(**self._options, socket_timeout=timeout_seconds)

    @property
    def address(self) -> str:
        """Where the server is, for messages; never with a password."""
        path = self._options.get("path")
        if path is not None:
            return str(path)
        host = self._options.get("host", "localhost")
        return f"{host}:{self._options.get('port', 6379)}"
