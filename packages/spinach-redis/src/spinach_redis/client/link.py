"""One connection, with one owner at a time, and the pools that lend them."""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from spinach.support.exception_text import line_of
from spinach.support.realtime import time
from spinach_redis.client.errors import TRANSPORT_ERRORS, NoConnection, is_readonly
from spinach_redis.client.sockets import (
    MOST_SENT_AT_ONCE,
    bind_to_kernel,
    is_plain,
    is_silent,
    kernel_timeout,
    may_bind,
    send_at_once,
)
from spinach_redis.server.fakes import check_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from spinach_redis.client.deadline import Deadline
    from spinach_redis.scripts import Script
    from spinach_redis.topology.node import Node

__all__ = ["Call", "Command", "Exchange", "Link", "LinkPool", "Request", "name_of"]

#: A connection used no longer ago than this is taken for alive without a look, in
#: seconds: the look is a system call for which the thread gives up the interpreter lock.
#: If the server did hang up meanwhile, the call has no answer and is made again.
FRESH_SECONDS: Final = 1.0

#: As much as has to go out before a call that may renew its deadline does so, in bytes.
PART_BYTES: Final = 1024 * 1024

#: No numbers: while hiredis makes text of one, Python lets signal handlers run. When one of them
#: raises, as Ctrl-C does, hiredis 3.5 reads the text that there is not, and the process dies.
_Part = bytes | str


def _packer() -> Callable[..., bytes] | None:
    """What packs a command, without redis-py around it; None: redis-py does.

    Before redis-py has hiredis pack a command, it looks at each of its parts for types that
    hiredis does not take. None of `_Part` is one, and that look was a quarter of what the
    interpreter did in a report of ten outcomes.
    """
    try:
        from hiredis import pack_command
    except ImportError:
        return None
    return pack_command


_PACK: Final = _packer()


@dataclass(frozen=True, slots=True)
class Call:
    """A script with its keys and arguments."""

    script: Script
    keys: Sequence[bytes]
    args: Sequence[_Part]

    @property
    def key(self) -> bytes:
        """A key that tells where to send it; all of them live in one place."""
        return self.keys[0]

    def command(self, *, with_text: bool = False) -> tuple[_Part, ...]:
        """What is sent: the script's name, or its text for a server that lost it."""
        head: tuple[bytes, bytes] = (
            (b"EVAL", self.script.text) if with_text else (b"EVALSHA", self.script.sha)
        )
        return (*head, b"%d" % len(self.keys), *self.keys, *self.args)


class Command:
    """A plain command.

    Args:
        parts: of it.
        key: tells where to send it; empty where the caller names the server.
    """

    __slots__ = ("key", "parts")

    def __init__(self, *parts: _Part, key: bytes = b"") -> None:
        self.parts = parts
        self.key = key

    def command(self, *, with_text: bool = False) -> tuple[_Part, ...]:  # noqa: ARG002 - as of a script
        """What is sent."""
        return self.parts


Request = Call | Command


def name_of(request: Request) -> str:
    """Of the script or command."""
    if isinstance(request, Call):
        return request.script.name
    return str(request.parts[0], "ascii") if isinstance(request.parts[0], bytes) else ""


_ASKING: Final = (b"ASKING",)
_HELLO: Final = ("HELLO",)
_CLIENT_ID: Final = ("CLIENT", "ID")


@dataclass(slots=True)
class Exchange:
    """What came of requests that were sent together."""

    #: Answers in order, an error that the server answered with among them. Fewer than
    #: requests when the connection broke.
    replies: list[Any] = field(default_factory=list)
    #: What broke the connection. The fate of requests without a reply is unknown.
    broken: Exception | None = None
    #: There are errors among the answers.
    refused: bool = False


