"""The names of all keys. Nothing else in this package, Lua included, makes one up.

All keys of a queue share the hash tag `{namespace/queue}`, so that they live on one
node of a Cluster. None is named after a task: what belongs to a task has its name in the
value.

=================  ======  ======================================================
after the tag      type    holds
=================  ======  ======================================================
version            string  schema of the queue, `SCHEMA`
jobs               hash    stored id → record
ready              list    stored ids, first in first out
future             zset    stored id → due, ms; a fraction keeps equal instants in order
retrying           set     the ids of `future` that wait for a retry
attempts           hash    stored id → retries, losses, direct-only
members            zset    member → end of its lease, ms
seq                hash    member → last number of its sequenced calls
info               hash    member → lease, periodic tasks, description, limits
guard              hash    signs of life, when the dead may be named, what is kept, sizes
leases             string  leases ever given; makes tokens
running:<member>   hash    stored id → token
cancelling         hash    stored id of a leased job that is to be cancelled → member
progress           hash    stored id of a leased job → done, total, note
cancelled          set     ids in `ready` that are no jobs any more
marker             zset    wake-up, taken with BZPOPMIN
timekeeper         string  end of office, and the member that holds it
producer:<session> string  last number applied; expires
failed             zset    stored id → instant it failed, ms
errors             hash    stored id → reason
failed-bytes       string  size of the records and reasons of failed jobs
taken:<call>       string  what a call was answered that took failed jobs out; expires
limits             hash    limited task → limit that an operator set, or nothing
declared           zset    task|limit|member, of each limit that a member declares
slots              zset    task|stored id, of each slot that is occupied
held               hash    task|number → stored id of a job that waits for a slot, and back
held-ends          hash    task → first and last number in `held`, holes between them
brought            set     jobs of limited tasks that are back in `ready`
parked             hash    park|number → stored id of a job that was set aside, and back
parked-ends        hash    park → first and last number in `parked`, holes between them
periodic           zset    task → next due, ms
periodic-info      hash    task → interval, last declared
periodic-paused    hash    task that an operator paused → when it was due, ms
results            hash    stored id → how the job ended, kept for those who ask
results-until      zset    stored id → instant from which that is not kept any more, ms
awaited            zset    stored id → instant until which someone waits for its end, ms
result:<job>       list    end of the job of that stored id that was awaited; expires in seconds
enqueued           string  jobs ever accepted
flow               hash    jobs revived and purged, and samples of how many came and ended
paused             string  while it exists, nothing is handed out
=================  ======  ======================================================

`{namespace}:queues` is the set of queues that exist.

Schema 1 had a key for each task: `slots:<task>` (set), `held:<task>` (list), `limit:<task>`
(zset) and `parked:<task>` (list), and `parks` (set), which named the tasks with parked jobs.
All else was as it is. `spinach_redis.conversion` turns it into schema 2.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BEAT",
    "CANCEL",
    "COUNTS",
    "ENDS",
    "ENQUEUE",
    "FAILED_FIND",
    "FAILED_PAGE",
    "FETCH",
    "FIND",
    "FIRE",
    "JOIN",
    "KEPT",
    "LEAVE",
    "LIMIT",
    "LIMITS",
    "LIST",
    "PAUSE",
    "PERIODIC",
    "PURGE",
    "RECONCILE",
    "RECOVER",
    "REPORT",
    "REVIVE",
    "REVIVE_ALL",
    "SCHEMA",
    "SURVEY",
    "SUSPEND",
    "TICK",
    "WORKERS",
    "QueueKeys",
    "queues_key",
]

#: Version of everything above; a process refuses a queue that has another one.
SCHEMA: Final = b"2"

# The keys that each script takes first, in its order; a test compares them with the
# scripts.
# fmt: off
ENQUEUE: Final = (
    "version", "jobs", "ready", "future", "timekeeper", "marker", "paused", "enqueued",
)
FIRE: Final = (
    "jobs", "ready", "future", "timekeeper", "marker", "paused", "enqueued", "periodic",
    "periodic-info", "periodic-paused", "guard", "members", "info",
)
JOIN: Final = (
    "version", "members", "seq", "info", "guard", "limits", "declared", "slots", "held",
    "held-ends", "brought", "jobs", "ready", "future", "timekeeper", "marker", "paused",
    "periodic", "periodic-info", "periodic-paused", "failed", "enqueued", "flow",
)
BEAT: Final = (
    "members", "seq", "info", "guard", "cancelling", "progress", "results", "results-until",
    "awaited", "jobs", "failed", "enqueued", "flow",
)
FETCH: Final = (
    "jobs", "ready", "future", "attempts", "members", "seq", "info", "guard", "leases",
    "limits", "declared", "slots", "held", "held-ends", "brought", "parked", "parked-ends",
    "cancelled", "timekeeper", "marker", "paused",
)
RECONCILE: Final = ("jobs", "attempts", "members", "seq", "info", "guard")
LEAVE: Final = (
    "ready", "future", "timekeeper", "marker", "paused", "members", "seq", "info", "guard",
    "limits", "declared", "slots", "held", "held-ends", "brought", "periodic-info",
)
REPORT: Final = (
    "jobs", "ready", "future", "retrying", "attempts", "timekeeper", "marker", "paused",
    "failed", "errors", "failed-bytes", "limits", "declared", "slots", "held", "held-ends",
    "brought", "parked", "parked-ends", "members", "info", "guard", "cancelling", "progress",
)
#: What a report takes as well, behind the leases of the members, where ends are to be kept.
KEPT: Final = ("results", "results-until", "awaited")
TICK: Final = (
    "ready", "future", "retrying", "timekeeper", "marker", "paused", "members", "info",
    "guard", "periodic", "periodic-info", "periodic-paused",
)
RECOVER: Final = (
    "jobs", "ready", "future", "retrying", "attempts", "timekeeper", "marker", "paused",
    "failed", "errors", "failed-bytes", "limits", "declared", "slots", "held", "held-ends",
    "brought", "members", "seq", "info", "guard", "periodic-info", "cancelling", "progress",
    "results", "results-until", "awaited",
)
COUNTS: Final = (
    "version", "ready", "future", "retrying", "members", "seq", "info", "held-ends",
    "parked-ends", "jobs", "attempts", "failed", "errors", "failed-bytes", "enqueued", "periodic",
    "cancelled", "guard",
)
FIND: Final = (
    "version", "jobs", "ready", "future", "attempts", "members", "info", "held", "held-ends",
    "parked", "parked-ends", "failed", "errors", "cancelled", "cancelling", "progress", "guard",
)
LIST: Final = FIND
CANCEL: Final = (
    "version", "jobs", "ready", "future", "retrying", "attempts", "timekeeper", "marker", "paused",
    "limits", "declared", "slots", "held", "held-ends", "brought", "parked", "parked-ends",
    "failed", "members", "guard", "cancelled", "cancelling", "results", "results-until", "awaited",
)
FAILED_FIND: Final = ("jobs", "attempts", "failed", "errors", "guard")
FAILED_PAGE: Final = ("jobs", "attempts", "failed", "errors", "guard")
REVIVE: Final = (
    "jobs", "ready", "attempts", "marker", "paused", "failed", "errors", "failed-bytes", "guard",
    "results", "results-until", "flow",
)
REVIVE_ALL: Final = (
    "jobs", "ready", "attempts", "marker", "paused", "failed", "errors", "failed-bytes", "guard",
    "results", "results-until", "flow",
)
ENDS: Final = ("jobs", "failed", "results", "results-until", "awaited")
SURVEY: Final = ("version", "jobs", "ready", "paused", "failed", "enqueued", "flow")
PAUSE: Final = ("version", "ready", "future", "timekeeper", "marker", "paused")
PURGE: Final = (
    "version", "jobs", "ready", "future", "retrying", "attempts", "timekeeper", "marker",
    "paused", "failed", "errors", "failed-bytes", "limits", "declared", "slots", "held",
    "held-ends", "brought", "parked", "parked-ends", "flow", "cancelled", "guard",
)
WORKERS: Final = ("version", "members", "seq", "info", "jobs", "attempts")
LIMIT: Final = (
    "version", "members", "jobs", "limits", "declared", "slots", "held", "held-ends",
    "brought", "ready", "future", "timekeeper", "marker", "paused",
)
LIMITS: Final = ("version", "limits", "declared", "slots", "held", "held-ends")
PERIODIC: Final = ("version", "periodic", "periodic-info", "periodic-paused")
SUSPEND: Final = ("version", "periodic", "periodic-info", "periodic-paused")
# fmt: on


def queues_key(namespace: str) -> bytes:
    """The set of a namespace's queues."""
    return f"{{{namespace}}}:queues".encode()


