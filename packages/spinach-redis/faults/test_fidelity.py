"""Arguments come back as they were sent, whatever their job went through."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ..tests.servers import Server
from .fleet import Fleet
from .program import digest
from .results import Record
from .scene import Scene, version_of

#: Of the text, in characters: with the rest a little less than the limit of 512 KiB.
SIZES = (0, 1, 1000, 65_536, 500_000)


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
    # The first one is in the hands of a process that dies.
    for size in SIZES[::-1]:
        filler = "".join(chr(0x21 + (7 * n + size) % 0x5D) for n in range(size))
        for tasks, at in ((("again", "stumble", "again.limited"), None), (("again",), soon)):
            for key in scene.schedule(*tasks, at=at, filler=filler):
                sent[key] = filler
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
        runs=1, jobs=len(sent), server=name, note=f"{again} jobs ran more than once",
    )  # fmt: skip
