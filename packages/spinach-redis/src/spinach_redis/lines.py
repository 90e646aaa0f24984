"""Everything of a broker that belongs to one operating system process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .caller import Caller
from .health import Health
from .patience import PatientCaller
from .producer import Producer
from .waiting import WaitingFetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from .keys import QueueKeys
    from .settings import ConnectionSettings

__all__ = ["Lines"]


class Lines:
    """The connections of a broker by purpose, so that none delays another.

    A child process makes its own: the parent's sockets and locks are not to be shared,
    nor are the numbers of its producers' sessions.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        offset: Callable[[], str],
        keys_of: Callable[[str], QueueKeys],
    ) -> None:
        health = Health(settings.address)
        #: Of arbiter and result notifier.
        self.workers = Caller(settings, health)
        #: Of the subscriber.
        self.waiting = WaitingFetch(settings, self.workers)
        #: Of whoever schedules jobs.
        self.producer = Producer(settings, health, offset, keys_of)
        #: Of whoever looks at failed jobs.
        self.people = PatientCaller(settings, health)
        #: The server was found to be usable.
        self.examined = False
        #: The log was told that CLIENT UNBLOCK is refused.
        self.told_of_unblock = False

    def close(self) -> None:
        """Give up all connections that are not in the middle of a call."""
        self.workers.close()
        self.waiting.close()
        self.producer.close()
        self.people.close()
