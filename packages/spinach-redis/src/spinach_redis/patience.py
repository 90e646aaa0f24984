"""Calls for people and producers that are tried until they are answered, or too late."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from spinach.backoff import Backoff
from spinach.exc import BrokerError

from .errors import Fault, fault_of, to_broker_error
from .link import LinkPool
from .producer import DEADLINE_SECONDS
from .settings import CALL_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from .health import Health
    from .link import Call
    from .settings import ConnectionSettings

__all__ = ["PatientCaller"]


class PatientCaller:
    """Makes calls that raise when they fail for good; thread safe.

    Args:
        settings: of the server.
        health: is told how calls end.
        deadline_seconds: how long one call tries.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        health: Health,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._settings = settings
        self._health = health
        self._deadline_seconds = deadline_seconds
        self._links = LinkPool(settings)

    def ask(self, call: Call, *, repeatable: bool) -> Any:
        """The answer of a call.

        Args:
            call: to make.
            repeatable: whether it may be sent again after an answer was lost.

        Raises:
            BrokerError: the server refuses, or the deadline is over, or the answer was
                lost of a call that is not to be repeated.
        """
        deadline = time.monotonic() + self._deadline_seconds
        backoff = Backoff()
        while True:
            answer, uncertain = self._once(call)
            if not isinstance(answer, Exception):
                self._health.answered()
                return answer
            error = to_broker_error(answer, self._settings.address)
            if fault_of(answer) is not Fault.PASSING:
                raise error from answer
            self._health.failed(error)
            if uncertain and not repeatable:
                raise BrokerError(
                    f"{error} Whether the call was carried out is unknown: "
                    "look at the failed store before you repeat it."
                ) from answer
            pause = backoff.failed()
            if time.monotonic() + pause >= deadline:
                raise error from answer
            time.sleep(pause)

    def _once(self, call: Call) -> tuple[Any, bool]:
        """An answer or error, and whether the call may have been carried out unanswered."""
        with self._links.lend(CALL_TIMEOUT_SECONDS) as link:
            try:
                link.open()
            except (RedisError, OSError) as error:
                return error, False
            exchange = link.exchange(call)
        if exchange.replies:
            return exchange.replies[0], False
        return exchange.broken, True

    def close(self) -> None:
        """Give up the connections that nobody uses."""
        self._links.close()
