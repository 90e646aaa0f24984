"""Worker processes, as operators see them: where they are, what they run, whether they live."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spinach.clock import from_ms
from spinach.record.ids import job_id_of

if TYPE_CHECKING:
    from datetime import datetime

    from spinach.brokers.calls import MemberLease, MemberState
    from spinach.operating.lookup import Lookup

__all__ = ["LeasedView", "WorkerView", "Workers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedView:
    """A job in the hands of a worker process."""

    id: uuid.UUID
    #: None where this release cannot read it, or too many jobs were looked at.
    task: str | None
    queue: str
    #: Number of the attempt, from 1.
    attempt: int
    #: It was fetched for the buffer of the process: it may wait there, or run by now. Else a
    #: thread was idle and started it at once.
    buffered: bool
    #: Aware, UTC: since when the process has it; None where a worker of an earlier release took it.
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """A worker process."""

    #: As the process told them. None: it did not.
    host: str | None
    pid: int | None
    version: str | None
    #: How many worker threads it has.
    threads: int | None
    #: The queues that it consumes, by name.
    queues: tuple[str, ...]
    #: Its last proof of life; one is due each ten seconds, with the default lease.
    last_seen: datetime
    #: False: its lease is over in a queue. It died, or cannot reach the broker; its jobs are
    #: taken back.
    alive: bool
    #: How many jobs it holds, and the first hundred of each queue: those that it runs first.
    leased: int
    jobs: tuple[LeasedView, ...]


class Workers:
    """The worker processes of a namespace; thread safe. Made by the engine: `engine.workers`."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def list(self, queue: str | None = None) -> list[WorkerView]:
        """The worker processes, by host and process id.

        Those that died are listed until their jobs are taken back.

        Args:
            queue: those that consume it, with its jobs alone; None: of all queues.

        Raises:
            InvalidName: bad queue name.
            UnknownQueue: no such queue.
            BrokerError: the broker could not answer.
        """
        lookup = self._lookup
        names = lookup.queues() if queue is None else [lookup.queue(queue)]
        processes: dict[str, list[tuple[str, MemberState]]] = {}
        for name in names:
            for state in lookup.broker.members(name).members:
                # A release that does not tell which process it is has one entry a queue.
                process = state.info.get("process", state.member)
                processes.setdefault(process, []).append((name, state))
        views = [_view(parts) for parts in processes.values()]
        return sorted(views, key=lambda view: (view.host or "", view.pid or 0, view.queues))


def _view(parts: list[tuple[str, MemberState]]) -> WorkerView:
    info = parts[0][1].info
    return WorkerView(
        host=info.get("host"),
        pid=_number(info.get("pid")),
        version=info.get("version"),
        threads=_number(info.get("threads")),
        queues=tuple(sorted({queue for queue, _ in parts})),
        last_seen=from_ms(max(state.seen_ms for _, state in parts)),
        alive=all(state.alive for _, state in parts),
        leased=sum(state.lease_count for _, state in parts),
        jobs=tuple(_leased(queue, lease) for queue, state in parts for lease in state.leases),
    )


def _leased(queue: str, lease: MemberLease) -> LeasedView:
    return LeasedView(
        id=uuid.UUID(job_id_of(lease.stored_id)),
        task=lease.task,
        queue=queue,
        attempt=lease.retries + 1,
        buffered=not lease.direct,
        since=None if lease.leased_ms is None else from_ms(lease.leased_ms),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
