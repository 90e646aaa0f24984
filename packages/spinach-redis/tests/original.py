"""What spinach 0.0.25 left on a server, as it was captured there; see golden/."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from redis import Redis

CAPTURED = Path(__file__).parent / "golden" / "original-0.0.25.json"

#: Of the worker that was killed.
WORKER = "722da81e-9fdd-46e0-a4b2-654d620babce"
NAMESPACE = "shop"


def restore(client: Redis, *, silent_seconds: int = 3600) -> None:
    """Put it all back.

    Args:
        client: of the server.
        silent_seconds: how long ago the killed worker proved its life.
    """
    seen = int(client.time()[0]) - silent_seconds
    for key, told in json.loads(CAPTURED.read_text(encoding="utf-8"))["keys"].items():
        value = told["value"]
        if key.endswith("/_all_brokers_hash"):
            value = {
                name: json.dumps(json.loads(v) | {"last_seen_at": seen})
                for name, v in value.items()
            }
        elif key.endswith("/_all_brokers_zset"):
            value = dict.fromkeys(value, seen)
        if told["type"] == "list":
            client.rpush(key, *value)
        elif told["type"] == "zset":
            client.zadd(key, value)
        else:
            client.hset(key, mapping=value)


def everything(client: Redis) -> dict[bytes, Any]:
    """All keys with their values, those of connections apart."""
    return {key: client.dump(key) for key in client.scan_iter() if b"producer" not in key}


def old_job(number: int, **changes: object) -> str:
    """A job as the older spinach stores it."""
    job = {
        "at": 1_700_000_000,
        "at_us": 0,
        "id": str(uuid.UUID(int=number)),
        "max_retries": number % 2,
        "queue": "spinach",
        "retries": 0,
        "status": 2,
        "task_args": [number],
        "task_kwargs": {},
        "task_name": "count",
    }
    return json.dumps(job | changes, sort_keys=True)
