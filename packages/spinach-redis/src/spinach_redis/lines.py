"""Everything of a broker that belongs to one operating system process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from spinach_redis.client.caller import Caller
from spinach_redis.client.patience import PatientCaller
from spinach_redis.producer import Producer
from spinach_redis.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from spinach_redis.keys import QueueKeys
    from spinach_redis.topology.settings import Settings

__all__ = ["Lines", "LinesByProcess"]


class Lines:
    """The connections of a broker by purpose, so that none delays another.

    A child process makes its own: the parent's sockets and locks are not to be shared,
    nor are the numbers of its producers' sessions.

    Args:
        settings: how to connect.
        offset: the clock offset in ms, as text.
        keys_of: the keys of a queue.
        replicas: see `RedisBroker`.
        client_seconds: how long one call of a client may take.
    """

    def __init__(
        self,
        settings: Settings,
        offset: Callable[[], str],
        keys_of: Callable[[str], QueueKeys],
        replicas: int,
        client_seconds: float,
    ) -> None:
        #: Says where queues are.
        self.topology = settings.topology()
        #: Of arbiter and result notifier.
        self.workers = Caller(self.topology, replicas)
        #: Of the subscriber.
        self.waiting = Waiting(self.topology, self.workers, replicas)
        #: Of whoever schedules jobs.
        self.producer = Producer(
            self.topology, offset, keys_of, deadline_seconds=client_seconds, replicas=replicas
        )
        #: Of whoever looks at failed jobs.
        self.people = PatientCaller(self.topology, deadline_seconds=client_seconds)

    def close(self) -> None:
        """Give up all connections that are not in the middle of a call."""
        self.workers.close()
        self.waiting.close()
        self.producer.close()
        self.people.close()


class LinesByProcess:
    """Gives each process its own; thread safe, also right after a fork.

    Args:
        make: makes those of a process.
    """

    def __init__(self, make: Callable[[], Lines]) -> None:
        self._make = make
        # Without a lock, which a child could inherit locked.
        self._by_process: dict[int, Lines] = {}

    def current(self) -> Lines:
        """Those of the calling process."""
        process = os.getpid()
        lines = self._by_process.get(process)
        if lines is None:
            # Of several threads of a child all get the one that was first.
            lines = self._by_process.setdefault(process, self._make())
            for other in list(self._by_process):
                if other != process:
                    self._by_process.pop(other, None)
        return lines
