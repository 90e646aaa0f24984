"""The quick way through enqueue.lua does what the long one does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from spinach_redis import keys, requests
from spinach_redis import scripts as script
from spinach_redis.keys import QueueKeys

from .servers import Server

#: A chunk with this due is ready as well, but the quick way does not take it.
LONG_AGO = 1

#: What a queue may be like: keys that are set, or are gone, after one job was enqueued.
STATES: dict[str, dict[str, str | None]] = {
    "as it was": {},
    "paused": {"paused": "1"},
    "marker taken": {"marker": None},
    "paused, marker taken": {"paused": "1", "marker": None},
    "session lost": {"producer:session": None},
    "all lost": dict.fromkeys(
        ("version", "jobs", "ready", "marker", "enqueued", "producer:session")
    ),
    "of another release": {"producer:session": None, "version": "other"},
}

#: Numbers that may come after the first one.
NUMBERS = (1, 2, 3)


TAG = "{single/q}:"


@pytest.fixture
def client(own_server: Server) -> Iterator[Any]:
    with own_server.client() as client:
        yield client


def change(client: Any, key: str, value: str | None) -> None:
    if value is None:
        client.delete(key)
    else:
        client.set(key, value)


def contents(client: Any) -> dict[str, Any]:
    """Everything that the queue's keys hold, and whether they expire."""
    found: dict[str, Any] = {}
    readers = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    for key in client.scan_iter(TAG + "*"):
        expires = client.pttl(key) > 0
        found[key.decode().removeprefix(TAG)] = (readers[client.type(key)](key), expires)
    return found


def enqueue(client: Any, names: QueueKeys, number: int, stored_id: str, due: int | str) -> Any:
    job = (stored_id, b"1|3|-|q|t\n[[],{},1700000000000]", due)
    call = requests.enqueue(names, "0", "session", number, job, life_ms=60_000)
    return client.execute_command(*call.command(with_text=True))


@pytest.mark.parametrize("again", [False, True], ids=["another job", "same job"])
@pytest.mark.parametrize("state", STATES)
def test_quick_way_does_what_the_long_one_does(client: Any, state: str, *, again: bool) -> None:
    for first, second in itertools.product(NUMBERS, NUMBERS):
        results = []
        for due in ("", LONG_AGO):
            client.flushdb()
            names = QueueKeys("single", "q")
            enqueue(client, names, 1, "1a", LONG_AGO)
            for key, value in STATES[state].items():
                change(client, TAG + key, value)
            answers = [
                enqueue(client, names, first, "1a" if again else "1b", due),
                enqueue(client, names, second, "1c", due),
            ]
            results.append((answers, contents(client)))
        assert results[0] == results[1], (state, first, second)


def test_quick_way_reads_the_keys_in_their_order() -> None:
    """It names them by position, before the functions that know their names."""
    text = script.ENQUEUE.parts[0].decode()
    names, positions = (
        [part.strip() for part in side.split(",")]
        for side in text.partition("  local jobs, ")[2].partition("\n")[0].split(" = ")
    )
    for name, position in zip(["jobs", *names], positions, strict=True):
        assert position == f"KEYS[{keys.ENQUEUE.index(name) + 1}]"
