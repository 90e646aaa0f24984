"""One connection, with one owner at a time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from spinach.support.exception_text import line_of
from spinach.support.realtime import time
from spinach_redis.transport.command import Command
from spinach_redis.transport.errors import (
    TRANSPORT_ERRORS,
    NoConnection,
    is_readonly,
    to_broker_error,
)
from spinach_redis.transport.fakes import check_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from spinach.exc import BrokerError
    from spinach_redis.transport.command import Part, Request
    from spinach_redis.transport.deadline import Deadline
    from spinach_redis.transport.health import Health
    from spinach_redis.transport.settings import ConnectionSettings

__all__ = ["Answer", "Connection"]

#: A connection used no longer ago than this is taken for alive without a look, in seconds. The
#: look is a system call for which the thread gives up the interpreter lock. If the server did
#: hang up meanwhile, the call has no answer and is made again.
FRESH_SECONDS: Final = 1.0

#: As much as has to go out before a call that may renew its deadline does so, in bytes.
PART_BYTES: Final = 1024 * 1024


def _packer() -> Callable[..., bytes] | None:
    """What packs a command, without redis-py around it; None: redis-py does.

    Before redis-py has hiredis pack a command, it looks at each of its parts for types that
    hiredis does not take. None of `Part` is one, and that look was a quarter of what the
    interpreter did in a report of ten outcomes.
    """
    try:
        from hiredis import pack_command
    except ImportError:
        return None
    return pack_command


_PACK: Final = _packer()

_ASKING: Final = (b"ASKING",)
_HELLO: Final = ("HELLO",)
_CLIENT_ID: Final = ("CLIENT", "ID")


@dataclass(slots=True)
class Answer:
    """What came of one request."""

    #: Of the node that was asked.
    health: Health
    #: What the server answered, unless there is a `cause`.
    reply: Any = None
    #: An error that the server answered with, or what came instead of an answer; as redis-py or
    #: the system raised it.
    cause: Exception | None = None
    #: The request was sent and not answered. It may have been carried out.
    uncertain: bool = False
    #: It was not even sent.
    unsent: bool = False
    #: Why the replicas that were to confirm the request may lack what it did; as `cause`.
    unconfirmed: Exception | None = None

    @property
    def error(self) -> BrokerError | None:
        """The cause as users see it; None: there is a reply."""
        return None if self.cause is None else to_broker_error(self.cause, self.health.address)

    @property
    def doubt(self) -> BrokerError | None:
        """Why replicas may lack it, as users see it; None: they have it, or need not."""
        cause = self.unconfirmed
        return None if cause is None else to_broker_error(cause, self.health.address)


class Connection:
    """A connection that opens when needed. Not thread safe.

    Args:
        settings: of the server.
        health: of the server.
        timeout_seconds: longest wait for an answer.
    """

    # It does not know its node: the pool, which keeps connections by node, would keep that alive.
    def __init__(
        self, settings: ConnectionSettings, health: Health, timeout_seconds: float
    ) -> None:
        self.timeout_seconds = timeout_seconds
        #: The server's id of this connection, if it was asked for.
        self.client_id = 0
        self._settings = settings
        self._health = health
        self._connection: Any = None
        self._began = self._answered_at = 0.0
        self._deadline: Deadline | None = None
        self._requests: Sequence[Request] = ()
        self._asking = False
        # Since the last requests were sent: what broke it, and whether an answer is an error.
        self._broken: Exception | None = None
        self._refused = False

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
            deadline: of the calls until the next `open`, where a client waits for them.
            opening: of this call alone, where it is to be earlier.

        Raises:
            RedisError, OSError: as redis-py has it. Nothing was sent for the caller.
        """
        self._deadline = deadline
        self._began = now = time.monotonic()
        if self._connection is not None:
            # Where another connection to the server broke meanwhile, this one may have, too.
            fresh = max(now - FRESH_SECONDS, self._health.failed_at) < self._answered_at
            if fresh or not self._stale():
                return
            self.close()
        try:
            # Made anew, since behind Sentinels the server may be another one now.
            self._connection = self._settings.connection(
                self.timeout_seconds, deadline if opening is None else opening
            )
            self._connection.connect()
            self._introduce(with_id=with_id)
        except BaseException as error:
            self.close()
            if isinstance(error, (RedisError, OSError)):
                self._health.hung(error, now)
            elif isinstance(error, Exception):
                # Of a credential provider, for example, whose source may be back soon.
                raise NoConnection(line_of(error)) from error
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

    def _stale(self) -> bool:
        # Between calls there is nothing to read but the end of the connection, neither at the
        # socket nor in redis-py's parser: nothing is pushed without RESP3.
        try:
            return bool(self._connection.can_read(0))
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
        """For a selector, while the connection is open and an answer is awaited.

        Raises:
            OSError: the connection broke.
        """
        return self._socket.fileno()

    def send(self, requests: Sequence[Request], *, asking: bool = False) -> None:
        """Send requests; `open` first. It does not fail: `receive` tells.

        Args:
            requests: to send.
            asking: tell the server to serve each although it does not own the key yet.
        """
        self._requests, self._asking = requests, asking
        self._broken, self._refused = None, False
        self._write([request.command() for request in requests])

    def receive(self) -> list[Answer]:
        """An answer to each request that was sent, in order.

        A script that the server does not know is sent again with its text, after the other
        answers are read. So are plain commands that stood behind it, since a WAIT means what
        went before.
        """
        answers = self._read(len(self._requests))
        if self._refused:
            self._repeat_unknown(answers)
            if any(is_readonly(answer.cause) for answer in answers):
                # It is no primary any more. A new connection is led to the one that is.
                self.close()
        if self._broken is not None:
            self._health.hung(self._broken, self._began)
        elif self._health.rest_until:
            self._health.heard()
        return answers

    def _repeat_unknown(self, answers: list[Answer]) -> None:
        unknown = {i for i, answer in enumerate(answers) if _is_no_script(answer.cause)}
        if not unknown:
            return
        again = [
            i
            for i, request in enumerate(self._requests)
            if i in unknown or (i > min(unknown) and isinstance(request, Command))
        ]
        if self._broken is None:
            self._write([self._requests[i].command(with_text=True) for i in again])
        for i, answer in zip(again, self._read(len(again)), strict=True):
            answers[i] = answer

    def _write(self, commands: Sequence[tuple[Part, ...]]) -> None:
        if self._asking:
            commands = [part for command in commands for part in (_ASKING, command)]
        packed = self._packed(commands)
        try:
            self._send(packed)
        except TRANSPORT_ERRORS as error:
            self._broken = error
        except BaseException:
            self.close()
            raise

    def _send(self, packed: Sequence[bytes]) -> None:
        self._limit_wait()
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
                    self._limit_wait()

    def _limit_wait(self) -> None:
        """Have the next wait end after the timeout, or with the deadline where that is nearer."""
        sock, wait = self._socket, self.timeout_seconds
        if self._deadline is not None:
            wait = self._deadline.limit(wait)
        # The call before may have had less time.
        if sock.gettimeout() != wait:
            sock.settimeout(wait)

    def _packed(self, commands: Sequence[tuple[Part, ...]]) -> Sequence[bytes]:
        if _PACK is not None:
            return (b"".join([_PACK(command) for command in commands]),)
        packed: Sequence[bytes] = self._connection.pack_commands(commands)
        return packed

    def _read(self, count: int) -> list[Answer]:
        """That many answers. Those that do not come are uncertain, and `_broken` tells why."""
        answers: list[Answer] = []
        try:
            while self._broken is None and len(answers) < count:
                refusal = self._read_asking() if self._asking else None
                try:
                    answers.append(Answer(self._health, self._connection.read_response()))
                except ResponseError as error:
                    self._refused = True
                    answers.append(Answer(self._health, cause=refusal or error))
                except (BusyLoadingError, AuthenticationError) as error:
                    # An answer as well, after which redis-py hangs up.
                    answers.append(Answer(self._health, cause=error))
                    raise
                if self._deadline is not None and len(answers) < count:
                    if answers[-1].cause is None:
                        self._deadline.progressed()
                    self._limit_wait()
        except TRANSPORT_ERRORS as error:
            self._broken = error
        except BaseException:
            # Answers are left unread: the next owner must not take them for its own.
            self.close()
            raise
        if self._broken is not None:
            self.close()
        self._answered_at = time.monotonic()
        while len(answers) < count:
            answers.append(Answer(self._health, cause=self._broken, uncertain=True))
        return answers

    def _read_asking(self) -> ResponseError | None:
        """Why ASKING was refused; None: it was not.

        The request behind a refused ASKING is answered like any other, mostly with a redirection
        back, which says less than the refusal.
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


def _is_no_script(cause: Exception | None) -> bool:
    return isinstance(cause, NoScriptError) or (
        isinstance(cause, ResponseError) and str(cause).startswith("NOSCRIPT")
    )
