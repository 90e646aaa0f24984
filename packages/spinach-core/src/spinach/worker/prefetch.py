"""How many jobs to keep at hand: enough that no thread waits, few enough that no
job does.

The buffer covers two fetches' worth of work, at least 5 ms and at most 50 ms of it::

    room = min(2000, floor(min(max(2·R, S), H) · T / D))

with R the duration of a fetch, D that of a job, T the threads that are likely to
take a job within H, 50 ms. S, 5 ms, is how long the thread that fetches may have to wait
for the interpreter, which another one keeps that long: CPython's switch interval.
"""

from __future__ import annotations

import msgspec

from spinach.const import BUFFER_HORIZON_SECONDS, MAX_BUFFER

__all__ = ["FetchSize", "Prefetch"]

#: Weight of the newest observation in the moving averages.
_JOB_WEIGHT = 0.1
_FETCH_WEIGHT = 0.2

#: S, in seconds. What the interpreter starts with, whatever it is set to later.
_SWITCH_SECONDS = 0.005

#: A fetch for idle threads waits this share of its own duration for others to become idle.
_GATHER_SHARE = 1 / 8
#: Over a near line that is not worth a sleep, and after a fetch that hung it would last.
_LEAST_GATHER_SECONDS = 0.0005
_MOST_GATHER_SECONDS = 0.01


class FetchSize(msgspec.Struct, frozen=True):
    """What a fetch should bring."""

    #: Threads that wait with nothing at hand.
    idle: int
    #: Jobs to keep beyond those.
    extra: int
    #: The buffer is low enough to be worth a call.
    low: bool
    #: Other threads are about to end their jobs. A call for those that wait should let this
    #: time pass first, in seconds; 0.0: there are none.
    gather: float = 0.0


class Prefetch:
    """Moving averages of job and fetch durations, in seconds; not thread safe.

    The in-flight jobs use it under their lock.
    """

    __slots__ = ("_fetch", "_job", "stalled")

    def __init__(self) -> None:
        self._job: float | None = None
        self._fetch: float | None = None
        #: No thread took a job for a horizon; nothing is buffered until a job ends.
        self.stalled = False

    def job_took(self, seconds: float) -> None:
        """A job ended."""
        self.stalled = False
        self._job = (
            seconds if self._job is None else self._job + _JOB_WEIGHT * (seconds - self._job)
        )

    def fetch_took(self, seconds: float) -> None:
        """A fetch that did not wait for a wake-up was answered."""
        self._fetch = (
            seconds
            if self._fetch is None
            else self._fetch + _FETCH_WEIGHT * (seconds - self._fetch)
        )

    def gather(self) -> float:
        """How long a fetch should wait for threads whose jobs end soon, in seconds.

        A thread that misses a fetch by a moment waits for all of it. Over a distant line two
        groups of threads would take turns for ever, each call made for half of them.
        """
        wait = min((self._fetch or 0.0) * _GATHER_SHARE, _MOST_GATHER_SECONDS)
        if self.stalled or self._job is None or self._job > wait or wait < _LEAST_GATHER_SECONDS:
            return 0.0
        return wait

    def room(self, threads: int) -> int:
        """Jobs that the buffer should hold.

        Args:
            threads: that are free, or finished a job within the horizon.
        """
        if self.stalled or self._job is None or not self._fetch:
            return 0
        ahead = min(max(2.0 * self._fetch, _SWITCH_SECONDS), BUFFER_HORIZON_SECONDS)
        if self._job * MAX_BUFFER <= ahead * threads:
            return MAX_BUFFER
        return int(ahead * threads / self._job)
