"""The fetch that waits for a wake-up, and the way to end the wait.

`BZPOPMIN` and the fetch script go out together on a connection of their own, so that
whoever takes a marker also fetches, even if this process dies in between (I14).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from .link import LinkPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .caller import Caller
    from .link import Call
    from .settings import ConnectionSettings

__all__ = ["WaitingFetch"]

#: The server may answer this much later than it was told to, in seconds.
ANSWER_MARGIN_SECONDS: Final = 2.0

#: How long `interrupt` tries to reach a wait that is just about to begin, in seconds.
INTERRUPT_SECONDS: Final = 2.0

#: How often it tries, in seconds.
INTERRUPT_STEP_SECONDS: Final = 0.005


class _Wait:
    """One wait in progress."""

    def __init__(self, client_id: int) -> None:
        self.client_id = client_id
        self.over = threading.Event()


class WaitingFetch:
    """Fetches that wait; thread safe.

    Args:
        settings: of the server.
        caller: judges what comes back, and reaches the server while one waits.
    """

    def __init__(self, settings: ConnectionSettings, caller: Caller) -> None:
        self._caller = caller
        self._links = LinkPool(settings)
        # Guards the two attributes below.
        self._lock = threading.Lock()
        self._waits: set[_Wait] = set()
        #: The next fetch is not to wait.
        self._interrupted = False

    def ask(self, markers: Sequence[bytes], seconds: float, fetch: Call) -> Any:
        """Wait until a marker can be taken, an interrupt, or `seconds`; then fetch.

        Returns:
            As `Caller.ask`: the answer of the fetch.

        Raises:
            BrokerError: as `Caller.ask`, for the wait as well.
        """
        with self._links.lend(seconds + ANSWER_MARGIN_SECONDS) as link:
            try:
                link.open(with_id=True)
            except (RedisError, OSError) as error:
                return self._caller.judge([], error, 1)[0]
            wait = self._begin(link.client_id)
            if wait is None:
                return self._caller.judge(*_parts(link.exchange(fetch)), 1)[0]
            try:
                exchange = link.exchange((b"BZPOPMIN", *markers, f"{seconds:.3f}"), fetch)
            finally:
                self._end(wait)
        # An error of the wait that passes costs a wake-up, which is late then; one that
        # does not pass is raised here.
        self._caller.judge(exchange.replies[:1], exchange.broken, 1)
        return self._caller.judge(exchange.replies[1:], exchange.broken, 1)[0]

    def _begin(self, client_id: int) -> _Wait | None:
        with self._lock:
            if self._interrupted:
                self._interrupted = False
                return None
            wait = _Wait(client_id)
            self._waits.add(wait)
            return wait

    def _end(self, wait: _Wait) -> None:
        with self._lock:
            self._waits.discard(wait)
        wait.over.set()

    def interrupt(self) -> None:
        """End the waits in progress, or else let the next fetch not wait.

        Raises:
            BrokerError: the server refuses CLIENT UNBLOCK; waits end late then.
        """
        with self._lock:
            waits = list(self._waits)
            self._interrupted = not waits
        deadline = time.monotonic() + INTERRUPT_SECONDS
        for wait in waits:
            # The wait may not have begun on the server, so once may be too early.
            while not wait.over.is_set():
                [unblocked] = self._caller.ask((b"CLIENT", b"UNBLOCK", wait.client_id))
                if unblocked == 1:
                    break
                if time.monotonic() >= deadline:
                    return
                wait.over.wait(INTERRUPT_STEP_SECONDS)

    def close(self) -> None:
        """Give up the connections that nobody uses."""
        self._links.close()


def _parts(exchange: Any) -> tuple[Sequence[Any], Exception | None]:
    return exchange.replies, exchange.broken
