"""Makes calls for workers: once each, and a call without an answer is an answer too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spinach_redis.client.errors import Fault, fault_of, to_broker_error
from spinach_redis.client.link import LinkPool, name_of
from spinach_redis.client.router import Answer, Router
from spinach_redis.topology.settings import CALL_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.exc import BrokerError
    from spinach_redis.client.health import Health
    from spinach_redis.client.link import Command, Request
    from spinach_redis.client.lockout import Admission
    from spinach_redis.topology.node import Node
    from spinach_redis.topology.topology import Topology

__all__ = ["Caller"]


class Caller:
    """Calls of the worker side; thread safe.

    Args:
        topology: says where to.
        replicas: how many replicas shall confirm what is asked to be confirmed.
    """

    def __init__(self, topology: Topology, replicas: int = 0) -> None:
        self._router = Router(topology, LinkPool(), replicas)
        self._admission = topology.admission

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
        answers = self._router.send(requests, CALL_TIMEOUT_SECONDS)
        return [value for value, _ in judge(answers, requests, self._admission)]

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
        answers = self._router.send(requests, CALL_TIMEOUT_SECONDS, confirmed=confirmed)
        return judge(answers, requests, self._admission)

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
        """As `ask`, of one node. What it refuses is refused for good: it is done without.

        Raises:
            BrokerError: as `ask`.
        """
        answers = self._router.ask(node, commands, CALL_TIMEOUT_SECONDS)
        return [value for value, _ in judge(answers, commands, None)]

    def close(self) -> None:
        """Give up the connections that nobody uses."""
        self._router.close()


def judge(
    answers: Sequence[Answer], requests: Sequence[Request], admission: Admission | None
) -> list[tuple[Any, BrokerError | None]]:
    """Answers as workers want them, and as the log is told.

    Args:
        answers: to the requests.
        requests: that they belong to.
        admission: bears what a server refuses for a while; None: nothing is borne.

    Raises:
        BrokerError: one of them is an error that does not pass.
    """
    judged: list[tuple[Any, BrokerError | None]] = []
    worst: dict[Health, BrokerError | None] = {}
    for answer, request in zip(answers, requests, strict=True):
        value, error = answer.reply, answer.doubt
        if isinstance(value, Exception):
            fault = fault_of(value)
            value = error = _told(value, answer.health, name_of(request), admission)
            # A full server serves all else, and so does one that refuses a user some of the
            # commands. Neither is down: the call that is refused tells of it.
            worst.setdefault(answer.health, None)
            if fault is Fault.PASSING:
                worst[answer.health] = value
        else:
            worst.setdefault(answer.health, None)
            if admission is not None and (admission.refused or not admission.let_in):
                admission.answered(answer.health.address, name_of(request))
            if error is not None:
                error = _told(error, answer.health, "WAIT", admission)
        judged.append((value, error))
    for health, problem in worst.items():
        if problem is None:
            health.answered()
        else:
            health.failed(problem)
    return judged


def _told(error: Exception, health: Health, call: str, admission: Admission | None) -> BrokerError:
    told = to_broker_error(error, health.address)
    fault = fault_of(error)
    if fault is Fault.FATAL or (
        fault is Fault.REFUSED
        and not (admission is not None and admission.bears(health, call, error))
    ):
        raise told from error
    return told
