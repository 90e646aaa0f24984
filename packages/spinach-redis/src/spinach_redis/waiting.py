"""The wait for a wake-up, and the way to end it.

Each group of markers that one command can take has a `BZPOPMIN` of its own, on a connection of
its own. Where one fetch serves all queues it goes out together with the `BZPOPMIN`, so that the
process that takes a marker also fetches, even if it dies in between (I14). Of several groups the
first one that is woken breaks off the others, and all queues are fetched afterwards. A process
that dies in between takes a wake-up along, which is made up for when the others' waits end.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from redis.exceptions import RedisError

from spinach.backoff import CallBackoff
from spinach.const import BLOCK_SECONDS
from spinach.exc import BrokerError
from spinach.support.realtime import time
from spinach_redis.client.client import not_asked
from spinach_redis.transport.command import Command
from spinach_redis.transport.connection import Answer, Connection
from spinach_redis.transport.errors import Fault, fault_of
from spinach_redis.transport.health import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spinach_redis.client.client import RedisClient
    from spinach_redis.topology.topology import Node
    from spinach_redis.transport.command import Call, Request

__all__ = ["Selector", "Waiting"]

#: The server may answer this much later than it was told to, in seconds.
ANSWER_MARGIN_SECONDS: Final = 2.0

#: Longest wait for the rest of an answer that has begun, in seconds. It is the same for all waits,
#: however long, so that they share connections. It is longer than that of any call, so that waits
#: and calls share none: only connections of waits know the id that ends a wait.
REST_SECONDS: Final = BLOCK_SECONDS + ANSWER_MARGIN_SECONDS

#: How long a wait that is to end is tried to be broken off, in seconds.
BREAK_OFF_SECONDS: Final = 2.0

#: How often that is tried, in seconds.
BREAK_OFF_STEP_SECONDS: Final = 0.005

#: A wait that a server refuses for now is not begun again at once, in seconds.
REFUSED_PAUSE_SECONDS: Final = 0.2

#: Stands for any wait where its answer is checked: only the name counts.
_WAIT: Final = Command(b"BZPOPMIN")

#: With two to four files `poll` is as fast as `epoll`, which takes two more system calls for
#: each wait. Windows has neither.
_POLL: Final[type[selectors.BaseSelector]] = getattr(
    selectors, "PollSelector", selectors.DefaultSelector
)


class Waiting:
    """Waits for wake-ups; thread safe.

    Args:
        client: reaches the servers.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        # Guards the first two attributes below. Taken by an engine's own threads alone: a call
        # from a signal handler must find no lock that its own thread has.
        self._lock = threading.Lock()
        # Of the waits that go on.
        self._selectors: set[Selector] = set()
        #: The next wait is not to begin.
        self._interrupted = False
        # Kept for the next wait: to make one and to end it takes six system calls, between a
        # wake-up and the job.
        self._idle: deque[Selector] = deque()
        # The log was told that CLIENT UNBLOCK is refused.
        self._told_of_unblock = False
        # What follows belongs to the thread that waits. A wait that was refused for good:
        self._refused: BrokerError | None = None
        # The last one was refused for now, and what was fetched beside it was not to wait.
        self._denied = False
        # Waits that could not begin.
        self._backoff = CallBackoff()
        self._told_of_begin = False

    def wait(
        self, groups: Sequence[Sequence[bytes]], seconds: float, fetch: Call | None = None
    ) -> Answer | None:
        """Wait until a marker can be taken, an interrupt, a failure, or `seconds`.

        Args:
            groups: markers; those of one group live in one place.
            seconds: longest wait.
            fetch: sent behind the wait of the only group.

        Returns:
            The answer to the fetch, as `RedisClient.ask` has it; None where it is still to be
            made.

        Raises:
            BrokerError: as `RedisClient.ask`.
        """
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused
        try:
            selector = self._begin()
        except OSError as error:
            # No descriptor is left.
            nowhere = Answer(self._client.topology.health, cause=error, unsent=True)
            self._not_begun(nowhere, error, REFUSED_PAUSE_SECONDS, time.sleep)
            return None
        if selector is None:
            return None
        try:
            if self._denied:
                self._denied = False
                selector.pause(REFUSED_PAUSE_SECONDS)
                return None
            with _Waits(self._client, selector) as waits:
                behind: list[Request] = []
                if fetch is not None:
                    behind = [fetch, *self._client.confirmation(seconds + ANSWER_MARGIN_SECONDS)]
                problem = waits.begin(groups, seconds, behind)
                if problem is not None and problem.cause is not None:
                    self._not_begun(problem, problem.cause, seconds, selector.pause)
                    return None
                self._begun()
                waits.listen(seconds + ANSWER_MARGIN_SECONDS)
                self._break_off(waits)
                return self._result(waits, selector, fetch)
        finally:
            self._end(selector)

    def interrupt(self) -> None:
        """End the waits in progress, or else let the next one not begin."""
        with self._lock:
            waited_at = list(self._selectors)
            self._interrupted = not waited_at
            for selector in waited_at:
                selector.interrupt()

    def close(self) -> None:
        """Give up what is kept for the next waits."""
        while self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().close()

    def _begin(self) -> Selector | None:
        with self._lock:
            if self._interrupted:
                self._interrupted = False
                return None
            try:
                selector = self._idle.pop()
            except IndexError:
                selector = Selector()
            self._selectors.add(selector)
            return selector

    def _end(self, selector: Selector) -> None:
        with self._lock:
            self._selectors.discard(selector)
            selector.reset()
            self._idle.append(selector)

    def _break_off(self, waits: _Waits) -> None:
        """End the waits that have not ended by themselves."""
        deadline = time.monotonic() + BREAK_OFF_SECONDS
        # A wait may not have begun on the server, so once may be too early.
        while silent := waits.silent():
            try:
                for wait in silent:
                    command = Command(b"CLIENT", b"UNBLOCK", b"%d" % wait.connection.client_id)
                    self._client.ask(command, node=wait.node)
            except BrokerError as error:
                if not self._told_of_unblock:
                    self._told_of_unblock = True
                    LOGGER.warning(
                        "Waits for jobs cannot be cut short, stops take seconds longer: %s", error
                    )
                # They end by themselves, late.
                return
            if time.monotonic() >= deadline:
                # The server does not answer; whatever it sends later is not wanted.
                waits.abandon()
                return
            waits.listen(BREAK_OFF_STEP_SECONDS)

    def _not_begun(
        self,
        answer: Answer,
        cause: Exception,
        seconds: float,
        pause: Callable[[float], None],
    ) -> None:
        """Leave the server alone for a while; the fetch that follows is a look for jobs.

        The fetch may succeed on its own connection. Then nothing but this slows down the next try
        and tells the log.
        """
        if fault_of(cause) in (Fault.FATAL, Fault.REFUSED):
            self._client.check([answer], [_WAIT])
        if self._backoff.failing and not self._told_of_begin and not answer.health.down:
            self._told_of_begin = True
            LOGGER.warning(
                "Workers cannot wait for jobs on Redis at %s, polling instead: %s",
                answer.health.address,
                cause,
            )
        pause(min(self._backoff.failed(), seconds))

    def _begun(self) -> None:
        self._backoff.succeeded()
        if self._told_of_begin:
            self._told_of_begin = False
            LOGGER.info("Workers can wait for jobs again, polling ends")

    def _result(self, waits: _Waits, selector: Selector, fetch: Call | None) -> Answer | None:
        fetched: Answer | None = None
        refused = False
        for node, answers in waits.receive():
            waited = answers.pop(0)
            if fetch is not None:
                self._client.confirm(answers)
                [fetched] = answers
                if self._led_elsewhere(fetched, node):
                    fetched = None
            if self._led_elsewhere(waited, node):
                refused = True
                continue
            # An error that passes costs a wake-up, which is late then. One that does not is
            # raised, but what was fetched beside it must not be lost.
            try:
                self._client.check([waited], [_WAIT])
            except BrokerError as error:
                if fetched is None or fetched.cause is not None:
                    raise
                self._refused = error
                continue
            refused = refused or waited.cause is not None
        if fetched is not None and fetch is not None:
            self._denied = refused
            self._client.check([fetched], [fetch])
            return fetched
        if refused:
            # Else a slot on its way to another node would keep this process busy.
            selector.pause(REFUSED_PAUSE_SECONDS)
        return None

    def _led_elsewhere(self, answer: Answer, node: Node) -> bool:
        """Whether a node did nothing because the queue is elsewhere."""
        return (
            answer.cause is not None
            and not answer.uncertain
            and self._client.topology.redirected(answer.cause, node) is not None
        )


