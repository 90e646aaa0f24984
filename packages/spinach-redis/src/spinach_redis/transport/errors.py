"""What an error of redis-py means for Spinach; no such error leaves the package."""

from __future__ import annotations

import enum
import re
from typing import Final

from redis import exceptions

from spinach.exc import BrokerError, BrokerFull, BrokerUnavailable
from spinach_redis.transport.fakes import Imitation

__all__ = [
    "TRANSPORT_ERRORS",
    "CrossSlotRefused",
    "Fault",
    "NoConnection",
    "fault_of",
    "hints_at_another_map",
    "is_readonly",
    "nobody_listens",
    "redirection_of",
    "to_broker_error",
]


class NoConnection(exceptions.ConnectionError):
    """No connection could be made, for a reason that is not the server's."""


class CrossSlotRefused(BrokerError):
    """The server refuses a script with the keys of several queues."""


class Fault(enum.Enum):
    """What to do about an error."""

    #: It passes by itself: try again.
    PASSING = "passing"
    #: The server has no memory left.
    FULL = "full"
    #: The user is not let in, or may not do that. It may pass for a user that was let in before.
    REFUSED = "refused"
    #: It stays until a person acts.
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
    r"|NOAUTH|NOPERM|WRONGPASS|CROSSSLOT|MOVED|ASK|max number of clients reached)\b"
)
#: What a user may not do inside a script has no code: as Valkey says it, and as Redis does.
_DENIED: Final = ("ACL failure in script", "The user executing the script can't")
_REDIRECTION: Final = re.compile(r"(MOVED|ASK) (\d+) (\S*):(\d+)$")
_BY_CLASS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterCrossSlotError, "CROSSSLOT"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "ASK"),
)
_FATAL: Final = {
    "NOAUTH": "asks for a password. Give one to the client",
    "WRONGPASS": "refuses the user name or the password. Correct them in the client",
    "NOPERM": "does not let this user do that. Grant it the commands and the keys of Spinach",
    "CROSSSLOT": "takes no call with keys of several hash slots, as none of Spinach's are",
    "MOVED": "is part of a Cluster. Give the broker a redis.cluster.RedisCluster",
    "ASK": "is part of a Cluster. Give the broker a redis.cluster.RedisCluster",
}
#: What a server answers whose passwords or permissions were changed a moment ago.
_REFUSALS: Final = frozenset({"NOAUTH", "WRONGPASS", "NOPERM"})
#: A Cluster that answers so may have changed since its map was read.
_MAP_CHANGES: Final = frozenset({"CLUSTERDOWN", "MASTERDOWN", "READONLY", "MOVED"})


def _code_of(error: Exception) -> str | None:
    if isinstance(error, (NoConnection, Imitation)):
        return None  # its words are not the server's
    for kind, code in _BY_CLASS:
        if isinstance(error, kind):
            return code
    match = _CODE.search(str(error))
    if match is not None:
        return match[1]
    if any(words in str(error) for words in _DENIED):
        return "NOPERM"
    if isinstance(error, (exceptions.AuthenticationError, exceptions.AuthorizationError)):
        # redis-py took the code away; "Authentication required." is what is left of NOAUTH.
        return "NOAUTH" if "required" in str(error) else "WRONGPASS"
    return None


def fault_of(error: Exception) -> Fault:
    """What to do about an error that redis-py raised or read."""
    code = _code_of(error)
    if code == "OOM":
        return Fault.FULL
    if code in _REFUSALS:
        return Fault.REFUSED
    if code in _FATAL:
        return Fault.FATAL
    if code is not None or isinstance(error, TRANSPORT_ERRORS):
        return Fault.PASSING
    return Fault.FATAL


def nobody_listens(error: Exception) -> bool:
    """Whether no connection could be made because no server listens there."""
    # redis-py raises its own error while it handles the one of the system.
    cause = error.__cause__ or error.__context__
    return isinstance(error, exceptions.ConnectionError) and isinstance(
        cause, (ConnectionRefusedError, FileNotFoundError)
    )


def is_readonly(reply: object) -> bool:
    """Whether a server answered that it only copies another one."""
    return isinstance(reply, Exception) and _code_of(reply) == "READONLY"


def hints_at_another_map(error: Exception) -> bool:
    """Whether a Cluster may have changed."""
    return isinstance(error, TRANSPORT_ERRORS) or _code_of(error) in _MAP_CHANGES


def redirection_of(error: Exception) -> tuple[str, int, str, int] | None:
    """`MOVED` or `ASK`, slot, host and port, where a server answered that; else None."""
    text = str(error)
    for kind, code in _BY_CLASS:
        if code in ("MOVED", "ASK") and isinstance(error, kind):
            # redis-py took the code away.
            text = f"{code} {text}"
            break
    match = _REDIRECTION.match(text)
    if match is None:
        return None
    return match[1], int(match[2]), match[3], int(match[4])


def to_broker_error(error: Exception, address: str) -> BrokerError:
    """The error that users see. One that is made for them already stays as it is."""
    if isinstance(error, BrokerError):
        return error
    if isinstance(error, Imitation):
        return BrokerError(f"The server at {address} {error}")
    code = _code_of(error)
    fault = fault_of(error)
    if fault is Fault.FULL:
        return BrokerFull(
            f"Redis at {address} has no memory left ({error}). "
            "Raise its maxmemory, or let workers drain its queues."
        )
    if fault is Fault.PASSING:
        return BrokerUnavailable(f"Redis at {address} is unavailable: {error}")
    if code in _FATAL:
        kind = CrossSlotRefused if code == "CROSSSLOT" else BrokerError
        return kind(f"Redis at {address} {_FATAL[code]} ({error}).")
    return BrokerError(f"Redis at {address} answered with an error: {error}")
