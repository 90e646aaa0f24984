"""The settings that a user gives, in a client of redis-py or a URL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.cluster import RedisCluster
from redis.connection import Connection, SSLConnection, parse_url
from redis.sentinel import SentinelConnectionPool

from spinach.const import BLOCK_SECONDS
from spinach.exc import InvalidArgument
from spinach_redis.transport.fakes import check_client
from spinach_redis.transport.sentinels import SentinelSettings
from spinach_redis.transport.settings import ClusterSettings, ConnectionSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spinach_redis.transport.settings import Settings

__all__ = ["URLS", "settings_of", "settings_of_client", "settings_of_url"]

#: Continues a message about a URL that is to name several servers.
_SEVERAL = (
    "For Sentinels pass Sentinel([...]).master_for(...) to RedisBroker, for a Cluster "
    "redis.cluster.RedisCluster(...): a URL names one server."
)
#: Continues a message about a URL.
URLS = "expected redis://, rediss:// or unix://, such as redis://localhost:6379/0"


#: How redis-py writes False in a URL, and what stands for it elsewhere.
_NO = ("", "NONE", "F", "FALSE", "0", "N", "NO")


def settings_of(client: object, url: str | None) -> Settings:
    """The settings of a client, or those in a URL.

    Raises:
        InvalidArgument: both are given, or as the functions below.
    """
    if url is None:
        return settings_of_client(client)
    if client is not None:
        # The URL may hold a password and is not shown.
        raise InvalidArgument(
            "Both a Redis client and a URL were given, expected one of them, since they may name "
            "different servers. Use RedisBroker(client) or RedisBroker.from_url(url)."
        )
    return settings_of_url(url)


def settings_of_client(client: object) -> Settings:
    """The settings of a client; None is a server on this machine.

    Args:
        client: a `redis.Redis`, made by `Sentinel.master_for` as well, or a
            `redis.cluster.RedisCluster`.

    Raises:
        InvalidArgument: another object, or settings that cannot be used.
    """
    if client is None:
        client = Redis()
    check_client(client)
    if isinstance(client, RedisCluster):
        return _of_cluster(client)
    if not isinstance(client, Redis):
        raise InvalidArgument(
            f"redis is {type(client).__module__}.{type(client).__qualname__}, expected a "
            "redis.Redis or a redis.cluster.RedisCluster. Pass redis.Redis(host=...), or use "
            "RedisBroker.from_url(...)."
        )
    pool = client.connection_pool
    check_client(client, pool.connection_class)
    _check(pool.connection_kwargs)
    if isinstance(pool, SentinelConnectionPool):
        return SentinelSettings(pool)
    settings = ConnectionSettings(pool.connection_class, pool.connection_kwargs)
    settings.check()
    return settings


def _of_cluster(client: Any) -> ClusterSettings:
    # Any, since redis-py gives no types to some of what is used here.
    manager = client.nodes_manager
    known = list({**manager.startup_nodes, **manager.nodes_cache}.values())
    pool = client.get_redis_connection(client.get_default_node()).connection_pool
    check_client(client, pool.connection_class)
    options = dict(pool.connection_kwargs)
    _check(options)
    # What the client does on connecting serves its own routing; the user's part is kept.
    options.pop("redis_connect_func", None)
    user_part = client.user_on_connect_func
    if user_part is not None:

        def connected(connection: Any) -> None:
            connection.on_connect()
            user_part(connection)

        options["redis_connect_func"] = connected
    settings = ConnectionSettings(pool.connection_class, options)
    settings.check()
    return ClusterSettings(
        settings,
        [(str(node.host), int(node.port)) for node in known],
        manager.address_remap,
    )


def settings_of_url(url: str) -> ConnectionSettings:
    """The settings in a URL.

    Raises:
        InvalidArgument: not a URL of a Redis server.
    """
    if not isinstance(url, str):
        raise InvalidArgument(f"The Redis URL is {url!r}, {URLS}.")
    # The URL may hold a password and is not shown.
    scheme, found, rest = url.partition("://")
    if not found or scheme not in ("redis", "rediss", "unix"):
        shown = repr(scheme) if found else "missing"
        several = any(word in scheme.lower() for word in ("sentinel", "cluster"))
        raise InvalidArgument(
            f"The scheme of the Redis URL is {shown}, {URLS}." + f" {_SEVERAL}" * several
        )
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    host, colon, port = authority.rpartition(":")
    odd = colon and not authority.endswith("]") and (not host or (port and not port.isdecimal()))
    if odd and "@" in rest and "@" not in authority:
        # What reads it would take a part of the password for the port, and show it.
        raise InvalidArgument(
            "The Redis URL has one of the characters / ? # in its user or password. "
            "Percent-encode them: urllib.parse.quote(password, safe='')."
        )
    _, slash, path = rest.partition("?")[0].partition("/")
    if scheme != "unix":
        database = path.strip("/")
        if database and not database.isdecimal():
            raise InvalidArgument(
                f"The Redis URL names the database {database!r}, but databases have numbers."
            )
    elif not slash or "/" in authority or not path or authority.rpartition("@")[2]:
        raise InvalidArgument("The Redis URL has no absolute path: unix:///path/to/socket.")
    try:
        options = dict(parse_url(url))  # type: ignore[no-untyped-call] # redis-py has no types there
    except ValueError as exc:
        raise InvalidArgument(f"The Redis URL cannot be read: {exc}") from None
    _check(options)
    default = SSLConnection if scheme == "rediss" else Connection
    settings = ConnectionSettings(options.pop("connection_class", default), options)
    settings.check()
    return settings


def _check(options: Mapping[str, Any]) -> None:
    """Refuse what a user may have set for other purposes."""
    if str(options.get("decode_responses", "")).upper() not in _NO:
        raise InvalidArgument(
            "The Redis client has decode_responses=True, but jobs are bytes. "
            "Create a client for Spinach without it."
        )
    timeout = options.get("socket_timeout")
    try:
        seconds = BLOCK_SECONDS if timeout is None else float(timeout)
    except (TypeError, ValueError):
        raise InvalidArgument(
            f"The Redis client has socket_timeout={timeout!r}, expected seconds as a number. "
            "Leave it out: Spinach sets its own timeouts."
        ) from None
    if seconds < BLOCK_SECONDS:
        raise InvalidArgument(
            f"The Redis client has socket_timeout={timeout}, but workers wait for jobs "
            f"up to {BLOCK_SECONDS:g} s. Leave it out: Spinach sets its own timeouts."
        )
