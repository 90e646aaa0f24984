"""When a call of a client has to be over."""

from __future__ import annotations

from typing import Final

from spinach.support.realtime import time

__all__ = ["LEAST_WAIT_SECONDS", "Deadline"]

#: A wait may end this much after a deadline, in seconds, where the socket would have to be told
#: otherwise: that is a system call, which most calls are to go without.
SLACK_SECONDS: Final = 0.05

#: What has arrived already is read even when the deadline is over, in seconds. 0 would be no
#: wait at all.
LEAST_WAIT_SECONDS: Final = 0.01


class Deadline:
    """The end of one call of a client, on the clock of `time.monotonic`; for one thread.

    Args:
        seconds: how long it may take from now on.
        renews: whether it may take as long again after each part that went through.
    """

    __slots__ = ("_renews", "end", "seconds")

    def __init__(self, seconds: float, *, renews: bool = False) -> None:
        self.seconds = seconds
        self._renews = renews
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then; negative when it is over."""
        return self.end - time.monotonic()

    def limit(self, seconds: float) -> float:
        """The longest wait for something that may take `seconds` by itself."""
        left = self.end - time.monotonic()
        return seconds if left > seconds - SLACK_SECONDS else max(left, LEAST_WAIT_SECONDS)

    def share(self, of: int) -> Deadline:
        """That of the next of `of` steps, which leaves as much time to each of the others."""
        return Deadline(self.left() / of)

    def progressed(self) -> None:
        """A part went through."""
        if self._renews:
            self.end = time.monotonic() + self.seconds
