"""One connection, with one owner at a time, and the pools that lend them."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from .errors import TRANSPORT_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .script import Script
    from .settings import ConnectionSettings

__all__ = ["Call", "Exchange", "Link", "LinkPool"]


@dataclass(frozen=True, slots=True)
class Call:
    """A script with its keys and arguments."""

    script: Script
    keys: Sequence[bytes]
    args: Sequence[bytes | str | int]

    def command(self, *, with_text: bool = False) -> tuple[bytes | str | int, ...]:
        """What is sent: the script's name, or its text for a server that lost it."""
        head: tuple[bytes, bytes] = (
            (b"EVAL", self.script.text) if with_text else (b"EVALSHA", self.script.sha)
        )
        return (*head, len(self.keys), *self.keys, *self.args)


@dataclass(slots=True)
class Exchange:
    """What came of commands that were sent together."""

    #: Answers in order, an error that the server answered with among them. Fewer than
    #: commands when the connection broke.
    replies: list[Any] = field(default_factory=list)
    #: What broke the connection. The fate of commands without a reply is unknown.
    broken: Exception | None = None


class Link:
    """A connection that opens when needed. Not thread safe.

    Args:
        settings: of the server.
        timeout_seconds: longest wait for an answer.
    """

    def __init__(self, settings: ConnectionSettings, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        #: The server's id of this connection, if it was asked for.
        self.client_id = 0
        self._connection = settings.connection(timeout_seconds)
        self._opened = False

    def open(self, *, with_id: bool = False) -> None:
        """Connect unless connected; a connection that the server ended is renewed.

        Args:
            with_id: learn `client_id`.

        Raises:
            RedisError, OSError: as redis-py has it. Nothing was sent for the caller.
        """
        if self._opened:
            if not self._stale():
                return
            self.close()
        self._connection.connect()
        self._opened = True
        if with_id:
            try:
                self._connection.send_command("CLIENT", "ID")
                self.client_id = int(self._connection.read_response())
            except BaseException:
                self.close()
                raise

    def _stale(self) -> bool:
        # Between calls there is nothing to read but the end of the connection.
        try:
            return bool(self._connection.can_read(0))
        except (RedisError, OSError):
            return True

    def exchange(self, *requests: Call | tuple[bytes | str | int, ...]) -> Exchange:
        """Send all, then read all answers; `open` first.

        A script that the server does not know is sent again with its text, after the
        other answers are read.
        """
        commands = [r.command() if isinstance(r, Call) else r for r in requests]
        result = self._round_trip(commands)
        unknown = [i for i, reply in enumerate(result.replies) if _is_no_script(reply)]
        if unknown and result.broken is None:
            again = [r.command(with_text=True) for r in (requests[i] for i in unknown)
                     if isinstance(r, Call)]  # fmt: skip
            second = self._round_trip(again)
            for i, reply in zip(unknown, second.replies, strict=False):
                result.replies[i] = reply
            if second.broken is not None:
                result.broken = second.broken
                # Only a prefix can be told apart from what has no answer.
                del result.replies[unknown[len(second.replies)] :]
        return result

    def _round_trip(self, commands: Sequence[tuple[bytes | str | int, ...]]) -> Exchange:
        result = Exchange()
        connection = self._connection
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                try:
                    result.replies.append(connection.read_response())
                except ResponseError as error:
                    result.replies.append(error)
                except (BusyLoadingError, AuthenticationError) as error:
                    # An answer as well, after which redis-py hangs up.
                    result.replies.append(error)
                    raise
        except TRANSPORT_ERRORS as error:
            self.close()
            result.broken = error
        except BaseException:
            # Answers are left unread: the next owner must not take them for its own.
            self.close()
            raise
        return result

    def close(self) -> None:
        """Give up the connection; `open` makes a new one."""
        self._opened = False
        with contextlib.suppress(Exception):
            self._connection.disconnect()


def _is_no_script(reply: object) -> bool:
    return isinstance(reply, NoScriptError) or (
        isinstance(reply, ResponseError) and str(reply).startswith("NOSCRIPT")
    )


class LinkPool:
    """Links of one purpose, the one used last first; thread safe.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        # Guards the list.
        self._lock = threading.Lock()
        self._idle: list[Link] = []

    @contextlib.contextmanager
    def lend(self, timeout_seconds: float) -> Iterator[Link]:
        """A link that is the caller's own for the block."""
        with self._lock:
            link = self._idle.pop() if self._idle else None
        if link is None or link.timeout_seconds != timeout_seconds:
            if link is not None:
                link.close()
            link = Link(self._settings, timeout_seconds)
        try:
            yield link
        finally:
            with self._lock:
                self._idle.append(link)

    def close(self) -> None:
        """Give up the links that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()
