"""The Lua scripts of the package: their text, and the name the server gives them."""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files
from typing import Final

__all__ = [
    "BEAT",
    "CANCEL",
    "COUNTS",
    "ENDS",
    "ENQUEUE",
    "FAILED_FIND",
    "FAILED_PAGE",
    "FETCH",
    "FIND",
    "FIRE",
    "JOIN",
    "LEAVE",
    "LIMIT",
    "LIMITS",
    "LIST",
    "PAUSE",
    "PERIODIC",
    "PURGE",
    "RECONCILE",
    "RECOVER",
    "REPORT",
    "REVIVE",
    "REVIVE_ALL",
    "SCRIPTS",
    "SURVEY",
    "SUSPEND",
    "TICK",
    "WORKERS",
    "Script",
]


@functools.cache  # most files are part of several scripts
def _file(name: str) -> bytes:
    return (files("spinach_redis") / "scripts" / f"{name}.lua").read_bytes()


class Script:
    """One operation on the server.

    Args:
        name: of the file in `scripts/`.
        shared: files of `scripts/shared/` that go before it, in this order, after `base`.
        first: a file of `scripts/shared/` that goes before all of them, if any.
    """

    __slots__ = ("name", "parts", "sha")

    def __init__(self, name: str, *shared: str, first: str = "") -> None:
        paths = [f"shared/{part}" for part in (first, "base", *shared) if part]
        paths.append(name)
        self.name = name
        #: The files that it consists of. Scripts share them: with a whole text for each, a
        #: process kept 105 KiB more, and read 64 files where there are 23.
        self.parts = tuple(_file(each) for each in paths)
        #: What EVALSHA takes. It names the text, and keeps nothing secret.
        self.sha: bytes = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()

    @property
    def text(self) -> bytes:
        """What EVAL takes; put together each time, for a server that lost it."""
        return b"\n".join(self.parts)

    def __repr__(self) -> str:
        return f"<Script {self.name}>"


ENQUEUE: Final = Script("enqueue", "wake", "deposit", "schema", first="single")
FIRE: Final = Script("fire", "members", "wake", "grid")
JOIN: Final = Script(
    "join", "record", "members", "wake", "lanes", "slots", "occupy", "dismiss", "grid", "flow"
)
BEAT: Final = Script("beat", "record", "members", "leased", "results", "flow")
FETCH: Final = Script("fetch", "record", "members", "wake", "lanes", "slots", "gaps")
RECONCILE: Final = Script("reconcile", "members")
LEAVE: Final = Script("leave", "members", "wake", "lanes", "slots", "dismiss")
REPORT: Final = Script(
    "report",
    "record",
    "members",
    "wake",
    "lanes",
    "slots",
    "retention",
    "failed",
    "retry",
    "leased",
    "results",
)
TICK: Final = Script("tick", "members", "wake", "grid")
RECOVER: Final = Script(
    "recover",
    "record",
    "members",
    "wake",
    "lanes",
    "slots",
    "retention",
    "failed",
    "retry",
    "results",
    "dismiss",
    "leased",
)
COUNTS: Final = Script("counts", "retention", "failed", "grid")
FIND: Final = Script("find", "lanes", "retention", "look", "steer")
LIST: Final = Script("list", "record", "lanes", "retention", "look", "first_leases", "steer")
CANCEL: Final = Script(
    "cancel", "record", "wake", "lanes", "slots", "gaps", "leased", "results", "look", "steer"
)
FAILED_FIND: Final = Script("failed_find", "retention", "places")
FAILED_PAGE: Final = Script("failed_page", "record", "retention", "places")
REVIVE: Final = Script("revive", "record", "wake", "retention", "failed", "results")
REVIVE_ALL: Final = Script(
    "revive_all", "record", "wake", "retention", "failed", "results", "places"
)
ENDS: Final = Script("ends", "record", "results")
SURVEY: Final = Script("survey", "steer", "flow")
PAUSE: Final = Script("pause", "wake", "steer")
PURGE: Final = Script(
    "purge", "record", "wake", "lanes", "slots", "gaps", "retention", "failed", "steer"
)
WORKERS: Final = Script("workers", "record", "first_leases", "steer")
LIMIT: Final = Script("limit", "record", "wake", "lanes", "slots", "occupy", "steer")
LIMITS: Final = Script("limits", "lanes", "slots", "steer")
PERIODIC: Final = Script("periodic", "grid", "steer")
SUSPEND: Final = Script("suspend", "grid", "steer")

#: All of them.
SCRIPTS: Final = (
    ENQUEUE,
    FIRE,
    JOIN,
    BEAT,
    FETCH,
    RECONCILE,
    LEAVE,
    REPORT,
    TICK,
    RECOVER,
    COUNTS,
    FIND,
    LIST,
    CANCEL,
    FAILED_FIND,
    FAILED_PAGE,
    REVIVE,
    REVIVE_ALL,
    ENDS,
    SURVEY,
    PAUSE,
    PURGE,
    WORKERS,
    LIMIT,
    LIMITS,
    PERIODIC,
    SUSPEND,
)
