"""What the older `spinach` (0.0.25 and before) keeps on a server, and which workers still use it.

Its keys begin with the namespace and a slash, without braces, so they meet none of
`spinach_redis.keys`. Workers look for them once, since they pass its jobs over:

=============================  ======  ================================================
after `<namespace>/`           type    holds
=============================  ======  ================================================
<queue>                        list    jobs as JSON, first in first out
_future-jobs                   zset    jobs as JSON → due, s
_running-jobs-on-broker-<id>   hash    id → job as JSON
_periodic_tasks_hash           hash    task → its settings as JSON
_periodic_tasks_queue          zset    task → next due, s
_all_brokers_hash              hash    id of a worker process → JSON with its last heartbeat
_all_brokers_zset              zset    id of a worker process → last heartbeat, s
_max_concurrency               hash    limited task → limit
_current_concurrency           hash    limited task → jobs that run
=============================  ======  ================================================
"""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from spinach.clock import from_ms
from spinach.const import MAX_RETRIES_LIMIT, MIN_PERIODICITY
from spinach.exc import SpinachError
from spinach.record.header import header_line
from spinach.record.ids import StoredId, stored_id
from spinach.record.names import check_name
from spinach.record.payload import complete_payload, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "ALIVE_SECONDS",
    "OldJob",
    "OldKeys",
    "OldWorker",
    "Reader",
    "Unmovable",
    "pairs",
    "read_workers",
    "task_of",
]

#: Its workers prove their life each minute, and later while they wait for a slow server. One
#: that was silent for longer than this is taken for dead here.
ALIVE_SECONDS: Final = 180

_MS: Final = timedelta(milliseconds=1)


class OldKeys:
    """The keys of one namespace of the older spinach."""

    def __init__(self, namespace: str) -> None:
        self.prefix = f"{namespace}/"
        self.future = self.of("_future-jobs")
        self.periodic = self.of("_periodic_tasks_hash")
        self.periodic_due = self.of("_periodic_tasks_queue")
        self.workers = self.of("_all_brokers_hash")
        self.heartbeats = self.of("_all_brokers_zset")
        self.limits = self.of("_max_concurrency")
        self.slots = self.of("_current_concurrency")

    def of(self, name: str) -> bytes:
        """A queue, or another name."""
        return f"{self.prefix}{name}".encode()

    def running(self, worker: str) -> bytes:
        """Jobs in the hands of a worker process."""
        return self.of(f"_running-jobs-on-broker-{worker}")


@dataclass(frozen=True, slots=True)
class OldWorker:
    """A worker process of the older spinach."""

    id: str
    host: str
    #: Seconds since its last heartbeat.
    silent_seconds: float

    @property
    def alive(self) -> bool:
        """Whether it may still run jobs."""
        return self.silent_seconds <= ALIVE_SECONDS

    def __str__(self) -> str:
        return f"{self.host} ({self.id}), last seen {max(0.0, self.silent_seconds):.0f} s ago"


def pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Fields and values of a hash, or members and scores, as a server answers them."""
    return list(zip(flat[::2], flat[1::2], strict=True))


def read_workers(entries: Sequence[bytes], now_seconds: float) -> list[OldWorker]:
    """The worker processes.

    Args:
        entries: of the hash that lists them, flat. A worker whose entry cannot be read may run
            jobs, and counts as alive.
        now_seconds: the server's clock.
    """
    workers = []
    for name, text in pairs(entries):
        try:
            told = json.loads(text)
            silent = now_seconds - float(told["last_seen_at"])
            workers.append(OldWorker(_text(told["id"]), _text(told.get("name", "?")), silent))
        except (ValueError, TypeError, KeyError, AttributeError):
            workers.append(
                OldWorker(_text(name.decode("utf-8", "replace")), "an unknown host", 0.0)
            )
    return workers


class Unmovable(Exception):
    """A job stays where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldJob:
    """A job of the older spinach, in this one's words."""

    task: str
    queue: str
    stored_id: StoredId
    record: bytes
    at_ms: int
    max_retries: int
    retries: int


class Reader:
    """Reads what the older spinach wrote.

    Args:
        tasks: old names → new ones.
        queues: old names → new ones.
        max_payload_bytes: that a job may have.
    """

    def __init__(
        self, tasks: Mapping[str, str], queues: Mapping[str, str], max_payload_bytes: int
    ) -> None:
        self._tasks = tasks
        self._queues = queues
        self._max_payload_bytes = max_payload_bytes

    def _names(self, task: object, queue: object) -> tuple[str, str]:
        """What a task and its queue are called from now on.

        Raises:
            Unmovable: not allowed.
        """
        try:
            return (
                check_name(self._tasks.get(str(task), task), "task"),
                check_name(self._queues.get(str(queue), queue), "queue"),
            )
        except SpinachError as exc:
            raise Unmovable(
                f"{exc} Say what it is called now: tasks= or queues= (--task or --queue OLD=NEW)."
            ) from exc

    def job(self, item: bytes) -> OldJob:
        """A job.

        Raises:
            Unmovable: it cannot be read, or could not be stored.
        """
        told = _told(item)
        task, queue = self._names(told.get("task_name"), told.get("queue"))
        try:
            job_id = str(uuid.UUID(told["id"]))
            # Times are whole numbers there, seconds and microseconds.
            at_ms = int(told["at"]) * 1000 + math.ceil(told["at_us"] / 1000)
            from_ms(at_ms)  # else the job could not be shown
            max_retries = min(max(0, int(told["max_retries"])), MAX_RETRIES_LIMIT)
            retries = min(max(0, int(told["retries"])), max_retries)
            # Lua, which rewrote it there, does not tell an empty list from an empty dict.
            args, kwargs = list(told["task_args"]), dict(told["task_kwargs"])
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise _damaged(exc) from exc
        try:
            payload = complete_payload(
                encode_arguments(args, kwargs, task=task),
                at_ms,
                limit_bytes=self._max_payload_bytes,
                task=task,
            )
        except SpinachError as exc:
            raise Unmovable(str(exc)) from exc
        header = header_line(max_retries=max_retries, queue=queue, task=task)
        return OldJob(
            task=task,
            queue=queue,
            stored_id=stored_id(job_id, max_retries),
            record=header + payload,
            at_ms=at_ms,
            max_retries=max_retries,
            retries=retries,
        )

    def periodic(self, name: str, item: bytes) -> tuple[str, str, int]:
        """Task, queue and period in ms of a periodic task.

        Raises:
            Unmovable: as `job`.
        """
        told = _told(item)
        task, queue = self._names(name, told.get("queue"))
        try:
            period_ms = int(told["periodicity"]) * 1000
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise _damaged(exc) from exc
        if period_ms < MIN_PERIODICITY // _MS:
            raise Unmovable("its period is less than a second")
        return task, queue, period_ms


def _damaged(exc: Exception) -> Unmovable:
    return Unmovable(f"it is damaged ({type(exc).__name__}: {exc})")


def _told(item: bytes) -> dict[str, Any]:
    try:
        told = json.loads(item)
    except (ValueError, RecursionError) as exc:
        raise Unmovable(f"it is no JSON ({type(exc).__name__})") from exc
    if not isinstance(told, dict):
        raise Unmovable("it is no JSON object")
    return told


def task_of(item: bytes) -> str:
    """The task that a job names; empty where it names none."""
    try:
        return _text(_told(item).get("task_name", ""))
    except Unmovable:
        return ""


def _text(value: object) -> str:
    """As text that can be stored and printed: JSON may hold lone surrogates."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
