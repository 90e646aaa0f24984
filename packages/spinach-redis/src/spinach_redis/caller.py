"""Makes calls for workers: once each, and a call without an answer is an answer too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import Fault, fault_of, to_broker_error
from .link import LinkPool
from .router import Answer, Router
from .settings import CALL_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.exc import BrokerError

    from .health import Health
    from .link import Command, Request
    from .node import Node
    from .topology import Topology

__all__ = ["Caller"]


class Caller:
    """Calls of the worker side; thread safe.

    Args:
        topology: says where to.
        replicas: how many replicas shall confirm what is asked to be confirmed.
    """

    def __init__(self, topology: Topology, replicas: int = 0) -> None:
        self._router = Router(topology, LinkPool(), replicas)

    def ask(self, *requests: Request) -> list[Any]:
        """Send requests together, each once.

        Returns:
            For each what the server answered; a `BrokerError` where it answered with
            an error that passes, or not at all.

        Raises:
            BrokerError: the server refuses for a reason that a person has to remove.
        """
        if not requests:
            return []
        return [value for value, _ in judge(self._router.send(requests, CALL_TIMEOUT_SECONDS))]

    def ask_confirmed(
        self, *requests: Request, confirmed: bool = True
    ) -> list[tuple[Any, BrokerError | None]]:
        """As `ask`, and wait for replicas if there should be any.

        Args:
            requests: to send.
            confirmed: False: do not wait for them after all.

        Returns:
            For each the answer, and why replicas may lack it; None: they have it.

        Raises:
            BrokerError: as `ask`.
        """
        return judge(self._router.send(requests, CALL_TIMEOUT_SECONDS, confirmed=confirmed))

    def probe(self, *requests: Request, node: Node | None = None) -> list[Any]:
        """Send requests whose answers nothing depends on.

        Args:
            requests: to send.
            node: to send them to; None: where their keys are.

        Returns:
            For each what the server answered, errors among it; empty where one of them
            was not answered.
        """
        if node is None:
            answers = self._router.send(requests, CALL_TIMEOUT_SECONDS)
        else:
            answers = self._router.ask(node, requests, CALL_TIMEOUT_SECONDS)
        if any(answer.uncertain or answer.unsent for answer in answers):
            return []
        return [answer.reply for answer in answers]

    def ask_at(self, node: Node, *commands: Command) -> list[Any]:
        """As `ask`, of one node.

        Raises:
            BrokerError: as `ask`.
        """
        answers = self._router.ask(node, commands, CALL_TIMEOUT_SECONDS)
        return [value for value, _ in judge(answers)]

    def close(self) -> None:
        """Give up the connections that nobody uses."""
        self._router.close()


def judge(answers: Sequence[Answer]) -> list[tuple[Any, BrokerError | None]]:
    """Answers as workers want them, and as the log is told.

    Raises:
        BrokerError: one of them is an error that does not pass.
    """
    judged: list[tuple[Any, BrokerError | None]] = []
    worst: dict[Health, BrokerError | None] = {}
    for answer in answers:
        value, error = answer.reply, answer.doubt
        if isinstance(value, Exception):
            full = fault_of(value) is Fault.FULL
            value = error = _told(value, answer.health)
            # A full server serves all else, so who is refused tells of it.
            worst.setdefault(answer.health, None)
            if not full:
                worst[answer.health] = value
        else:
            worst.setdefault(answer.health, None)
            error = None if error is None else _told(error, answer.health)
        judged.append((value, error))
    for health, problem in worst.items():
        if problem is None:
            health.answered()
        else:
            health.failed(problem)
    return judged


def _told(error: Exception, health: Health) -> BrokerError:
    told = to_broker_error(error, health.address)
    if fault_of(error) is Fault.FATAL:
        raise told from error
    return told