class Link:
    """A connection that opens when needed. Not thread safe.

    Args:
        node: the server.
        timeout_seconds: longest wait for an answer.
    """

    def __init__(self, node: Node, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        #: The server's id of this connection, if it was asked for.
        self.client_id = 0
        # Not the node: the pool, which keeps links by node, would keep it alive for ever.
        self._settings = node.settings
        self._health = node.health
        self._connection: Any = None
        # The kernel ends its waits.
        self._bound = False
        # It never does: the socket is of a kind that cannot be bound.
        self._unbindable = False
        # Nothing stands between the socket and the kernel.
        self._plain = False
        self._answered_at = 0.0
        self._deadline: Deadline | None = None
        self._requests: Sequence[Request] = ()
        self._asking = False
        self._broken: Exception | None = None

    def open(
        self,
        *,
        with_id: bool = False,
        deadline: Deadline | None = None,
        opening: Deadline | None = None,
    ) -> None:
        """Connect unless connected; a connection that the server ended is renewed.

        Args:
            with_id: learn `client_id`.
            deadline: of the calls until the next `open`, where a client waits for them. Such a
                link is never bound to the kernel, which could not be told of it.
            opening: of this call alone, where it is to be earlier.

        Raises:
            RedisError, OSError: as redis-py has it. Nothing was sent for the caller.
        """
        self._deadline = deadline
        if self._connection is not None:
            if self._fresh() or not self._stale():
                if deadline is None and self._bound != may_bind():
                    self._bind()
                return
            self.close()
        try:
            # Made anew, since behind Sentinels the server may be another one now.
            self._connection = self._settings.connection(
                self.timeout_seconds, deadline if opening is None else opening
            )
            self._connection.connect()
            self._introduce(with_id=with_id)
            self._bound = self._unbindable = False
            self._plain = is_plain(self._socket)
            if deadline is None and may_bind():
                self._bind()
        except (RedisError, OSError):
            self.close()
            raise
        except Exception as error:
            # Of a credential provider, for example, whose source may be back soon.
            self.close()
            raise NoConnection(line_of(error)) from error
        except BaseException:
            self.close()
            raise

    def _introduce(self, *, with_id: bool) -> None:
        # One packet. It does not carry the first call as well: a server that closes new
        # connections, or hangs, is found out here, before the fate of a job is at stake.
        commands: list[tuple[str, ...]] = [*self._settings.introduction]
        told = len(commands)
        unknown = not self._health.genuine
        if unknown:
            # The first connection alone, of each process.
            commands.append(_HELLO)
        if with_id:
            commands.append(_CLIENT_ID)
        if commands:
            self._connection.send_packed_command(self._packed(commands))
        for _ in range(told):
            with contextlib.suppress(ResponseError):
                self._connection.read_response()
        if unknown:
            with contextlib.suppress(ResponseError):
                check_server(self._connection.read_response())
            self._health.genuine = True
        if with_id:
            self.client_id = int(self._connection.read_response())

    def _bind(self) -> None:
        """Have the waits end as this thread needs it."""
        if self._bound:
            self._socket.settimeout(self.timeout_seconds)
            self._bound = False
        elif not self._unbindable:
            self._bound = bind_to_kernel(self._socket, self.timeout_seconds)
            self._unbindable = not self._bound

    def _fresh(self) -> bool:
        # Where another link to the server broke meanwhile, this one may have, too.
        return max(time.monotonic() - FRESH_SECONDS, self._health.failed_at) < self._answered_at

    def _stale(self) -> bool:
        # Between calls there is nothing to read but the end of the connection, neither at the
        # socket nor in redis-py's parser: nothing is pushed without RESP3.
        try:
            return not is_silent(self._socket) if self._bound else self._connection.can_read(0)
        except (RedisError, OSError):
            return True

    @property
    def _socket(self) -> socket.socket:
        # redis-py has no public name for it.
        sock: socket.socket | None = None
        if self._connection is not None:
            sock = self._connection._sock  # noqa: SLF001
        if sock is None:
            raise OSError("not connected")
        return sock

    def fileno(self) -> int:
        """For a selector, while the link is open and an answer is awaited.

        Raises:
            OSError: the connection broke.
        """
        return self._socket.fileno()

    def exchange(self, *requests: Request, asking: bool = False) -> Exchange:
        """Send all, then read all answers; `open` first.

        A script that the server does not know is sent again with its text, after the
        other answers are read; so are plain commands that stood behind it, since a WAIT
        means what went before.

        Args:
            requests: to send.
            asking: tell the server to serve each although it does not own the key yet.
        """
        self.send(requests, asking=asking)
        return self.receive()

    def send(self, requests: Sequence[Request], *, asking: bool = False) -> None:
        """The first half of `exchange`. It does not fail: `receive` tells."""
        self._requests, self._asking, self._broken = requests, asking, None
        self._write([request.command() for request in requests])

    def receive(self) -> Exchange:
        """The second half of `exchange`."""
        requests = self._requests
        result = self._read(len(requests))
        if not result.refused:
            return result
        unknown = [i for i, reply in enumerate(result.replies) if _is_no_script(reply)]
        if unknown and result.broken is not None:
            # No answer to the caller: the scripts would have been sent once more, in full.
            del result.replies[unknown[0] :]
        elif unknown:
            again = [
                i
                for i, request in enumerate(requests)
                if i in unknown or (i > unknown[0] and isinstance(request, Command))
            ]
            self._write([requests[i].command(with_text=True) for i in again])
            second = self._read(len(again))
            for i, reply in zip(again, second.replies, strict=False):
                result.replies[i] = reply
            if second.broken is not None:
                result.broken = second.broken
                # Only a prefix can be told apart from what has no answer.
                del result.replies[again[len(second.replies)] :]
        if any(is_readonly(reply) for reply in result.replies):
            # A primary no longer; whoever connects anew is led to the one that is.
            self.close()
        return result

    def _write(self, commands: Sequence[tuple[_Part, ...]]) -> None:
        if self._asking:
            commands = [part for command in commands for part in (_ASKING, command)]
        packed = self._packed(commands)
        handled = sys.exception()
        try:
            if self._deadline is not None:
                self._hurry(self._deadline)
            if self._bound and sum(map(len, packed)) > MOST_SENT_AT_ONCE:
                self._socket.settimeout(self.timeout_seconds)
                self._connection.send_packed_command(packed)
                self._socket.settimeout(None)
            elif self._bound or not self._plain:
                self._send(packed)
            elif rest := send_at_once(self._socket, b"".join(packed)):
                self._send((rest,))
        except TRANSPORT_ERRORS as error:
            self._broken = self._told(error, handled)
        except BaseException:
            self.close()
            raise

    def _send(self, packed: Sequence[bytes]) -> None:
        if self._deadline is None:
            self._connection.send_packed_command(packed)
            return
        # `sendall` has one limit for all that it is given, which on a slow line would end a
        # batch that gets on.
        for whole in packed:
            for at in range(0, len(whole), PART_BYTES):
                self._connection.send_packed_command((whole[at : at + PART_BYTES],))
                if at + PART_BYTES < len(whole):
                    self._deadline.progressed()
                    self._hurry(self._deadline)

    def _hurry(self, deadline: Deadline) -> None:
        """Have the next wait end with the deadline, where that is nearer than its own limit."""
        sock, wait = self._socket, deadline.limit(self.timeout_seconds)
        if sock.gettimeout() != wait:
            sock.settimeout(wait)

    def _packed(self, commands: Sequence[tuple[_Part, ...]]) -> Sequence[bytes]:
        if _PACK is not None:
            return (b"".join([_PACK(command) for command in commands]),)
        packed: Sequence[bytes] = self._connection.pack_commands(commands)
        return packed

    def _read(self, count: int) -> Exchange:
        result = Exchange(broken=self._broken)
        handled = sys.exception()
        try:
            while result.broken is None and len(result.replies) < count:
                refusal = self._read_asking() if self._asking else None
                try:
                    result.replies.append(self._connection.read_response())
                except ResponseError as error:
                    result.refused = True
                    result.replies.append(refusal or error)
                except (BusyLoadingError, AuthenticationError) as error:
                    # An answer as well, after which redis-py hangs up.
                    result.replies.append(error)
                    raise
                if self._deadline is not None and len(result.replies) < count:
                    if not isinstance(result.replies[-1], Exception):
                        self._deadline.progressed()
                    self._hurry(self._deadline)
        except TRANSPORT_ERRORS as error:
            result.broken = self._told(error, handled)
        except BaseException:
            # Answers are left unread: the next owner must not take them for its own.
            self.close()
            raise
        if result.broken is not None:
            self.close()
        self._answered_at = time.monotonic()
        return result

    def _told(self, error: Exception, handled: BaseException | None) -> Exception:
        """The error, or what redis-py raises where Python ends the wait."""
        if self._bound and kernel_timeout(error, handled):
            timeout = RedisTimeoutError("Timeout waiting for the server")
            timeout.__cause__ = error
            return timeout
        return error

    def _read_asking(self) -> ResponseError | None:
        """Why ASKING was refused; None: it was not.

        What follows is then answered as for anybody, mostly by leading back, which says
        less than this.
        """
        try:
            self._connection.read_response()
        except ResponseError as error:
            return error
        return None

    def close(self) -> None:
        """Give up the connection; `open` makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.disconnect()


def _is_no_script(reply: object) -> bool:
    return isinstance(reply, NoScriptError) or (
        isinstance(reply, ResponseError) and str(reply).startswith("NOSCRIPT")
    )


class LinkPool:
    """Links of one purpose, the one used last first; thread safe.

    Without a lock: a call that is nested in another one, as that of a signal handler, would
    wait for it in vain. Each step is one that is not divided.
    """

    def __init__(self) -> None:
        # Nodes that leave a Cluster take their links with them.
        self._idle: weakref.WeakKeyDictionary[Node, deque[Link]] = weakref.WeakKeyDictionary()

    def take(self, node: Node, timeout_seconds: float) -> Link:
        """A link that is the caller's own until `give_back`, which must follow."""
        try:
            link = self._idle[node].pop()
        except (KeyError, IndexError):
            return Link(node, timeout_seconds)
        if link.timeout_seconds != timeout_seconds:
            link.close()
            link = Link(node, timeout_seconds)
        return link

    def give_back(self, node: Node, link: Link) -> None:
        """End what `take` began."""
        idle = self._idle.get(node)
        if idle is None:
            # Of several threads all get the one that was first.
            idle = self._idle.setdefault(node, deque())
        idle.append(link)

    def close(self) -> None:
        """Give up the links that nobody uses."""
        for reference in self._idle.keyrefs():
            node = reference()
            idle = None if node is None else self._idle.get(node)
            while idle:
                with contextlib.suppress(IndexError):
                    idle.pop().close()
