"""What a broker keeps for one operating system process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from spinach_redis.client.client import RedisClient
from spinach_redis.producer import Producer
from spinach_redis.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from spinach_redis.keys import QueueKeys
    from spinach_redis.transport.settings import Settings

__all__ = ["PerProcess", "ProcessState"]


class ProcessState:
    """The client of a process, and what is made of it.

    A child process makes its own: sockets and locks of the parent are not to be shared, nor are
    the numbers of its producers' sessions.

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
        self.client = RedisClient(settings, replicas=replicas, client_seconds=client_seconds)
        #: Of the subscriber.
        self.waiting = Waiting(self.client)
        #: Of all threads that schedule jobs.
        self.producer = Producer(self.client, offset, keys_of)

    def close(self) -> None:
        """Give up all connections that are not in the middle of a call."""
        self.waiting.close()
        self.client.close()


class PerProcess:
    """Gives each process a state of its own; thread safe, also right after a fork.

    Args:
        make: makes that of a process.
    """

    def __init__(self, make: Callable[[], ProcessState]) -> None:
        self._make = make
        # Without a lock, which a child could inherit locked.
        self._by_process: dict[int, ProcessState] = {}

    def current(self) -> ProcessState:
        """That of the calling process."""
        process = os.getpid()
        state = self._by_process.get(process)
        if state is None:
            # Of several threads of a child all get the one that was first.
            state = self._by_process.setdefault(process, self._make())
            for other in list(self._by_process):
                if other != process:
                    self._by_process.pop(other, None)
        return state
