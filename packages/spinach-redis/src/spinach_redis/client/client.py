"""Sends calls to the nodes that serve their keys, over one pool of connections."""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError, ResponseError, TryAgainError
from redis.exceptions import TimeoutError as RedisTimeoutError

from spinach.exc import BrokerError
from spinach.support.realtime import time
from spinach_redis.client.retry import Lockout, Retry
from spinach_redis.topology.cluster import Cluster
from spinach_redis.topology.topology import Node, SingleServer, Topology
from spinach_redis.transport.command import Command
from spinach_redis.transport.connection import Answer, Connection
from spinach_redis.transport.deadline import Deadline
from spinach_redis.transport.errors import (
    Fault,
    fault_of,
    hints_at_another_map,
    to_broker_error,
)
from spinach_redis.transport.settings import CALL_TIMEOUT_SECONDS, ClusterSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach_redis.transport.command import Request
    from spinach_redis.transport.health import Health
    from spinach_redis.transport.settings import Settings

__all__ = ["ConnectionPool", "RedisClient", "not_asked"]

#: How many redirections one request follows. After these the last one is its error.
MOST_REDIRECTIONS: Final = 3

#: How long a node may take to hear from its replicas, in ms.
CONFIRM_MS: Final = 1000

#: Connections of one node and timeout that are kept for the next calls. More of them, as many
#: threads that schedule at one moment leave behind, are closed.
MOST_IDLE: Final = 32


class ConnectionPool:
    """Idle connections by node and timeout, the one used last first; thread safe.

    A call never waits for a connection: where none is idle, it makes one. Calls that wait for
    different times share none.

    There is no lock. A call that is nested in another one, as that of a signal handler is, would
    wait for it in vain. Each step on a deque or a dict is atomic instead.
    """

    def __init__(self) -> None:
        # Nodes that leave a Cluster take their connections with them.
        self._idle: weakref.WeakKeyDictionary[Node, dict[float, deque[Connection]]]
        self._idle = weakref.WeakKeyDictionary()

    def take(self, node: Node, timeout_seconds: float) -> Connection:
        """A connection that belongs to the caller until `give_back`, which must follow."""
        try:
            return self._idle[node][timeout_seconds].pop()
        except (KeyError, IndexError):
            return Connection(node.settings, node.health, timeout_seconds)

    def give_back(self, node: Node, connection: Connection) -> None:
        """End what `take` began."""
        key = connection.timeout_seconds
        try:
            idle = self._idle[node][key]
        except KeyError:
            # Of several threads all get the one that was first.
            idle = self._idle.setdefault(node, {}).setdefault(key, deque())
        idle.append(connection)
        if len(idle) > MOST_IDLE:
            with contextlib.suppress(IndexError):
                idle.popleft().close()

    def close(self) -> None:
        """Give up the connections that are idle."""
        for reference in self._idle.keyrefs():
            node = reference()
            for idle in [] if node is None else [*self._idle.get(node, {}).values()]:
                while idle:
                    with contextlib.suppress(IndexError):
                        idle.pop().close()


