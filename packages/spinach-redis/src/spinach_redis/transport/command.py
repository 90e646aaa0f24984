"""What is sent to a server: scripts and plain commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach_redis.scripts import Script

__all__ = ["Call", "Command", "Part", "Request"]

#: No numbers. While hiredis makes text of one, Python lets signal handlers run. When one of them
#: raises, as Ctrl-C does, hiredis 3.5 reads the text that there is not, and the process dies.
Part = bytes | str


@dataclass(frozen=True, slots=True)
class Call:
    """A script with its keys and arguments."""

    script: Script
    keys: Sequence[bytes]
    args: Sequence[Part]

    @property
    def key(self) -> bytes:
        """A key that tells where to send it. All of them live in one place."""
        return self.keys[0]

    @property
    def name(self) -> str:
        """Of the script."""
        return self.script.name

    def command(self, *, with_text: bool = False) -> tuple[Part, ...]:
        """What is sent: the script's name, or its text for a server that lost it."""
        head: tuple[bytes, bytes] = (
            (b"EVAL", self.script.text) if with_text else (b"EVALSHA", self.script.sha)
        )
        return (*head, b"%d" % len(self.keys), *self.keys, *self.args)


class Command:
    """A plain command.

    Args:
        parts: of it, the name as bytes.
        key: tells where to send it; empty where the node is named.
    """

    __slots__ = ("key", "parts")

    def __init__(self, *parts: Part, key: bytes = b"") -> None:
        self.parts = parts
        self.key = key

    @property
    def name(self) -> str:
        """Its first word."""
        return str(self.parts[0], "ascii") if isinstance(self.parts[0], bytes) else self.parts[0]

    def command(self, *, with_text: bool = False) -> tuple[Part, ...]:  # noqa: ARG002 - as of a script
        """What is sent."""
        return self.parts


Request = Call | Command
