"""Whether a call of a client is tried once more, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spinach.backoff import CallBackoff
from spinach.support.realtime import time
from spinach_redis.transport.errors import Fault, fault_of, nobody_listens, to_broker_error

if TYPE_CHECKING:
    from spinach_redis.client.lockout import Lockout
    from spinach_redis.transport.connection import Answer
    from spinach_redis.transport.deadline import Deadline

__all__ = ["Retry"]

#: No try begins with less time than this, in seconds: too short a wait for the answer would
#: only turn "not sent" into "unknown". An idle server looks ten times a second whether a WAIT
#: for replicas is over, and this leaves it half for that. Of a short call it is a quarter.
LEAST_TRY_SECONDS: Final = 0.3

#: Where nothing listens at the port of the only server there is, the call is tried for a fifth
#: of its time, and for this long at most, in seconds. A restart takes a moment, and a server that
#: is still away then is away until a person acts.
MOST_REFUSED_SECONDS: Final = 1.0

#: Longest pause between two tries, in seconds. Workers make longer ones; a caller waits.
MOST_PAUSE_SECONDS: Final = 0.5


class Retry:
    """The tries of one call; for one thread.

    Args:
        deadline: of the call.
        lockout: says for how long refusals are tolerated.
        alone: no other server takes over for the one that is asked.
    """

    def __init__(self, deadline: Deadline, lockout: Lockout, *, alone: bool) -> None:
        self._deadline = deadline
        self._lockout = lockout
        self._alone = alone
        self._backoff = CallBackoff()
        self._least = min(LEAST_TRY_SECONDS, deadline.seconds / 4)
        # When the first of several tries in a row found that nothing listens.
        self._refused_at: float | None = None

    def succeeded(self) -> None:
        """A try brought the call further."""
        self._backoff.succeeded()
        self._refused_at = None

    def pause(self, cause: Exception, answer: Answer) -> float | None:
        """Seconds to wait before the next try; None: it is of no use, or too late.

        Args:
            cause: why the last try failed.
            answer: of the last try.
        """
        health = answer.health
        fault = fault_of(cause)
        if fault is Fault.REFUSED:
            if not self._lockout.tolerates(health, "", cause):
                return None
        elif fault is not Fault.PASSING:
            return None
        else:
            health.failed(to_broker_error(cause, health.address))
        now, end = time.monotonic(), self._deadline.end
        if answer.unsent and self._alone and nobody_listens(cause):
            if self._refused_at is None:
                self._refused_at = now
            most = min(MOST_REFUSED_SECONDS, self._deadline.seconds / 5)
            end = min(end, self._refused_at + most + self._least)
        else:
            self._refused_at = None
        pause = min(self._backoff.failed(), MOST_PAUSE_SECONDS)
        return pause if now + pause + self._least <= end else None
