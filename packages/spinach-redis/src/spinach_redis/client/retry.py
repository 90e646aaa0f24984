"""Whether a call that failed is made once more.

Workers repeat calls by themselves; a call of a client is tried until its deadline. A refusal is
repeated as well where the server let this process in before: a password that was changed reaches
a credential provider some seconds later, and a list of permissions is corrected in steps. So the
process keeps trying for a while, with warnings in the log. One that was never let in has a wrong
password, and its call raises at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spinach.backoff import CallBackoff
from spinach.support.realtime import time
from spinach_redis.transport.errors import Fault, fault_of, nobody_listens, to_broker_error
from spinach_redis.transport.health import LOGGER

if TYPE_CHECKING:
    from spinach_redis.transport.connection import Answer
    from spinach_redis.transport.deadline import Deadline
    from spinach_redis.transport.health import Health

__all__ = ["LOCKOUT_SECONDS", "Lockout", "Retry"]

#: No try begins with less time than this, in seconds: too short a wait for the answer would
#: only turn "not sent" into "unknown". An idle server looks ten times a second whether a WAIT
#: for replicas is over, and this leaves it half for that. A call that may take less than four
#: times as long needs a quarter of its own time instead.
LEAST_TRY_SECONDS: Final = 0.3

#: Where nothing listens at the port of the only server there is, the call is tried for a fifth
#: of its time, and for this long at most, in seconds. A restart takes a moment, and a server that
#: is still away then is away until a person acts.
MOST_REFUSED_SECONDS: Final = 1.0

#: Longest pause between two tries, in seconds. Workers make longer ones; a caller waits.
MOST_PAUSE_SECONDS: Final = 0.5

#: How long a server that let this process in before may refuse a call without answering it in
#: between, in seconds.
LOCKOUT_SECONDS: Final = 5 * 60.0

#: How often the log is told meanwhile, in seconds.
WARN_EVERY_SECONDS: Final = 30.0

#: Two refusals of one call that lie further apart are not of one lockout, in seconds: workers
#: repeat a call that was refused within five seconds. Some calls are rare, so that none of them
#: may be answered from one lockout to the next one.
APART_SECONDS: Final = 30.0


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


class Lockout:
    """What the servers of a broker let this process do; thread safe.

    It has no lock, since a signal handler may schedule a job while its thread is in here. Two
    threads that are refused at the same moment may both warn.
    """

    def __init__(self) -> None:
        #: A call was answered, and no call was given up since.
        self.let_in = False
        #: By address and name of the call: since when it is refused without an answer in
        #: between, and when it was refused last.
        self.refused: dict[tuple[str, str], tuple[float, float]] = {}
        # When the log was told, by address.
        self._told_at: dict[str, float] = {}

    def answered(self, address: str, call: str) -> None:
        """A call was answered. Need not be told while `let_in` and nothing is `refused`.

        Args:
            address: of the server.
            call: name of the script or command; "" for the calls of clients, which have an end
                of their own, so that any answer counts for them.
        """
        self.let_in = True
        self.refused.pop((address, call), None)
        self.refused.pop((address, ""), None)
        long_ago = time.monotonic() - APART_SECONDS
        for key, (_, last) in [*self.refused.items()]:
            if last < long_ago:
                self.refused.pop(key, None)
        still = any(where == address for where, _ in [*self.refused])
        if not still and self._told_at.pop(address, None) is not None:
            LOGGER.info("Redis at %s lets this process in again", address)

    def tolerates(self, health: Health, call: str, error: Exception) -> bool:
        """Whether to keep trying although a server refuses a call.

        Args:
            health: of the server.
            call: as for `answered`.
            error: what it said.
        """
        if not self.let_in:
            return False
        now, address = time.monotonic(), health.address
        # A server whose users change may hang up, so that idle connections are looked at before
        # they are used again.
        health.failed_at = now
        since, last = self.refused.get((address, call), (now, now))
        if now - last > APART_SECONDS:
            since = now
        self.refused[address, call] = since, now
        passed = now - since
        told = str(to_broker_error(error, address)).removeprefix(f"Redis at {address} ")
        if passed >= LOCKOUT_SECONDS:
            # From here on nothing is tolerated, so that a stop does not wait for it, too.
            self.let_in = False
            LOGGER.error(
                "Redis at %s has refused this process for %d seconds, giving up: it %s",
                address, passed, told,
            )  # fmt: skip
            return False
        if now - self._told_at.get(address, float("-inf")) >= WARN_EVERY_SECONDS:
            self._told_at[address] = now
            LOGGER.warning(
                "Redis at %s refuses this process, which it let in before, retrying for %d "
                "seconds more: it %s",
                address, LOCKOUT_SECONDS - passed, told,
            )  # fmt: skip
        return True