@dataclass(slots=True, eq=False)
class _Wait:
    """One of them."""

    node: Node
    connection: Connection
    #: It was sent, and its answers were not read.
    sent: bool = False
    #: It was sent, and nothing has come from it.
    silent: bool = False


class _Waits:
    """The waits of one thread; a context manager that gives the connections back."""

    def __init__(self, client: RedisClient, selector: Selector) -> None:
        self._client = client
        self._selector = selector
        self._waits: list[_Wait] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for wait in self._waits:
            self._selector.unregister(wait.connection)
            if wait.sent:
                # The next owner must not take the answer for its own.
                wait.connection.close()
            self._client.pool.give_back(wait.node, wait.connection)

    def begin(
        self, groups: Sequence[Sequence[bytes]], seconds: float, behind: Sequence[Request]
    ) -> Answer | None:
        """Send the waits, unless one of the servers cannot be reached; the reason if so."""
        topology, pool = self._client.topology, self._client.pool
        for markers in groups:
            health = topology.health
            try:
                node = topology.node_of(markers[0])
                health = node.health
                if health.rest_until > time.monotonic():
                    return not_asked(node)
                connection = pool.take(node, REST_SECONDS)
                self._waits.append(_Wait(node, connection))
                connection.open(with_id=True)
            except (RedisError, OSError) as error:
                topology.doubt()
                return Answer(health, cause=error, unsent=True)
        for wait, markers in zip(self._waits, groups, strict=True):
            wait.sent = True
            wait.connection.send([Command(b"BZPOPMIN", *markers, f"{seconds:.3f}"), *behind])
            # One that broke has news already.
            with contextlib.suppress(OSError):
                self._selector.register(wait.connection)
                wait.silent = True
        return None

    def silent(self) -> list[_Wait]:
        """Those that nothing has come from."""
        return [wait for wait in self._waits if wait.silent]

    def listen(self, seconds: float) -> None:
        """Wait until something comes from one of them, an interrupt, or `seconds`."""
        silent = self.silent()
        if not silent:
            return
        if len(silent) < len(self._waits):
            seconds = min(seconds, BREAK_OFF_STEP_SECONDS)
        readable = self._selector.select(seconds)
        for wait in silent:
            wait.silent = wait.connection not in readable

    def abandon(self) -> None:
        """Give up the connections that nothing has come from."""
        for wait in self.silent():
            self._selector.unregister(wait.connection)
            wait.connection.close()
            wait.sent = wait.silent = False

    def receive(self) -> Iterator[tuple[Node, list[Answer]]]:
        """What came of each."""
        for wait in self._waits:
            if wait.sent:
                # One that breaks is closed, and a child of this process may keep it open.
                self._selector.unregister(wait.connection)
                answers = wait.connection.receive()
                wait.sent = False
                yield wait.node, answers


