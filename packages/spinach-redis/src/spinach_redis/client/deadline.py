"""When a call of a client has to be over, and whether it is tried once more until then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spinach.backoff import CallBackoff
from spinach.support.realtime import time
from spinach_redis.client.errors import Fault, fault_of, nobody_listens, to_broker_error

if TYPE_CHECKING:
    from spinach_redis.client.router import Answer
    from spinach_redis.topology.topology import Topology

__all__ = ["Deadline", "Tries"]

#: A wait may end this much after a deadline, in seconds, where the socket would have to be told
#: otherwise: that is a system call, which most calls are to go without.
SLACK_SECONDS: Final = 0.05

#: What has arrived already is read even when the deadline is over, in seconds. 0 would be no
#: wait at all.
LEAST_WAIT_SECONDS: Final = 0.01

#: No try begins with less time than this, in seconds: too short a wait for the answer would
#: only turn "not sent" into "unknown". An idle server looks ten times a second whether a WAIT
#: for replicas is over, and this leaves it half for that. Of a short call it is a quarter.
LEAST_TRY_SECONDS: Final = 0.3

#: Where nobody listens at the port of the only server there is, the call is tried for a fifth of
#: its time, and for this long at most, in seconds: a restart takes a moment, and a server that
#: is still away then is away until a person acts.
MOST_REFUSED_SECONDS: Final = 1.0

#: Longest pause between two tries, in seconds. Workers make longer ones; a caller waits.
MOST_PAUSE_SECONDS: Final = 0.5


class Deadline:
    """The end of one call of a client, on the clock of `time.monotonic`; for one thread.

    Args:
        seconds: how long it may take from now on.
        renews: whether it may take as long again after each part that went through.
    """

    __slots__ = ("_renews", "end", "seconds")

    def __init__(self, seconds: float, *, renews: bool = False) -> None:
        self.seconds = seconds
        self._renews = renews
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then; negative when it is over."""
        return self.end - time.monotonic()

    def limit(self, seconds: float) -> float:
        """The longest wait for something that may take so many seconds by itself."""
        left = self.end - time.monotonic()
        return seconds if left > seconds - SLACK_SECONDS else max(left, LEAST_WAIT_SECONDS)

    def share(self, of: int) -> Deadline:
        """The same for the next of so many steps, which leaves each of the others as much."""
        return Deadline(self.left() / of)

    def progressed(self) -> None:
        """A part went through."""
        if self._renews:
            self.end = time.monotonic() + self.seconds


class Tries:
    """The tries of one call; for one thread.

    Args:
        deadline: of the call.
        topology: says whether another server may take over.
    """

    def __init__(self, deadline: Deadline, topology: Topology) -> None:
        self._deadline = deadline
        self._topology = topology
        self._backoff = CallBackoff()
        self._least = min(LEAST_TRY_SECONDS, deadline.seconds / 4)
        # When nobody listened first, of several tries in a row.
        self._refused_at: float | None = None

    def succeeded(self) -> None:
        """A try brought the call further."""
        self._backoff.succeeded()
        self._refused_at = None

    def pause(self, failed: Answer) -> float | None:
        """Seconds to wait before the next try; None: it is no use, or too late.

        Args:
            failed: what came of the last one, an error.
        """
        error, health = failed.reply, failed.health
        fault = fault_of(error)
        if fault is Fault.REFUSED:
            if not self._topology.admission.bears(health, "", error):
                return None
        elif fault is not Fault.PASSING:
            return None
        else:
            health.failed(to_broker_error(error, health.address))
        now, end = time.monotonic(), self._deadline.end
        if failed.unsent and self._topology.alone and nobody_listens(error):
            if self._refused_at is None:
                self._refused_at = now
            most = min(MOST_REFUSED_SECONDS, self._deadline.seconds / 5)
            end = min(end, self._refused_at + most + self._least)
        else:
            self._refused_at = None
        pause = min(self._backoff.failed(), MOST_PAUSE_SECONDS)
        return pause if now + pause + self._least <= end else None
