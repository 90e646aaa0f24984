"""Arguments come back as they were sent, whatever their job went through."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from spinach.clock import to_ms
from spinach.const import DEFAULT_MAX_PAYLOAD_BYTES
from spinach.exc import PayloadTooLarge
from spinach.record.payload import complete_payload, encode_arguments

from ..tests.servers import Server
from .application import digest
from .fleet import Fleet
from .results import Record
from .scene import Scene, version_of

#: Of the text, in characters; None: as many as the limit of a job allows, to the byte.
SIZES = (0, 1, 1000, 65_536, None)
#: What the text is made of: characters of one to four bytes, some of which JSON escapes.
ALPHABETS = {"ASCII": "".join(map(chr, range(0x20, 0x7F))), "Unicode": 'ä€😀\u2028\x00"\\'}
LIMIT_BYTES = DEFAULT_MAX_PAYLOAD_BYTES


def encoded_bytes(task: str, key: str, filler: str) -> int:
    """Size of a job's arguments as the broker counts it."""
    arguments = encode_arguments((), {"key": key, "filler": filler}, task=task)
    payload = complete_payload(
        arguments, to_ms(datetime.now(UTC)), limit_bytes=2 * LIMIT_BYTES, task=task
    )
    return len(payload)


def text(alphabet: str, size: int | None, task: str, key: str) -> str:
    """A text of that length, or of as many bytes as a job of the task may have."""
    if size is not None:
        return (alphabet * (size // len(alphabet) + 1))[:size]
    empty = encoded_bytes(task, key, "")
    each = encoded_bytes(task, key, alphabet) - empty
    filler = alphabet * ((LIMIT_BYTES - empty) // each)
    return filler + "x" * (LIMIT_BYTES - encoded_bytes(task, key, filler))


def test_arguments_survive_retry_promotion_and_recovery(
    fleet: Fleet,
    new_scene: Callable[..., Scene],
    server: Server,
    rounds: Callable[..., int],
    record: Record,
) -> None:  # I18
    rounds(full=1, bounded=0)
    scene = new_scene(server.unix_url)
    sent: dict[str, str] = {}
    soon = datetime.now(UTC) + timedelta(seconds=1)
    jobs = (("again", None), ("stumble", None), ("again.limited", None), ("again", soon))
    number = 0
    # The first ones are in the hands of a process that dies.
    for size, alphabet in itertools.product(SIZES[::-1], ALPHABETS.values()):
        for task, at in jobs:
            filler = text(alphabet, size, task, f"{task}/{number}")
            [key] = scene.schedule(task, at=at, filler=filler)
            assert key == f"{task}/{number}"
            if size is None:
                assert encoded_bytes(task, key, filler) == LIMIT_BYTES
            sent[key] = filler
            number += 1
    for task, at in jobs:
        filler = text(ALPHABETS["ASCII"], None, task, f"{task}/{number}") + "x"
        with pytest.raises(PayloadTooLarge):
            scene.schedule(task, at=at, filler=filler)
        number += 1
    doomed = fleet.start(server.unix_url, scene.namespace, hold="effect", threads=3, ready=False)
    doomed.expect("held")
    doomed.expect("held")
    fleet.kill(doomed)
    worker = fleet.start(server.unix_url, scene.namespace)
    scene.drained(90)
    worker.stop()
    with server.client() as client:
        effects = scene.judge(client)
        name = version_of(client)
    for key, filler in sent.items():
        assert {end.detail for end in effects.ends[key]} == {digest(filler)}, (key, len(filler))
    again = sum(len(effects.starts[key]) > 1 for key in sent)
    assert again >= len(SIZES) + 2
    record(
        "arguments identical after retry, recovery and promotion, up to 512 KiB",
        runs=1, jobs=len(sent), server=name,
        note=f"{again} jobs ran more than once; 512 KiB to the byte, ASCII and other text",
    )  # fmt: skip
