"""A clock that was turned takes the server's time along."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spinach.clock import SystemClock
from spinach_redis import RedisBroker

from .jobs import QUEUE, deposit
from .servers import Server

HOUR_MS = 60 * 60 * 1000


class Turned(SystemClock):
    """An hour ahead of the machine's clock."""

    def offset_ms(self) -> int:
        return HOUR_MS


@pytest.mark.parametrize("made_of", ["a client", "a URL"])
@pytest.mark.parametrize(("clock", "is_due"), [(Turned(), True), (SystemClock(), False)])
def test_jobs_are_due_by_the_clock_that_was_turned(
    new_broker: Callable[..., RedisBroker],
    server: Server,
    made_of: str,
    clock: SystemClock,
    is_due: bool,
) -> None:
    with server.client() as client:
        broker = new_broker(client if made_of == "a client" else server.unix_url, clock=clock)
        seconds, _ = client.time()
    in_half_an_hour = deposit(due_ms=seconds * 1000 + HOUR_MS // 2)
    assert broker.enqueue([in_half_an_hour]) == [is_due]
    assert broker.counts([QUEUE])[0].ready == is_due
