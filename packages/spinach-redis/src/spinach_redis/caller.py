"""Makes calls for workers: once each, and a call without an answer is an answer too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from .errors import Fault, fault_of, to_broker_error
from .link import LinkPool
from .settings import CALL_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .health import Health
    from .link import Call
    from .settings import ConnectionSettings

__all__ = ["Caller"]


class Caller:
    """Calls of the worker side; thread safe.

    Args:
        settings: of the server.
        health: is told how calls end.
    """

    def __init__(self, settings: ConnectionSettings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._links = LinkPool(settings)

    def ask(self, *requests: Call | tuple[bytes | str | int, ...]) -> list[Any]:
        """Send requests together, each once.

        Returns:
            For each what the server answered; a `BrokerError` where it answered with
            an error that passes, or not at all.

        Raises:
            BrokerError: the server refuses for a reason that a person has to remove.
        """
        if not requests:
            return []
        with self._links.lend(CALL_TIMEOUT_SECONDS) as link:
            try:
                link.open()
            except (RedisError, OSError) as error:
                return self.judge([], error, len(requests))
            exchange = link.exchange(*requests)
        return self.judge(exchange.replies, exchange.broken, len(requests))

    def probe(self, *commands: tuple[bytes | str | int, ...]) -> list[Any]:
        """Send commands whose answers nothing depends on.

        Returns:
            For each what the server answered, errors among it; empty without an answer.
        """
        with self._links.lend(CALL_TIMEOUT_SECONDS) as link:
            try:
                link.open()
            except (RedisError, OSError):
                return []
            exchange = link.exchange(*commands)
        return exchange.replies if exchange.broken is None else []

    def judge(self, replies: Sequence[Any], broken: Exception | None, count: int) -> list[Any]:
        """What `ask` makes of an exchange of `count` requests."""
        answers: list[Any] = []
        worst: Exception | None = None
        for position in range(count):
            answer = replies[position] if position < len(replies) else broken
            if isinstance(answer, Exception):
                error = to_broker_error(answer, self._settings.address)
                if fault_of(answer) is Fault.FATAL:
                    raise error from answer
                worst, answer = error, error
            answers.append(answer)
        if worst is None:
            self._health.answered()
        else:
            self._health.failed(worst)
        return answers

    def close(self) -> None:
        """Give up the connections that nobody uses."""
        self._links.close()