class RedisClient:
    """Makes the calls of one broker in one process; thread safe.

    Args:
        settings: how to connect.
        replicas: how many replicas of a node shall confirm what they are asked to.
        client_seconds: how long one call of a client may take.
    """

    def __init__(
        self, settings: Settings, *, replicas: int = 0, client_seconds: float = CALL_TIMEOUT_SECONDS
    ) -> None:
        #: Says which node serves a key.
        self.topology: Topology = (
            Cluster(settings) if isinstance(settings, ClusterSettings) else SingleServer(settings)
        )
        self.pool = ConnectionPool()
        #: Says whether a refused call is worth repeating.
        self.lockout = Lockout()
        self.client_seconds = client_seconds
        self._replicas = replicas

    def close(self) -> None:
        """Give up the connections that are not in the middle of a call."""
        self.pool.close()

    # -- calls of workers: made once, and no answer is an answer, too ------------------

    def ask(
        self, *requests: Request, confirmed: bool = False, node: Node | None = None
    ) -> list[Answer]:
        """Send requests together, each once.

        Args:
            requests: to send.
            confirmed: wait for replicas as well, if there should be any.
            node: to send them to; None: where their keys are. What a node that is named refuses
                is refused for good.

        Returns:
            An answer to each, in order.

        Raises:
            BrokerError: the server refuses for a reason that a person has to remove.
        """
        if not requests:
            return []
        answers = self.send(requests, CALL_TIMEOUT_SECONDS, confirmed=confirmed, node=node)
        self.check(answers, requests, tolerant=node is None)
        return answers

    def probe(self, *requests: Request, node: Node | None = None) -> list[Answer]:
        """As `ask`, for requests that nothing depends on: no refusal counts.

        Returns:
            An answer to each, errors of the server among them; none at all where one of the
            requests was not answered.
        """
        answers = self.send(requests, CALL_TIMEOUT_SECONDS, node=node)
        return [] if any(answer.uncertain or answer.unsent for answer in answers) else answers

    def check(
        self, answers: Sequence[Answer], requests: Sequence[Request], *, tolerant: bool = True
    ) -> None:
        """Note what answers to workers mean for the health of servers, and tell the log.

        Args:
            answers: to the requests.
            requests: that they belong to.
            tolerant: False: a refusal is for good, also of a process that was let in before.

        Raises:
            BrokerError: one of them is an error that does not pass.
        """
        unusable: dict[Health, Exception] = {}
        for answer, request in zip(answers, requests, strict=True):
            if answer.cause is None:
                self._let_in(answer, request)
                if answer.unconfirmed is not None:
                    self._raise_unless_passing(answer, answer.unconfirmed, "WAIT", tolerant)
                continue
            self._raise_unless_passing(answer, answer.cause, request.name, tolerant)
            # A full server serves all else, and so does one that refuses a user some of the
            # commands. Neither is down: the call that is refused tells of it.
            if fault_of(answer.cause) is Fault.PASSING:
                unusable[answer.health] = to_broker_error(answer.cause, answer.health.address)
        for health, error in unusable.items():
            health.failed(error)
        for answer in answers:
            if answer.health not in unusable:
                answer.health.answered()

    def _raise_unless_passing(
        self, answer: Answer, cause: Exception, call: str, tolerant: bool
    ) -> None:
        fault = fault_of(cause)
        if fault is Fault.FATAL or (
            fault is Fault.REFUSED
            and not (tolerant and self.lockout.tolerates(answer.health, call, cause))
        ):
            raise to_broker_error(cause, answer.health.address) from cause

    # -- calls of clients: tried until a deadline --------------------------------------

    def call(self, request: Request, *, repeatable: bool) -> Any:
        """The reply to a request of a client, after `client_seconds` at most.

        Args:
            request: to send.
            repeatable: whether it may be sent again after an answer was lost.

        Raises:
            BrokerError: the server refuses, or the deadline is over, or the answer was lost of a
                call that is not to be repeated.
        """
        deadline = Deadline(self.client_seconds)
        retry = self.retry(deadline)
        while True:
            [answer] = self.send([request], self.client_timeout_seconds, deadline=deadline)
            cause = answer.cause
            if cause is None:
                self.answered(answer)
                return answer.reply
            error = to_broker_error(cause, answer.health.address)
            if answer.uncertain and not repeatable and fault_of(cause) is Fault.PASSING:
                answer.health.failed(error)
                raise BrokerError(
                    f"{error} Whether the call was carried out is unknown: "
                    "look at the queue and its failed store before you repeat it."
                ) from cause
            pause = retry.pause(cause, answer)
            if pause is None:
                raise error from cause
            time.sleep(pause)

    @property
    def client_timeout_seconds(self) -> float:
        """Longest wait for one answer to a client."""
        return min(CALL_TIMEOUT_SECONDS, self.client_seconds)

    def retry(self, deadline: Deadline) -> Retry:
        """The tries of one call of a client."""
        return Retry(deadline, self.lockout, alone=self.topology.alone)

    def answered(self, answer: Answer) -> None:
        """Note that a call of a client was answered."""
        answer.health.answered()
        self._let_in(answer, None)

    def _let_in(self, answer: Answer, request: Request | None) -> None:
        # Mostly there is nothing to note.
        if self.lockout.refused or not self.lockout.let_in:
            name = "" if request is None else request.name
            self.lockout.answered(answer.health.address, name)

    # -- sending -----------------------------------------------------------------------

    def send(
        self,
        requests: Sequence[Request],
        timeout_seconds: float,
        *,
        confirmed: bool = False,
        deadline: Deadline | None = None,
        node: Node | None = None,
    ) -> list[Answer]:
        """Send requests together, to all nodes concerned at once, and draw no conclusions.

        Those of one node are carried out in order. None is sent twice, unless a node answered
        that it did not carry it out, because the key is elsewhere.

        Args:
            requests: to send.
            timeout_seconds: for each answer.
            confirmed: wait for the replicas as well.
            deadline: of all of it, map and redirections included; None: there is none.
            node: to send them to, whose redirections are answers; None: where their keys are.

        Returns:
            An answer to each, in order.
        """
        behind: Sequence[Command] = ()
        if confirmed and self._replicas:
            seconds = timeout_seconds
            if deadline is not None:
                seconds = min(seconds, deadline.left())
            behind = self.confirmation(seconds)
        node = node or self.topology.only
        if node is not None:
            [answers] = self._exchange(
                [(node, False)], [requests], behind, timeout_seconds, deadline
            )
            return answers
        return self._send_by_key(requests, behind, timeout_seconds, deadline)

    def _send_by_key(
        self,
        requests: Sequence[Request],
        behind: Sequence[Command],
        timeout_seconds: float,
        deadline: Deadline | None,
    ) -> list[Answer]:
        answers: dict[int, Answer] = {}
        left: Sequence[int] = range(len(requests))
        led_on: dict[int, Node] = {}
        redirections = 0
        while left:
            groups: dict[tuple[Node, bool], list[int]] = {}
            for i in left:
                target = led_on.pop(i, None)
                asking = target is not None
                try:
                    node = target or self.topology.node_of(requests[i].key, deadline)
                except (RedisError, OSError) as error:
                    answers[i] = Answer(self.topology.health, cause=error, unsent=True)
                else:
                    groups.setdefault((node, asking), []).append(i)
            parts = [[requests[i] for i in positions] for positions in groups.values()]
            answered = self._exchange([*groups], parts, behind, timeout_seconds, deadline)
            left = []
            for ((node, _), positions), part in zip(groups.items(), answered, strict=True):
                for i, answer in zip(positions, part, strict=True):
                    answers[i] = answer
                    redirection = self._follow(answer, node)
                    if redirection is None:
                        continue
                    if redirections == MOST_REDIRECTIONS:
                        answer.cause = TryAgainError(
                            f"redirected too often, at last to {answer.cause}"
                        )
                        continue
                    left.append(i)
                    target, asking = redirection
                    if asking:
                        led_on[i] = target
            left.sort()
            redirections += 1
        return [answers[i] for i in range(len(requests))]

    def _follow(self, answer: Answer, node: Node) -> tuple[Node, bool] | None:
        """Where a node leads a request on, as `Topology.redirected` has it."""
        if answer.cause is None:
            return None
        target = None if answer.uncertain else self.topology.redirected(answer.cause, node)
        if target is None and hints_at_another_map(answer.cause):
            self.topology.doubt()
        return target

    def _exchange(
        self,
        nodes: Sequence[tuple[Node, bool]],
        parts: Sequence[Sequence[Request]],
        behind: Sequence[Command],
        timeout_seconds: float,
        deadline: Deadline | None,
    ) -> list[list[Answer]]:
        """Send to every node its part, with ASKING or without, then read from each."""
        lent: list[tuple[Node, Connection]] = []
        asked: list[tuple[Connection, list[Answer]]] = []
        answers: list[list[Answer]] = [[] for _ in parts]
        try:
            for number, (node, asking) in enumerate(nodes):
                if node.health.rest_until and self._rests(node, deadline):
                    answers[number] += [not_asked(node) for _ in parts[number]]
                    continue
                connection = self.pool.take(node, timeout_seconds)
                lent.append((node, connection))
                # A node that hangs while a connection is made leaves time for the others.
                share = deadline
                if deadline is not None and len(nodes) > 1:
                    share = deadline.share(len(nodes) - number)
                try:
                    connection.open(deadline=deadline, opening=share)
                except (RedisError, OSError) as error:
                    failed = Answer(node.health, cause=error, unsent=True)
                    answers[number] += [replace(failed) for _ in parts[number]]
                else:
                    connection.send([*parts[number], *behind], asking=asking)
                    asked.append((connection, answers[number]))
            for connection, answered in asked:
                answered += connection.receive()
                if behind:
                    self.confirm(answered)
        except BaseException:
            # Answers are left unread: the next owner must not take them for its own.
            for _, connection in lent:
                connection.close()
            raise
        finally:
            for node, connection in lent:
                self.pool.give_back(node, connection)
        return answers

    @staticmethod
    def _rests(node: Node, deadline: Deadline | None) -> bool:
        """Whether a node that hung is to be left alone."""
        rest_until = node.health.rest_until
        # A call that has to be over before the end of the rest is tried all the same.
        return rest_until > time.monotonic() and (deadline is None or rest_until < deadline.end)

    def confirmation(self, timeout_seconds: float) -> list[Command]:
        """What makes a node wait for its replicas, and answer before the timeout."""
        if not self._replicas:
            return []
        # 0 would be for ever.
        most_ms = max(1, min(CONFIRM_MS, int(timeout_seconds * 500)))
        return [Command(b"WAIT", b"%d" % self._replicas, b"%d" % most_ms)]

    def confirm(self, answers: list[Answer]) -> None:
        """Take the answer to `confirmation` off the end, and note it with the other answers."""
        if not self._replicas:
            return
        wait = answers.pop()
        unconfirmed = wait.cause
        if unconfirmed is None and wait.reply < self._replicas:
            unconfirmed = ResponseError(
                f"NOREPLICAS {wait.reply} of {self._replicas} replicas confirmed in time"
            )
        for answer in answers:
            answer.unconfirmed = unconfirmed


def not_asked(node: Node) -> Answer:
    """The answer to what is not sent, because the node is to be left alone for a while."""
    error = RedisTimeoutError(f"{node.health.rest_cause}; it is not asked again for some seconds")
    return Answer(node.health, cause=error, unsent=True)
