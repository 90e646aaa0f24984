"""Calls for people and producers that are tried until they are answered, or too late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spinach.backoff import CallBackoff
from spinach.exc import BrokerError
from spinach.realtime import time

from .errors import Fault, fault_of, to_broker_error
from .link import LinkPool
from .router import Router
from .settings import CALL_TIMEOUT_SECONDS, DEADLINE_SECONDS

if TYPE_CHECKING:
    from .link import Request
    from .topology import Topology

__all__ = ["PatientCaller"]


class PatientCaller:
    """Makes calls that raise when they fail for good; thread safe.

    Args:
        topology: says where to.
        deadline_seconds: how long one call tries.
    """

    def __init__(self, topology: Topology, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._deadline_seconds = deadline_seconds
        self._router = Router(topology, LinkPool())

    def ask(self, call: Request, *, repeatable: bool) -> Any:
        """The answer of a call.

        Args:
            call: to make.
            repeatable: whether it may be sent again after an answer was lost.

        Raises:
            BrokerError: the server refuses, or the deadline is over, or the answer was
                lost of a call that is not to be repeated.
        """
        deadline = time.monotonic() + self._deadline_seconds
        backoff = CallBackoff()
        while True:
            [answer] = self._router.send([call], CALL_TIMEOUT_SECONDS)
            reply = answer.reply
            if not isinstance(reply, Exception):
                answer.health.answered()
                return reply
            error = to_broker_error(reply, answer.health.address)
            if fault_of(reply) is not Fault.PASSING:
                raise error from reply
            answer.health.failed(error)
            if answer.uncertain and not repeatable:
                raise BrokerError(
                    f"{error} Whether the call was carried out is unknown: "
                    "look at the failed store before you repeat it."
                ) from reply
            pause = backoff.failed()
            if time.monotonic() + pause >= deadline:
                raise error from reply
            time.sleep(pause)

    def close(self) -> None:
        """Give up the connections that nobody uses."""
        self._router.close()
