"""Fetches that wait, for tests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from spinach.brokers.calls import FetchTurn
from spinach.const import MAX_FETCH_BYTES

from .servers import until

if TYPE_CHECKING:
    from spinach.brokers.calls import FetchReply

    from .jobs import Member
    from .servers import Server

__all__ = ["LONG_SECONDS", "PROMPT_SECONDS", "WaitingFetch", "fetch_of", "until_blocked"]

LONG_SECONDS = 1000.0
PROMPT_SECONDS = 10.0


def fetch_of(
    *members: Member, idle: int = 1, extra: int = 0, block_seconds: float = 0.0
) -> list[FetchReply]:
    """One fetch of one process over several queues."""
    turns = [member.turn() for member in members]
    return members[0].broker.fetch(
        [FetchTurn(turn.queue, turn.member, turn.number) for turn in turns],
        idle=idle,
        extra=extra,
        max_bytes=MAX_FETCH_BYTES,
        block_seconds=block_seconds,
    )


class WaitingFetch:
    """A fetch that waits on a thread of its own."""

    def __init__(self, *members: Member, seconds: float = LONG_SECONDS) -> None:
        self.replies: list[FetchReply] = []
        self._thread = threading.Thread(
            target=lambda: self.replies.extend(fetch_of(*members, block_seconds=seconds)),
            daemon=True,
        )
        self._thread.start()

    def end(self) -> list[FetchReply]:
        """What each queue answered, soon."""
        self._thread.join(PROMPT_SECONDS)
        assert not self._thread.is_alive()
        return self.replies


def until_blocked(*servers: Server, count: int = 1) -> None:
    """Wait until `count` connections wait on these servers."""
    until(lambda: sum(map(blocked, servers)) >= count, f"{count} waits", PROMPT_SECONDS)


def blocked(server: Server) -> int:
    """How many connections wait."""
    with server.client() as client:
        return int(client.info("clients")["blocked_clients"])
