"""The Lua scripts of the package: their text, and the name the server gives them."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

__all__ = [
    "BEAT",
    "COUNTS",
    "ENQUEUE",
    "FAILED_PAGE",
    "FETCH",
    "FIRE",
    "JOIN",
    "LEAVE",
    "RECONCILE",
    "RECOVER",
    "REPORT",
    "REVIVE",
    "SCRIPTS",
    "TICK",
    "Script",
]


class Script:
    """One operation on the server.

    Args:
        name: of the file in `scripts/`.
        shared: files of `scripts/shared/` that go before it, in this order.
    """

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str, *shared: str) -> None:
        folder = files("spinach_redis") / "scripts"
        parts = [folder / "shared" / f"{part}.lua" for part in ("base", *shared)]
        parts.append(folder / f"{name}.lua")
        self.name = name
        #: What EVAL takes.
        self.text: bytes = b"\n".join(part.read_bytes() for part in parts)
        #: What EVALSHA takes. It names the text, and keeps nothing secret.
        self.sha: bytes = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()

    def __repr__(self) -> str:
        return f"<Script {self.name}>"


ENQUEUE: Final = Script("enqueue", "wake", "deposit")
FIRE: Final = Script("fire", "members", "wake", "deposit")
JOIN: Final = Script("join", "record", "members", "wake", "slots")
BEAT: Final = Script("beat", "members")
FETCH: Final = Script("fetch", "record", "members", "wake", "slots")
RECONCILE: Final = Script("reconcile", "members")
LEAVE: Final = Script("leave", "members", "wake", "slots", "dismiss")
REPORT: Final = Script("report", "record", "members", "wake", "slots", "failed", "retry")
TICK: Final = Script("tick", "members", "wake")
RECOVER: Final = Script(
    "recover", "record", "members", "wake", "slots", "failed", "retry", "dismiss"
)
COUNTS: Final = Script("counts", "failed")
FAILED_PAGE: Final = Script("failed_page")
REVIVE: Final = Script("revive", "wake", "failed")

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
    FAILED_PAGE,
    REVIVE,
)
