"""A fetch over a distant line waits for threads that are about to be idle."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from spinach.worker import subscriber
from spinach.worker.prefetch import FetchSize
from spinach.worker.subscriber import Subscriber


class Rig:
    """A subscriber whose fetches bring jobs for idle threads only."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept: list[float] = []
        self.fetched: list[int] = []
        self.idle = 1
        self.gather = 0.002
        fetching: Any = SimpleNamespace(backlog=True, fetch=self._fetch, count_in=30.0)
        in_flight: Any = SimpleNamespace(fetch_size=self._fetch_size)
        parts: Any = SimpleNamespace(monotonic=lambda: 0.0, set=lambda: None)
        self.subscriber = Subscriber(
            parts, fetching, in_flight, parts, parts,
            stop_when_empty=False, wake_arbiter=lambda: None,
        )  # fmt: skip
        monkeypatch.setattr(subscriber, "time", SimpleNamespace(sleep=self._sleep))

    def _fetch_size(self) -> FetchSize:
        return FetchSize(self.idle, 5, low=True, gather=self.gather)

    def _sleep(self, seconds: float) -> None:
        # Meanwhile the others end.
        self.slept.append(seconds)
        self.idle = 10

    def _fetch(self, *, idle: int, extra: int) -> int:
        self.fetched.append(idle)
        return idle

    def fetch(self) -> None:
        self.subscriber._fetch()

    def stop(self) -> None:
        self.subscriber.close()


def test_threads_that_end_soon_share_a_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    # Not before a fetch has shown that nothing can be buffered.
    rig.fetch()
    assert (rig.fetched, rig.slept) == ([1], [])
    rig.fetch()
    assert (rig.fetched, rig.slept) == ([1, 10], [0.002])


def test_fetch_does_not_wait_where_none_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.gather = 0.0
    rig.fetch()
    rig.fetch()
    assert (rig.fetched, rig.slept) == ([1, 1], [])


def test_stop_in_that_moment_fetches_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.fetch()
    monkeypatch.setattr(subscriber, "time", SimpleNamespace(sleep=lambda _: rig.stop()))
    rig.fetch()
    assert rig.fetched == [1]
