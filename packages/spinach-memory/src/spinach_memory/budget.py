"""What one fetch may still take."""

from __future__ import annotations

from spinach.const import SET_ASIDE_CHUNK

__all__ = ["FetchBudget"]


class FetchBudget:
    """Counts down over all the queues of a fetch, in the order of its turns."""

    __slots__ = ("bytes_left", "idle", "set_aside", "taken", "token", "want")

    def __init__(self, *, idle: int, extra: int, max_bytes: int, token: str) -> None:
        #: Jobs taken so far.
        self.taken = 0
        #: Of all jobs, so many are leased directly.
        self.idle = idle
        self.want = idle + extra
        self.bytes_left = max_bytes
        #: Jobs without a slot that may still be set aside.
        self.set_aside = SET_ASIDE_CHUNK
        #: Names the leases of this fetch; a job is leased once in a fetch.
        self.token = token
