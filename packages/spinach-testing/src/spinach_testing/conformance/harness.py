"""What the suite needs of a broker: how to make one, and how to move its time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from spinach.retention import DEFAULT_RETENTION

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from types import TracebackType

    from spinach.brokers.base import Broker
    from spinach.retention import FailedRetention

__all__ = ["NAMESPACE", "Harness"]

#: Namespace of every broker for which a test asks for no other.
NAMESPACE = "conformance"


class Harness(ABC):
    """One empty store, its time, and as many brokers on it as a test asks for.

    Each test gets a new one. Two harnesses that exist at once share nothing, so
    on a real server a harness uses a database of its own, or puts a prefix of its
    own before each namespace.
    """

    @abstractmethod
    def new_broker(
        self, *, namespace: str, failed_retention: FailedRetention = DEFAULT_RETENTION
    ) -> Broker:
        """A further process on the store.

        Args:
            namespace: brokers of one namespace see the same jobs.
            failed_retention: for the broker.

        Returns:
            A broker that is bound already, with the default lease. It belongs to
            the harness: `close` closes it.
        """

    @abstractmethod
    def advance(self, by: timedelta) -> None:
        """Move the store's clock, and that of all its brokers.

        Time may flow by itself as well; the suite allows for that.

        Args:
            by: not negative.
        """

    @abstractmethod
    def set_back(self, by: timedelta) -> None:
        """Set the store's clock back, as an operator or a time server does.

        Monotonic time is not set back.

        Args:
            by: not negative.
        """

    @abstractmethod
    def now(self) -> datetime:
        """The store's clock, aware."""

    @abstractmethod
    def close(self) -> None:
        """Close the brokers and give up the store."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
