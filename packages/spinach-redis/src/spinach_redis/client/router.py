"""Sends requests to the nodes that their keys live on, and follows redirections."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError, ResponseError, TryAgainError
from redis.exceptions import TimeoutError as RedisTimeoutError

from spinach.support.realtime import time
from spinach_redis.client.errors import hints_at_another_map
from spinach_redis.client.link import Command, Exchange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach_redis.client.deadline import Deadline
    from spinach_redis.client.health import Health
    from spinach_redis.client.link import Link, LinkPool, Request
    from spinach_redis.topology.node import Node
    from spinach_redis.topology.topology import Topology

__all__ = ["Answer", "Router", "answers_of", "rested"]

#: How often one request is led on to another node before its error is told.
MOST_REDIRECTIONS: Final = 3

#: How long a node may take to hear from its replicas, in ms.
CONFIRM_MS: Final = 1000


@dataclass(slots=True)
class Answer:
    """What came of one request."""

    #: What the server answered, an error among it, or what came instead of an answer.
    reply: Any
    #: Of the node that was asked.
    health: Health
    #: The request may have been carried out, and `reply` does not tell.
    uncertain: bool = False
    #: It was not even sent.
    unsent: bool = False
    #: Why the replicas that should have it may lack what was answered.
    doubt: Exception | None = None


class Router:
    """Sends requests; thread safe.

    Args:
        topology: says where to.
        pool: lends connections.
        replicas: how many replicas of a node shall confirm what they are asked to.
    """

    def __init__(self, topology: Topology, pool: LinkPool, replicas: int = 0) -> None:
        self.topology = topology
        self.pool = pool
        self.replicas = replicas

    def send(
        self,
        requests: Sequence[Request],
        timeout_seconds: float,
        *,
        confirmed: bool = False,
        deadline: Deadline | None = None,
    ) -> list[Answer]:
        """Send requests together, to all nodes concerned at once.

        Those of one node are carried out in order. None is sent twice, unless a node
        answered that it did not carry it out, because the key is elsewhere.

        Args:
            requests: to send.
            timeout_seconds: for each answer.
            confirmed: wait for the replicas as well.
            deadline: of all of it, map and redirections included; None: there is none.

        Returns:
            An answer for each, in order.
        """
        behind: Sequence[Command] = ()
        if confirmed and self.replicas:
            seconds = timeout_seconds
            if deadline is not None:
                seconds = min(seconds, deadline.left())
            behind = self.confirmation(seconds)
        if self.topology.only is not None:
            return self.ask(self.topology.only, requests, timeout_seconds, behind, deadline)
        answers: dict[int, Answer] = {}
        left: Sequence[int] = range(len(requests))
        led_on: dict[int, Node] = {}
        redirections = 0
        while left:
            groups: dict[tuple[Node, bool], list[int]] = {}
            for i in left:
                try:
                    asking = i in led_on
                    if asking:
                        node = led_on.pop(i)
                    else:
                        node = self.topology.node_of(requests[i].key, deadline)
                except (RedisError, OSError) as error:
                    answers[i] = Answer(error, self.topology.health, unsent=True)
                else:
                    groups.setdefault((node, asking), []).append(i)
            self._ask_all(groups, requests, behind, timeout_seconds, answers, deadline)
            again = []
            for (node, _), positions in groups.items():
                for i in positions:
                    target = self._follow(answers[i], node)
                    if target is None:
                        continue
                    if redirections == MOST_REDIRECTIONS:
                        reply = answers[i].reply
                        answers[i].reply = TryAgainError(f"TRYAGAIN led on and on: {reply}")
                        continue
                    again.append(i)
                    if target[1]:
                        led_on[i] = target[0]
            left = sorted(again)
            redirections += 1
        return [answers[i] for i in range(len(requests))]

    def _follow(self, answer: Answer, node: Node) -> tuple[Node, bool] | None:
        if not isinstance(answer.reply, Exception):
            return None
        if not answer.uncertain:
            target = self.topology.redirected(answer.reply, node)
            if target is not None:
                return target
        if hints_at_another_map(answer.reply):
            self.topology.doubt()
        return None

    def ask(
        self,
        node: Node,
        requests: Sequence[Request],
        timeout_seconds: float,
        behind: Sequence[Command] = (),
        deadline: Deadline | None = None,
    ) -> list[Answer]:
        """Send to one node, whose redirections are answers.

        Args:
            node: that is asked.
            requests: to send.
            timeout_seconds: for each answer.
            behind: what `confirmation` made, if anything.
            deadline: as for `send`.

        Returns:
            An answer for each request, in order.
        """
        begin = time.monotonic()
        link = self._opened(node, begin, timeout_seconds, deadline, deadline)
        if isinstance(link, Answer):
            return [replace(link) for _ in requests]
        try:
            link.send([*requests, *behind])
            return self._heard(node, link, len(requests), begin, confirmed=bool(behind))
        except BaseException:
            # Answers are left unread: the next owner must not take them for its own.
            link.close()
            raise
        finally:
            self.pool.give_back(node, link)

    def _ask_all(
        self,
        groups: dict[tuple[Node, bool], list[int]],
        requests: Sequence[Request],
        behind: Sequence[Command],
        timeout_seconds: float,
        answers: dict[int, Answer],
        deadline: Deadline | None,
    ) -> None:
        """Send to every node, then read from each; notes the answers."""
        sent: list[tuple[Node, Link, list[int]]] = []
        begin = time.monotonic()
        try:
            for number, ((node, asking), positions) in enumerate(groups.items()):
                # A node that hangs while a connection is made leaves time for the others.
                share = None if deadline is None else deadline.share(len(groups) - number)
                link = self._opened(node, begin, timeout_seconds, deadline, share)
                if isinstance(link, Answer):
                    answers.update((i, replace(link)) for i in positions)
                    continue
                sent.append((node, link, positions))
                link.send([*[requests[i] for i in positions], *behind], asking=asking)
            for node, link, positions in sent:
                heard = self._heard(node, link, len(positions), begin, confirmed=bool(behind))
                answers.update(zip(positions, heard, strict=True))
        except BaseException:
            # Answers are left unread here as well.
            for _, link, _ in sent:
                link.close()
            raise
        finally:
            for node, link, _ in sent:
                self.pool.give_back(node, link)

    def _opened(
        self,
        node: Node,
        begin: float,
        timeout_seconds: float,
        deadline: Deadline | None,
        share: Deadline | None,
    ) -> Link | Answer:
        """An open link, for the caller to give back, or the answer to all that is not sent.

        Opening it takes no longer than `share`, what is sent and read then than `deadline`.
        """
        if node.health.rest_until > begin and (
            # A call that has to be over before the end of the rest is tried all the same.
            deadline is None or node.health.rest_until < deadline.end
        ):
            return rested(node)
        link = self.pool.take(node, timeout_seconds)
        try:
            link.open(deadline=deadline, opening=share)
        except BaseException as error:
            self.pool.give_back(node, link)
            if not isinstance(error, (RedisError, OSError)):
                raise
            node.health.hung(error, begin)
            return Answer(error, node.health, unsent=True)
        return link

    def _heard(
        self, node: Node, link: Link, count: int, begin: float, *, confirmed: bool
    ) -> list[Answer]:
        """Reads the answers of a node to `count` requests."""
        exchange = link.receive()
        if exchange.broken is not None:
            node.health.hung(exchange.broken, begin)
        elif node.health.rest_until:
            node.health.heard()
        doubt = self.doubt_of(exchange, count) if confirmed else None
        return answers_of(exchange, count, node.health, doubt)

    def confirmation(self, timeout_seconds: float) -> list[Command]:
        """What makes a node wait for its replicas, and answer before the timeout."""
        if not self.replicas:
            return []
        # 0 would be for ever.
        most_ms = max(1, min(CONFIRM_MS, int(timeout_seconds * 500)))
        return [Command(b"WAIT", b"%d" % self.replicas, b"%d" % most_ms)]

    def doubt_of(self, exchange: Exchange, count: int) -> Exception | None:
        """Takes the answer to `confirmation` out of an exchange.

        Returns:
            Why replicas may lack what the `count` requests before it did; None: they
            have it, or need not.
        """
        if not self.replicas:
            return None
        if len(exchange.replies) <= count:
            return exchange.broken
        confirmed = exchange.replies.pop()
        if isinstance(confirmed, Exception):
            return confirmed
        if confirmed >= self.replicas:
            return None
        return ResponseError(
            f"NOREPLICAS {confirmed} of {self.replicas} replicas confirmed in time"
        )

    def close(self) -> None:
        """Give up the connections that nobody uses."""
        self.pool.close()


def rested(node: Node) -> Answer:
    """The answer to what is not sent, because the node is to be left alone for a while."""
    error = RedisTimeoutError(f"{node.health.rest_cause}; it is not asked again for some seconds")
    return Answer(error, node.health, unsent=True)


def answers_of(
    exchange: Exchange, count: int, health: Health, doubt: Exception | None = None
) -> list[Answer]:
    """An answer for each of the requests that were sent together to one node."""
    answers = [Answer(reply, health, doubt=doubt) for reply in exchange.replies[:count]]
    while len(answers) < count:
        answers.append(Answer(exchange.broken, health, uncertain=True))
    return answers
