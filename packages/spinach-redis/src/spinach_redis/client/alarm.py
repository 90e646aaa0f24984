"""Where a thread waits for connections, and how others end that."""

from __future__ import annotations

import contextlib
import selectors
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from spinach_redis.client.link import Link

__all__ = ["Alarm"]

#: With two to four files `poll` is as fast as `epoll`, which takes two more system calls for
#: each wait. Windows has neither.
_SELECTOR: Final[type[selectors.BaseSelector]] = getattr(
    selectors, "PollSelector", selectors.DefaultSelector
)


class Alarm:
    """Where one thread at a time waits for connections, until somebody rings.

    Kept for the next wait: to make one and to end it takes six system calls, between a
    wake-up and the job.
    """

    def __init__(self) -> None:
        self._selector = _SELECTOR()
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._selector.register(self._receiver, selectors.EVENT_READ)
        # Of what is waited for besides. By number, since one that broke has none any more.
        self._numbers: dict[Link, int] = {}
        self._rung = False

    def ring(self) -> None:
        """Wake the thread, or let it not fall asleep; a lock keeps callers apart from `rest`."""
        self._rung = True
        with contextlib.suppress(OSError):
            self._sender.send(b"!")

    def watch(self, link: Link) -> None:
        """Wait for this connection as well, until something comes.

        Raises:
            OSError: it broke.
        """
        number = link.fileno()
        self._selector.register(number, selectors.EVENT_READ, link)
        self._numbers[link] = number

    def unwatch(self, link: Link) -> None:
        """Wait for it no longer; before it is closed, since its number may come again."""
        number = self._numbers.pop(link, None)
        if number is not None:
            self._selector.unregister(number)

    def listen(self, seconds: float) -> list[Link]:
        """Wait for something to come, a ring, or `seconds`; what has something to read."""
        heard: list[Link] = []
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._hush()
            else:
                self.unwatch(key.data)
                heard.append(key.data)
        return heard

    def pause(self, seconds: float) -> None:
        """Wait until it rings, at most so long; not at all if it has rung."""
        if not self._rung:
            self.listen(seconds)

    def rest(self) -> None:
        """Be as new for the next thread."""
        if self._rung:
            self._hush()
            self._rung = False

    def _hush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._receiver.recv(64):
                pass

    def close(self) -> None:
        """After the last `ring`."""
        self._selector.close()
        self._receiver.close()
        self._sender.close()

    def __del__(self) -> None:
        # Of a broker that nobody closed. Half-made where no descriptor was left.
        with contextlib.suppress(AttributeError):
            self.close()