class QueueKeys:
    """The keys of one queue; safe to share between threads."""

    __slots__ = ("_fixed", "_tag", "marker")

    def __init__(self, namespace: str, queue: str) -> None:
        self._tag = f"{{{namespace}/{queue}}}:".encode()
        # Filled at the first call; two threads that fill it at once write the same.
        self._fixed: dict[tuple[str, ...], tuple[bytes, ...]] = {}
        self.marker = self._tag + b"marker"

    def fixed(self, names: tuple[str, ...]) -> tuple[bytes, ...]:
        """The keys that every queue has, for one of the lists above."""
        keys = self._fixed.get(names)
        if keys is None:
            keys = self._fixed[names] = tuple(self._tag + name.encode() for name in names)
        return keys

    def producer(self, session: str) -> bytes:
        """Last number of a producer's session."""
        return self._tag + b"producer:" + session.encode()

    def taken(self, call: str) -> bytes:
        """What a call was answered that took failed jobs out."""
        return self._tag + b"taken:" + call.encode()

    def running(self, member: str) -> bytes:
        """Leases of a member."""
        return self._tag + b"running:" + member.encode()

    def result(self, stored_id: str) -> bytes:
        """Where those who wait for the end of a job find it."""
        return self._tag + b"result:" + stored_id.encode()

    def of_schema_1(self, kind: str, task: str) -> bytes:
        """A key that schema 1 had for a task: `slots`, `held`, `limit` or `parked`."""
        return self._tag + f"{kind}:{task}".encode()
