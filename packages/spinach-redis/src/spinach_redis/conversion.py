"""Brings a queue that an earlier release wrote to the layout of this one.

Schema 1 had keys named after tasks, see `spinach_redis.keys`. The first worker process of this
release that joins such a queue converts it, in calls of bounded work, once no worker of the
earlier release is left. Producers need not wait for that: what they write lies alike in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spinach.exc import BrokerError, BrokerUnavailable
from spinach_redis import keys, replies
from spinach_redis.producer import version_error
from spinach_redis.scripts import Script
from spinach_redis.transport.command import Call
from spinach_redis.transport.health import LOGGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach_redis.client.client import RedisClient
    from spinach_redis.keys import QueueKeys

__all__ = ["EARLIER", "convert", "living_error"]

_CONVERT: Final = Script("migrate/convert", "members", "lanes")

_FIXED: Final = (
    *("version", "members", "seq", "info", "guard", "timekeeper", "limits", "slots", "held"),
    *("held-ends", "brought", "parks", "parked", "parked-ends"),
)

#: Schemas that can be converted; the second one is that of a queue whose conversion began.
EARLIER: Final = (b"1", b"1>2")

#: Jobs that one call moves at most, which takes the server some 2 ms.
MOST_JOBS: Final = 1_000

#: What the names of dead members end with afterwards.
_NEW_NAME: Final = "-of-schema-1"

#: How often a call is made anew because names came up whose keys were missing.
_NAMES_TRIES: Final = 5


def convert(client: RedisClient, names: QueueKeys, offset: str, queue: str) -> BrokerError | None:
    """Convert a queue, or go on where another process stopped; nothing to do for one of ours.

    Args:
        client: reaches the server.
        names: the queue's keys.
        offset: the clock offset in ms, as text.
        queue: its name.

    Returns:
        Why it is not known whether the queue is converted; None: it is.

    Raises:
        BrokerError: workers of the earlier release may still run, or the queue has a schema
            that this release does not know.
    """
    members: Sequence[str] = ()
    limited: Sequence[str] = ()
    parks: Sequence[str] = ()
    tries = 0
    while tries < _NAMES_TRIES:
        [answer] = client.ask(_call(names, offset, members, limited, parks))
        if answer.error is not None:
            return answer.error
        reply = answer.reply
        what = reply[0]
        if what == b"DONE":
            LOGGER.info("Queue %s was converted to storage version %s", queue, keys.SCHEMA.decode())
            return None
        if what == b"LIVING":
            raise living_error(queue, reply[1:])
        if what == b"VERSION":
            raise version_error(queue, reply[1])
        if what == b"KEYS":
            members, limited, parks = map(replies.names, reply[1:])
            tries += 1
    return BrokerUnavailable(f"Queue {queue} changes while it is converted.")


def _call(
    names: QueueKeys,
    offset: str,
    members: Sequence[str],
    limited: Sequence[str],
    parks: Sequence[str],
) -> Call:
    args: list[bytes | str] = [offset, keys.SCHEMA, b"%d" % MOST_JOBS, _NEW_NAME]
    for listed in (members, limited, parks):
        args += (b"%d" % len(listed), *listed)
    of_members = [
        names.running(name) for member in members for name in (member, member + _NEW_NAME)
    ]
    of_limits = [
        names.of_schema_1(kind, task) for task in limited for kind in ("slots", "held", "limit")
    ]
    of_parks = [names.of_schema_1("parked", park) for park in parks]
    return Call(_CONVERT, (*names.fixed(_FIXED), *of_members, *of_limits, *of_parks), args)


def living_error(queue: str, flat: Sequence[Any]) -> BrokerError:
    """The error where workers of the earlier release may still run.

    Args:
        queue: that they work on.
        flat: of each what `info` has of it, and ms since it proved its life.
    """
    workers = "; ".join(
        _told(replies.description(info), ms) for info, ms in zip(flat[::2], flat[1::2], strict=True)
    )
    return BrokerError(
        f"Queue {queue!r} has storage version 1, and workers of an earlier release of "
        f"spinach-redis may still run there: {workers}. Stop them, then start this worker "
        "again: it converts the queue. Workers that were killed count as running until their "
        "lease is over, and for one lease after the first try."
    )


def _told(info: dict[str, str], silent_ms: int) -> str:
    host, pid = info.get("host", "an unknown host"), info.get("pid", "unknown")
    return f"process {pid} on {host}, last seen {silent_ms // 1000} s ago"
