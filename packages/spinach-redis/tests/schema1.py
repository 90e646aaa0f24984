"""A queue as a release of schema 1 left it, as it was captured there; see golden/.

Two worker processes were killed there, `doomed` (pid 4711 on app1) and `other` (pid 815 on
app2). `doomed` ran a job that may repeat, one that runs at most once and one of a limited task,
and had one more in its buffer; `other` ran one of the limited task. Jobs are held, parked under
three names, in the future, waiting for a retry, failed, brought back and ready.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

__all__ = ["CAPTURED", "QUEUE", "StoreClock", "captured", "jobs_by_place", "restore"]

CAPTURED = Path(__file__).parent / "golden" / "queue-v1.json"
QUEUE = "letters"


class StoreClock:
    """The store's clock: it stands at the instant of the capture, and then what tests add."""

    def __init__(self) -> None:
        self.passed_ms = 0

    def offset_ms(self) -> int:
        """What to add to the server's time."""
        noon_ms: int = json.loads(CAPTURED.read_text(encoding="utf-8"))["store's clock, ms"]
        return noon_ms + self.passed_ms - time.time_ns() // 1_000_000


def captured(namespace: str) -> dict[str, Any]:
    """Key → type and value, in a namespace."""
    text = CAPTURED.read_text(encoding="utf-8")
    text = text.replace("{shop/", f"{{{namespace}/").replace("{shop}", f"{{{namespace}}}")
    keys: dict[str, Any] = json.loads(text)["keys"]
    return keys


def restore(client: Any, namespace: str) -> None:
    """Put it all back; `client` may be of a Cluster."""
    for key, told in captured(namespace).items():
        value = told["value"]
        if told["type"] == "list":
            client.rpush(key, *value)
        elif told["type"] == "set":
            client.sadd(key, *value)
        elif told["type"] == "zset":
            client.zadd(key, value)
        elif told["type"] == "hash":
            client.hset(key, mapping=value)
        else:
            client.set(key, value)


def jobs_by_place(client: Any, namespace: str) -> dict[str, list[str]]:
    """Place of the store → stored ids, in their order; of either schema, and in between."""
    tag = f"{{{namespace}/{QUEUE}}}:"
    places: dict[str, list[str]] = {}
    for key in client.scan_iter(tag + "*"):
        name = key.decode().removeprefix(tag)
        kind = name.split(":")[0]
        if name == "ready" or (kind in ("held", "parked") and ":" in name):
            places.setdefault(name, []).extend(client.lrange(key, 0, -1))
        elif name in ("future", "failed"):
            places[name] = client.zrange(key, 0, -1)
        elif kind == "running":
            places[name] = sorted(client.hkeys(key))
        elif name in ("held", "parked"):
            numbered = [
                (*field.decode().rpartition("|")[::2], stored_id)
                for field, stored_id in client.hgetall(key).items()
                # The others tell where in a lane a job is.
                if b"|" in field
            ]
            for lane, number, stored_id in sorted(numbered, key=lambda e: (e[0], int(e[1]))):
                # What is in the lane stands before what is still in the list.
                places.setdefault(f"{name}:{lane}", []).insert(
                    sum(1 for e in numbered if e[0] == lane and int(e[1]) < int(number)), stored_id
                )
    return {place: [each.decode() for each in ids] for place, ids in places.items() if ids}