class Selector:
    """Where one thread at a time waits for connections, and another one may interrupt it."""

    def __init__(self) -> None:
        self._selector = _POLL()
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._selector.register(self._receiver, selectors.EVENT_READ)
        # By number, since a connection that broke has none any more.
        self._numbers: dict[Connection, int] = {}
        self._interrupted = False

    def interrupt(self) -> None:
        """Wake the thread, or let it not fall asleep; a lock keeps callers apart from `reset`."""
        self._interrupted = True
        with contextlib.suppress(OSError):
            self._sender.send(b"!")

    def register(self, connection: Connection) -> None:
        """Wait for this connection as well, until something comes.

        Raises:
            OSError: it broke.
        """
        number = connection.fileno()
        self._selector.register(number, selectors.EVENT_READ, connection)
        self._numbers[connection] = number

    def unregister(self, connection: Connection) -> None:
        """Wait for it no longer; before it is closed, since its number may come again."""
        number = self._numbers.pop(connection, None)
        if number is not None:
            self._selector.unregister(number)

    def select(self, seconds: float) -> list[Connection]:
        """Wait until something comes, an interrupt, or `seconds`; what has something to read."""
        readable: list[Connection] = []
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._drain()
            else:
                self.unregister(key.data)
                readable.append(key.data)
        return readable

    def pause(self, seconds: float) -> None:
        """Wait until an interrupt, at most `seconds`; not at all after one."""
        if not self._interrupted:
            self.select(seconds)

    def reset(self) -> None:
        """Forget interrupts, for the next thread."""
        if self._interrupted:
            self._drain()
            self._interrupted = False

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._receiver.recv(64):
                pass

    def close(self) -> None:
        """After the last `interrupt`."""
        self._selector.close()
        self._receiver.close()
        self._sender.close()

    def __del__(self) -> None:
        # Of a broker that was not closed. Half-made where no descriptor was left.
        with contextlib.suppress(AttributeError):
            self.close()
