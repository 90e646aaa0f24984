"""What a fetch may still take."""

from __future__ import annotations

from spinach.const import SET_ASIDE_CHUNK

__all__ = ["FetchBudget"]


class FetchBudget:
    """Counts down over all queues of a fetch, in the order in which it names them."""

    __slots__ = ("bytes_left", "holds_left", "idle", "taken", "token", "want")

    def __init__(self, *, idle: int, extra: int, max_bytes: int, token: str) -> None:
        #: Jobs taken so far.
        self.taken = 0
        #: Number of jobs that are leased directly, for idle threads; the first ones.
        self.idle = idle
        #: Number of jobs that are taken at most.
        self.want = idle + extra
        self.bytes_left = max_bytes
        #: Number of jobs without a slot that may still be held.
        self.holds_left = SET_ASIDE_CHUNK
        #: Of all leases of this fetch. A job is leased once in a fetch.
        self.token = token
