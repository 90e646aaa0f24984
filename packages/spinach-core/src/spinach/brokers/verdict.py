"""How a call of the contract ended; the start of most replies."""

from __future__ import annotations

import enum

import msgspec

from spinach.exc import BrokerError  # noqa: TC001 - fields are read at run time

__all__ = ["TurnReply", "Verdict"]


class Verdict(enum.Enum):
    """How a call ended."""

    #: Carried out.
    APPLIED = "applied"
    #: Not carried out, by the rules of the call.
    REFUSED = "refused"
    #: The store does not know this membership; join under a new name.
    FENCED = "fenced"
    #: The number was used before; nothing was done.
    STALE = "stale"
    #: No answer: it may have been carried out or not.
    UNKNOWN = "unknown"


class TurnReply(msgspec.Struct, frozen=True, kw_only=True):
    """What every call about one membership or queue answers."""

    verdict: Verdict
    #: With UNKNOWN: what went wrong.
    error: BrokerError | None = None
