"""How to connect: what a client of the user says, with what Spinach decides itself."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, Final

from redis import Redis
from redis.connection import ConnectionPool, UnixDomainSocketConnection
from redis.exceptions import RedisError

from spinach.exc import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from spinach_redis.transport.deadline import Deadline

__all__ = [
    "CALL_TIMEOUT_SECONDS",
    "Address",
    "ClusterSettings",
    "ConnectionSettings",
    "Settings",
]

#: Host and port.
Address = tuple[str, int]

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
        "connection_pool",
        "health_check_interval",
        "himport_registry",
        "legacy_responses",
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


class _Timed:
    """Mixed into a class of connections: no wait while one is opened passes a deadline.

    redis-py tries each address of a host in turn, each with the whole limit, and then has one
    for each step of the introduction. It asks for the limits when it sets them.
    """

    _deadline: Deadline | None = None
    _connect_seconds: float | None = None
    _answer_seconds: float | None = None

    def __init__(self, *args: Any, deadline: Deadline | None = None, **options: Any) -> None:
        self._deadline = deadline
        super().__init__(*args, **options)
        # Some releases of redis-py put them elsewhere.
        self._connect_seconds = options.get("socket_connect_timeout", CONNECT_TIMEOUT_SECONDS)
        self._answer_seconds = options.get("socket_timeout", CALL_TIMEOUT_SECONDS)

    @property
    def socket_connect_timeout(self) -> float | None:
        return self._limit(self._connect_seconds)

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, seconds: float | None) -> None:
        self._connect_seconds = seconds

    @property
    def socket_timeout(self) -> float | None:
        return self._limit(self._answer_seconds)

    @socket_timeout.setter
    def socket_timeout(self, seconds: float | None) -> None:
        self._answer_seconds = seconds

    def _limit(self, seconds: float | None) -> float | None:
        if self._deadline is None or seconds is None:
            return seconds
        return self._deadline.limit(seconds)


@functools.cache
def _timed(connection_class: Any) -> type[Any]:
    # Made when a client first connects: most processes of workers never need it.
    return type(f"Timed{connection_class.__name__}", (_Timed, connection_class), {})


class ConnectionSettings:
    """What connections to one server are made with. Opens none by itself.

    Args:
        connection_class: of redis-py, as in the user's pool.
        options: keyword arguments for it, as in the user's pool.

    Raises:
        InvalidArgument: settings that Spinach cannot work with.
    """

    #: No other server takes over when this one is down.
    alone = True

    def __init__(self, connection_class: type[Any], options: Mapping[str, Any]) -> None:
        if not isinstance(connection_class, type):
            raise InvalidArgument(
                f"connection_class of the Redis client is {connection_class!r}, expected a class "
                "such as redis.Connection. Write what the function does into a subclass of it."
            )
        self._connection_class = connection_class
        self._options = {
            **{name: value for name, value in options.items() if name not in _DROPPED},
            "decode_responses": False,
            "protocol": 2,
            "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        }
        if issubclass(connection_class, UnixDomainSocketConnection):
            del self._options["socket_connect_timeout"]  # see `connection`
        try:
            sample = self._connection_class(**self._options, socket_timeout=CALL_TIMEOUT_SECONDS)
        except (TypeError, ValueError, RedisError) as exc:
            raise InvalidArgument(f"The settings of the Redis client are unusable: {exc}.") from exc
        #: Commands that tell the server which library this is, for its list of clients. Their
        #: answers are of no use: servers before 7.2 do not know them.
        self.introduction = tuple(
            ("CLIENT", "SETINFO", attribute, value) for attribute, value in _library(sample)
        )

    def check(self) -> None:
        """Refuse what could never connect. Meant for the settings that a user gives: later, a
        file that is missing may be on its way.

        Raises:
            InvalidArgument: a host that cannot be one, or a certificate that is not there.
        """
        self._check_host()
        self._check_files()

    def _check_host(self) -> None:
        host = self._options.get("host")
        if host is None:
            # A unix socket, or the default. The codec is 0.2 MiB of a worker that has no other
            # use for it.
            return
        try:
            str(host).encode("idna")
        except UnicodeError:
            raise InvalidArgument(
                f"The Redis client names the host {host!r}, which cannot be the name of a host: "
                "its parts have 1 to 63 characters. Correct it."
            ) from None

    def _check_files(self) -> None:
        for option in ("ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "ssl_ca_path"):
            path = self._options.get(option)
            if path and not os.path.exists(path):  # noqa: PTH110 - takes whatever ssl takes
                # What is no path may be a key.
                shown = f"{option}={path!r}" if "\n" not in str(path) else f"text as {option}"
                raise InvalidArgument(
                    f"The Redis client has {shown}, but there is no such file. Correct the path."
                )

    def connection(self, timeout_seconds: float, deadline: Deadline | None = None) -> Any:
        """A new connection of redis-py, not opened yet.

        Args:
            timeout_seconds: longest wait for an answer.
            deadline: of opening it; None: there is none.

        Raises:
            RedisError, OSError: no Sentinel tells the server's address; as redis-py has it.
        """
        made_by: Any = self._connection_class
        more = {}
        if deadline is not None:
            made_by, more = _timed(made_by), {"deadline": deadline}
        connection = made_by(**self._options, **more, socket_timeout=timeout_seconds)
        # It would wait for the answer to each part of its introduction.
        connection.driver_info = connection.lib_name = connection.lib_version = None
        if isinstance(connection, UnixDomainSocketConnection):
            # Older releases of redis-py know the attribute, but not the option.
            connection.socket_connect_timeout = CONNECT_TIMEOUT_SECONDS
        return connection

    def client(self, timeout_seconds: float, deadline: Deadline | None = None) -> Redis:
        """A client of redis-py that retries nothing."""
        made_by: Any = self._connection_class
        options = {**self._options}
        if deadline is not None:
            made_by, options["deadline"] = _timed(made_by), deadline
            if "socket_connect_timeout" in options:
                options["socket_connect_timeout"] = min(CONNECT_TIMEOUT_SECONDS, timeout_seconds)
        options["socket_timeout"] = timeout_seconds
        return Redis(connection_pool=ConnectionPool(connection_class=made_by, **options))

    def at(self, address: Address) -> ConnectionSettings:
        """The same for a server elsewhere."""
        host, port = address
        return ConnectionSettings(
            self._connection_class, {**self._options, "host": host, "port": port}
        )

    @property
    def host(self) -> str:
        """Name or number of the machine; the path of a unix socket."""
        return str(self._options.get("path") or self._options.get("host", "localhost"))

    @property
    def address(self) -> str:
        """Where the server is, for messages; never with a password."""
        if "path" in self._options:
            return self.host
        return f"{self.host}:{self._options.get('port', 6379)}"


class ClusterSettings:
    """What connections to the nodes of a Cluster are made with.

    Args:
        node: settings of any of its nodes.
        startup: where the map of the Cluster can be asked for.
        remap: from the address that a node gives to the one it is reached by.
    """

    def __init__(
        self,
        node: ConnectionSettings,
        startup: Sequence[Address],
        remap: Callable[[Address], Address] | None = None,
    ) -> None:
        self._node = node
        self._remap = remap
        #: Known from the beginning.
        self.startup = tuple(startup)

    def at(self, address: Address) -> ConnectionSettings:
        """Of one node."""
        return self._node.at(address)

    def reachable(self, address: Address) -> Address:
        """The address that a node is reached by."""
        return address if self._remap is None else self._remap(address)

    @property
    def address(self) -> str:
        """Where the Cluster is, for messages."""
        return ",".join(f"{host}:{port}" for host, port in self.startup)


Settings = ConnectionSettings | ClusterSettings


def _library(connection: Any) -> Iterator[tuple[str, str]]:
    """What a connection of redis-py would introduce itself with."""
    # Newer releases have both in one object.
    info = getattr(connection, "driver_info", None)
    if info is None:
        name, version = (getattr(connection, f"lib_{part}", None) for part in ("name", "version"))
    else:
        name, version = info.formatted_name, info.lib_version
    return ((key, value) for key, value in (("LIB-NAME", name), ("LIB-VER", version)) if value)
