"""A WSGI application that schedules a job; whose workers run it is not its business."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from tasks import tasks, write_welcome

from spinach import Engine, MemoryBroker
from spinach.brokers.base import Broker


def make_broker() -> Broker:
    if url := os.environ.get("REDIS_URL"):
        from spinach import RedisBroker

        return RedisBroker.from_url(url)
    return MemoryBroker()


spin = Engine(make_broker(), namespace="web")
spin.attach_tasks(tasks)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    user = environ["PATH_INFO"].strip("/")
    job = spin.schedule(write_welcome, user)
    start_response("202 Accepted", [("Content-Type", "text/plain")])
    return [f"Job {job.id} will welcome {user}\n".encode()]
