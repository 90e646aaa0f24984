"""What every role of a broker has: its settings, its clock, and the engine that it serves.

A role is a part of the contract: the calls that one kind of caller makes. Each stands in a
module of its own, together with its requests and replies. `spinach.brokers.base.Broker` joins
the roles; a part of the engine takes the role that it calls.
"""

from __future__ import annotations

from abc import ABC
from datetime import timedelta

from spinach.clock import Clock, SystemClock
from spinach.const import DEFAULT_LEASE, DEFAULT_MAX_PAYLOAD_BYTES, LEASE_MARGIN_SECONDS
from spinach.exc import BrokerInUse
from spinach.retention import DEFAULT_RETENTION, FailedRetention, require_retention
from spinach.support.checks import require_clock, require_int, require_timedelta

__all__ = ["Role"]

_SHORTEST_LEASE = timedelta(seconds=LEASE_MARGIN_SECONDS * 2)


class Role(ABC):  # noqa: B024 - the roles add the methods
    """Base of the roles; the arguments are those of `Broker`."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        lease: timedelta = DEFAULT_LEASE,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        failed_retention: FailedRetention = DEFAULT_RETENTION,
    ) -> None:
        self.lease = require_timedelta(lease, "lease", _SHORTEST_LEASE)
        self.max_payload_bytes = require_int(max_payload_bytes, "max_payload_bytes", 1, 2**29)
        self.failed_retention = require_retention(failed_retention)
        self.clock: Clock = SystemClock() if clock is None else require_clock(clock)
        self._namespace: str | None = None
        self._owner: object | None = None

    @property
    def namespace(self) -> str:
        """The namespace of the engine that this broker serves.

        Raises:
            BrokerInUse: no engine has bound it yet.
        """
        if self._namespace is None:
            raise BrokerInUse(
                "This broker serves no engine yet. Create one with Engine(broker) first."
            )
        return self._namespace

    def bind(self, namespace: str, owner: object) -> None:
        """Give this broker to an engine, for life; again for the same one is fine.

        Args:
            namespace: prefix of everything this broker stores.
            owner: compared by identity; stands for the engine.

        Raises:
            BrokerInUse: another owner has it.
        """
        if self._owner is not None and self._owner is not owner:
            raise BrokerInUse(
                f"This broker serves the engine with namespace {self._namespace!r} and "
                f"cannot serve another one with namespace {namespace!r}. "
                "Create a broker for each engine."
            )
        self._namespace = namespace
        self._owner = owner
