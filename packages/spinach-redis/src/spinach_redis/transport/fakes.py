"""Refuses fakeredis, which imitates the commands of a server, but not all that scripts do.

A job can be scheduled on it, and the first worker ends in an error of Lua. So fakeredis is
refused before: a client by its classes, a server by its answer to HELLO (since its release 2.30).
"""

from __future__ import annotations

from typing import Any, Final

from redis.exceptions import RedisError

from spinach.exc import InvalidArgument

__all__ = ["Imitation", "check_client", "check_server"]

_NAME: Final = "fakeredis"
_REMEDY: Final = (
    "which does not run the scripts that keep jobs. In tests use spinach.MemoryBroker(), as the "
    "fixtures of the pytest plugin in spinach-testing do, or a real Redis server."
)


class Imitation(RedisError):
    """The server imitates Redis."""


def check_client(client: object, *makers: Any) -> None:
    """Refuse a client that reaches no server.

    Args:
        client: that a user gives.
        makers: of its connections; classes, as a rule. Some releases of fakeredis have a
            function.

    Raises:
        InvalidArgument: one of them comes from fakeredis.
    """
    for each in (type(client), *makers):
        bases = each.__mro__ if isinstance(each, type) else (each,)
        # By name, since it is not to be imported for this.
        if any(_module_of(base).partition(".")[0] == _NAME for base in bases):
            shown = f"{type(client).__module__}.{type(client).__qualname__}"
            via = "" if each is type(client) else f" with connections of {each.__name__}"
            raise InvalidArgument(f"redis is a {shown}{via}, that is {_NAME}, {_REMEDY}")


def _module_of(maker: object) -> str:
    module = getattr(maker, "__module__", "")
    return module if isinstance(module, str) else ""


def check_server(hello: Any) -> None:
    """Refuse a server by its answer to HELLO.

    Raises:
        Imitation: it says that it is fakeredis.
    """
    if isinstance(hello, list) and _NAME.encode() in hello[1:2]:
        raise Imitation(f"is {_NAME}, {_REMEDY}")
