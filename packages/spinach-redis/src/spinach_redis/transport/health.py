"""What calls learned about a server.

The log is told when the server goes away and when it is back. A server that lets calls wait in
vain is left alone for a while.
"""

from __future__ import annotations

import logging
from typing import Final

from redis.exceptions import TimeoutError as RedisTimeoutError

from spinach.support.realtime import time

__all__ = ["LOGGER", "MOST_REST_OF_NODE_SECONDS", "MOST_REST_SECONDS", "Health"]

LOGGER = logging.getLogger("spinach.broker.redis")

#: The log is told that a server is available again when no call has failed for this time, in
#: seconds: a server that has no connections left answers some calls and fails others. Longer
#: than the longest pause between two tries.
STEADY_SECONDS: Final = 6.0

#: A call that waited for less does not count, in seconds. Connections of workers are waited for
#: two seconds.
LEAST_HANG_SECONDS: Final = 1.5

#: How long a server that let a call wait in vain is left alone at first, in seconds. Each
#: further time it is twice as long.
FIRST_REST_SECONDS: Final = 1.0

#: How long at most, in seconds. The queues of other nodes of a Cluster are served meanwhile; an
#: only server is to be found soon after it is back, or after Sentinels chose another one.
MOST_REST_SECONDS: Final = 2.0
MOST_REST_OF_NODE_SECONDS: Final = 5.0


class Health:
    """What the last call learned about the server; thread safe.

    Args:
        address: of the server, for the log.
        most_rest_seconds: it is left alone for no longer.
    """

    def __init__(self, address: str, most_rest_seconds: float = MOST_REST_SECONDS) -> None:
        #: Of the server.
        self.address = address
        #: A connection has asked the server, which does not imitate Redis.
        self.genuine = False
        #: When a call last failed, on the clock of `time.monotonic`.
        self.failed_at = 0.0
        # Not empty while it is down. The steps that change it are atomic, so that one of many
        # threads logs it. There is no lock, since a log handler may make a call itself.
        self._down: dict[str, object] = {}
        #: It is to be left alone until then, on the same clock; 0.0: it may be asked. Written
        #: without a lock, since of two calls that end at once either may be right.
        self.rest_until = 0.0
        #: Why.
        self.rest_cause = ""
        self._rest_seconds = 0.0
        self._most_rest_seconds = most_rest_seconds

    @property
    def down(self) -> bool:
        """Whether the log was told that it cannot be used, and not yet that it can again."""
        return bool(self._down)

    def failed(self, error: Exception) -> None:
        """A call found the server unusable."""
        self.failed_at = time.monotonic()
        if self._down:
            return
        mine = object()
        if self._down.setdefault("down", mine) is mine:
            LOGGER.warning(
                "Redis at %s is unavailable, retrying: %s",
                self.address,
                str(error).removeprefix(f"Redis at {self.address} is unavailable: "),
            )

    def answered(self) -> None:
        """A call was answered; the log is told when none has failed for a while."""
        if not self._down or time.monotonic() - self.failed_at < STEADY_SECONDS:
            return
        if self._down.pop("down", None) is not None:
            LOGGER.info("Redis at %s is available again", self.address)

    def hung(self, error: Exception, began: float) -> None:
        """A call failed. Where it waited in vain, others shall not for a while.

        Args:
            error: that it failed with.
            began: when, on the same clock. Of calls that wait at the same time one counts.
        """
        now = time.monotonic()
        if now - began < LEAST_HANG_SECONDS:
            # A client was in a hurry; that the server hangs is not known.
            return
        if isinstance(error, (RedisTimeoutError, TimeoutError)) and began >= self.rest_until:
            twice = max(FIRST_REST_SECONDS, 2 * self._rest_seconds)
            self._rest_seconds = min(self._most_rest_seconds, twice)
            self.rest_until = now + self._rest_seconds
            self.rest_cause = str(error)

    def heard(self) -> None:
        """It answered whatever it was asked."""
        self._rest_seconds = self.rest_until = 0.0
