"""Calls for people and producers that are tried until they are answered, or too late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spinach.exc import BrokerError
from spinach.support.realtime import time
from spinach_redis.client.deadline import Deadline, Tries
from spinach_redis.client.errors import Fault, fault_of, to_broker_error
from spinach_redis.client.link import LinkPool
from spinach_redis.client.router import Router
from spinach_redis.topology.settings import CALL_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from spinach_redis.client.link import Request
    from spinach_redis.topology.topology import Topology

__all__ = ["PatientCaller"]


class PatientCaller:
    """Makes calls that raise when they fail for good; thread safe.

    Args:
        topology: says where to.
        deadline_seconds: how long one call tries.
    """

    def __init__(self, topology: Topology, *, deadline_seconds: float) -> None:
        self.deadline_seconds = deadline_seconds
        self._topology = topology
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
        deadline = Deadline(self.deadline_seconds)
        tries = Tries(deadline, self._topology)
        admission = self._topology.admission
        timeout = min(CALL_TIMEOUT_SECONDS, self.deadline_seconds)
        while True:
            [answer] = self._router.send([call], timeout, deadline=deadline)
            reply = answer.reply
            if not isinstance(reply, Exception):
                answer.health.answered()
                if admission.refused or not admission.let_in:
                    admission.answered(answer.health.address, "")
                return reply
            error = to_broker_error(reply, answer.health.address)
            if answer.uncertain and not repeatable and fault_of(reply) is Fault.PASSING:
                answer.health.failed(error)
                raise BrokerError(
                    f"{error} Whether the call was carried out is unknown: "
                    "look at the failed store before you repeat it."
                ) from reply
            pause = tries.pause(answer)
            if pause is None:
                raise error from reply
            time.sleep(pause)

    def close(self) -> None:
        """Give up the connections that nobody uses."""
        self._router.close()
