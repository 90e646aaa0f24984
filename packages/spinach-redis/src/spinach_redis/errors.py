"""What an error of redis-py means for Spinach; no such error leaves the package."""

from __future__ import annotations

import enum
import re
from typing import Final

from redis import exceptions

from spinach.exc import BrokerError, BrokerFull, BrokerUnavailable

__all__ = ["TRANSPORT_ERRORS", "Fault", "fault_of", "to_broker_error"]


class Fault(enum.Enum):
    """What to do about an error."""

    #: It passes by itself: try again.
    PASSING = "passing"
    #: The server has no memory left.
    FULL = "full"
    #: A person has to act.
    FATAL = "fatal"


#: What may come instead of an answer. Whether the call was carried out is unknown.
TRANSPORT_ERRORS: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.InvalidResponse,
    OSError,
)

# Redis 6.2 wraps an error inside a script into another one, so that its class is lost
# and only the text tells; redis-py takes some of the codes out of the text.
_CODE: Final = re.compile(
    r"\b(OOM|READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|MISCONF|UNBLOCKED"
    r"|NOAUTH|NOPERM|WRONGPASS|CROSSSLOT|max number of clients reached)\b"
)
_BY_CLASS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterCrossSlotError, "CROSSSLOT"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.AskError, "MOVED"),
)
_CLUSTER: Final = "is part of a Cluster, which this broker does not serve. Use a single server"
_FATAL: Final = {
    "NOAUTH": "asks for a password. Give one to the client",
    "WRONGPASS": "refuses the user name or the password. Correct them in the client",
    "NOPERM": "does not let this user do that. Grant it the commands and the keys of Spinach",
    "CROSSSLOT": _CLUSTER,
    "MOVED": _CLUSTER,
}


def _code_of(error: Exception) -> str | None:
    for kind, code in _BY_CLASS:
        if isinstance(error, kind):
            return code
    match = _CODE.search(str(error))
    if match is not None:
        return match[1]
    if isinstance(error, (exceptions.AuthenticationError, exceptions.AuthorizationError)):
        # redis-py took the code away; "Authentication required." is what is left of NOAUTH.
        return "NOAUTH" if "required" in str(error) else "WRONGPASS"
    return None


def fault_of(error: Exception) -> Fault:
    """What to do about an error that redis-py raised or read."""
    code = _code_of(error)
    if code == "OOM":
        return Fault.FULL
    if code in _FATAL:
        return Fault.FATAL
    if code is not None or isinstance(error, TRANSPORT_ERRORS):
        return Fault.PASSING
    return Fault.FATAL


def to_broker_error(error: Exception, address: str) -> BrokerError:
    """The error that users see."""
    code = _code_of(error)
    fault = fault_of(error)
    if fault is Fault.FULL:
        return BrokerFull(
            f"The Redis server at {address} has no memory left ({error}). "
            "Raise its maxmemory, or let workers drain its queues."
        )
    if fault is Fault.PASSING:
        return BrokerUnavailable(f"The Redis server at {address} cannot be used now: {error}")
    if code in _FATAL:
        return BrokerError(f"The Redis server at {address} {_FATAL[code]} ({error}).")
    return BrokerError(f"The Redis server at {address} answered with an error: {error}")
