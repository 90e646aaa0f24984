"""Whether a server is new enough, and whether it may evict jobs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from spinach.exc import BrokerError
from spinach_redis.transport.command import Command
from spinach_redis.transport.health import LOGGER

if TYPE_CHECKING:
    from spinach_redis.client.client import RedisClient
    from spinach_redis.topology.topology import Node

__all__ = ["examine"]

#: Oldest servers that have every command the scripts use.
_OLDEST: Final = {"redis": (6, 2), "valkey": (7, 2)}
_REQUIRED: Final = "Redis 6.2 or Valkey 7.2, or newer, is required"


def examine(client: RedisClient, node: Node) -> bool:
    """Check the server's version, and warn when it may evict keys.

    Returns:
        Whether there was an answer; without one it is to be asked again.

    Raises:
        BrokerError: the server is too old.
    """
    address = node.health.address
    answers = client.probe(Command(b"HELLO"), Command(b"INFO", b"memory"), node=node)
    if not answers:
        return False
    hello, memory = answers
    if hello.cause is not None:
        if "unknown command" in str(hello.cause):
            raise BrokerError(f"Redis at {address} is older than Redis 6. {_REQUIRED}.")
        # Refused for another reason; the join will meet it and say so.
        return False
    facts = dict(zip(hello.reply[::2], hello.reply[1::2], strict=False))
    _check_version(facts.get(b"server", b"").decode(), facts.get(b"version", b"").decode(), address)
    # INFO is withheld from many users of hosted servers.
    _warn_of_eviction(memory.reply or b"", address)
    return True


def _check_version(name: str, version: str, address: str) -> None:
    oldest = _OLDEST.get(name)
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if oldest is not None and numbers < oldest:
        raise BrokerError(f"The server at {address} is {name} {version}. {_REQUIRED}.")


def _warn_of_eviction(memory: bytes, address: str) -> None:
    match = re.search(rb"maxmemory_policy:([a-z-]+)", memory)
    if match is not None and match[1] != b"noeviction":
        LOGGER.warning(
            "Redis at %s has maxmemory-policy %s and may evict jobs. Set it to noeviction.",
            address,
            match[1].decode(),
        )
