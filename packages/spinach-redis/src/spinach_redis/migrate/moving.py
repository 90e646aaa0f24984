"""Moving what the older spinach left on a server: one job after the other, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from spinach.clock import from_ms
from spinach.const import WORKER_LOST
from spinach.exc import WorkersRunning
from spinach.outcome import Failure
from spinach_redis import keys
from spinach_redis.failure import encode_failure
from spinach_redis.migrate.older import (
    OldJob,
    OldKeys,
    OldWorker,
    Reader,
    Unmovable,
    pairs,
    read_workers,
    task_of,
)
from spinach_redis.producer import version_error
from spinach_redis.requests import failed_bounds
from spinach_redis.scripts import Script
from spinach_redis.transport.command import Call, Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach_redis.client.client import RedisClient

__all__ = ["Left", "Migration", "Move"]

_ADOPT: Final = Script(
    "migrate/adopt", "record", "wake", "deposit", "schema", "retention", "failed"
)
_INHERIT: Final = Script("migrate/inherit", "schema")

#: Of a queue, in the order of the scripts.
_ADOPT_KEYS: Final = (
    *("version", "jobs", "ready", "future", "retrying", "attempts", "timekeeper", "marker"),
    *("paused", "enqueued", "failed", "errors", "failed-bytes", "guard"),
)
_INHERIT_KEYS: Final = ("version", "periodic", "periodic-info")

#: Jobs that are read and moved at once, and the bytes from which on they become fewer.
_MOST_AT_ONCE: Final = 100
_MANY_BYTES: Final = 512 * 1024

#: Keys that one step of a scan looks at.
_SCAN_COUNT: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Jobs, or a periodic task, that stay where they are, and why."""

    #: As the older spinach calls it; empty where that cannot be read.
    task: str
    #: Key of the older spinach.
    place: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """What became of the jobs of one namespace; by task, as it is called now."""

    #: Jobs that were queued.
    queued: Mapping[str, int]
    #: Jobs for the future, and those that waited to be retried.
    future: Mapping[str, int]
    #: Jobs whose worker died, and that run again.
    recovered: Mapping[str, int]
    #: Jobs whose worker died, and that are in the failed store.
    failed: Mapping[str, int]
    #: Periodic tasks whose next instant was handed over.
    periodic: tuple[str, ...]
    left: tuple[Left, ...]
    #: Nothing was moved; these are the numbers of what would be.
    dry_run: bool

    @property
    def moved(self) -> int:
        """Jobs in all."""
        places = (self.queued, self.future, self.recovered, self.failed)
        return sum(sum(place.values()) for place in places)

    def __str__(self) -> str:
        """A report of some lines, for people."""
        lines = [f"Jobs {'that would be ' if self.dry_run else ''}moved: {self.moved}"]
        for what, place in (
            ("queued", self.queued),
            ("for the future or to be retried", self.future),
            ("to run again, their worker died", self.recovered),
            ("into the failed store, their worker died", self.failed),
        ):
            lines += (f"  {task}: {count} {what}" for task, count in sorted(place.items()))
        lines += (f"  {task}: periodic, keeps its next instant" for task in self.periodic)
        if self.left:
            lines.append(f"Left: {sum(each.count for each in self.left)}")
        lines += (
            f"  {each.task or '(unknown task)'}: {each.count} in {each.place}: {each.reason}"
            for each in self.left
        )
        return "\n".join(lines)


@dataclass(slots=True)
class _Tally:
    """What happened so far."""

    queued: Counter[str] = field(default_factory=Counter)
    future: Counter[str] = field(default_factory=Counter)
    recovered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    periodic: list[str] = field(default_factory=list)
    left: Counter[tuple[str, str, str]] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Fate:
    """Where a job goes, and where it counts."""

    counter: Counter[str]
    #: In ms since 1970; empty is now.
    due: bytes
    retries: int
    #: Workers lost.
    losses: int = 0
    #: Why it failed; empty: it did not.
    reason: bytes = b""


_Decide = Callable[[OldJob], _Fate]
_Part = bytes | str


class Move:
    """One run, by one thread; see `spinach_redis.migrate.migrate`.

    Args:
        client: of the server that both use.
        namespace: of the older engine.
        into: of the new engine.
        reader: of what the older one wrote.
        dry_run: move nothing.
    """

    def __init__(
        self, client: RedisClient, namespace: str, into: str, reader: Reader, *, dry_run: bool
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._old = OldKeys(namespace)
        self._into = into
        self._reader = reader
        self._dry_run = dry_run
        self._tally = _Tally()
        self._listed: set[str] = set()

    def close(self) -> None:
        """Give up the connection."""
        self._client.close()

    def run(self, *, workers_stopped: bool) -> Migration:
        """Move everything; see `migrate`."""
        workers = self._workers()
        alive = [worker for worker in workers.values() if worker.alive]
        if alive and not (workers_stopped or self._dry_run):
            raise WorkersRunning(
                f"Workers of the older spinach may still run in namespace {self._namespace}: "
                f"{'; '.join(map(str, alive))}. Stop them, and run this again. If they were "
                "killed, wait three minutes or pass workers_stopped=True (--workers-stopped)."
            )
        queues, running = self._places()
        for place in running:
            worker = workers.get(place.removeprefix(self._old.running("")))
            if workers_stopped or worker is None or not worker.alive:
                self._move_running(place, worker)
        for place in queues:
            self._move_all(place, b"LLEN", b"LRANGE", self._queued)
        self._move_all(self._old.future, b"ZCARD", b"ZRANGE", self._future)
        self._move_periodic()
        if not self._dry_run:
            self._tidy(workers)
        return self._report()

    # -- what is there -----------------------------------------------------

    def _ask(self, *parts: _Part) -> Any:
        """The answer to a command.

        Raises:
            BrokerError: there is none, or it is an error.
        """
        return self._answer(Command(*parts, key=self._old.future))

    def _answer(self, request: Call | Command) -> Any:
        [answer] = self._client.ask(request)
        if answer.error is not None:
            raise answer.error
        return answer.reply

    def _workers(self) -> dict[bytes, OldWorker]:
        now_seconds = float(self._ask(b"TIME")[0])
        entries = self._ask(b"HGETALL", self._old.workers)
        return {each.id.encode(): each for each in read_workers(entries, now_seconds)}

    def _places(self) -> tuple[list[bytes], list[bytes]]:
        """The keys of its queues, and of the jobs in the hands of its workers."""
        own = self._old.of("_")
        queues = (key for key in self._scan(self._old.prefix, b"list") if not key.startswith(own))
        return sorted(queues), sorted(self._scan(self._old.running("").decode(), b"hash"))

    def _scan(self, prefix: str, kind: bytes) -> set[bytes]:
        """The keys of a type that begin so; the server looks at all its keys, in many steps."""
        escaped = "".join(f"\\{c}" if c in "*?[]\\^" else c for c in prefix)
        found: set[bytes] = set()
        cursor = b"0"
        while True:
            cursor, names = self._ask(
                b"SCAN",
                cursor,
                b"MATCH",
                f"{escaped}*",
                b"COUNT",
                b"%d" % _SCAN_COUNT,
                b"TYPE",
                kind,
            )
            found.update(names)
            if cursor == b"0":
                return found

    # -- moving ------------------------------------------------------------

    def _move_all(self, place: bytes, count: bytes, read: bytes, decide: _Decide) -> None:
        """Move what a list or sorted set holds now; what comes later is for the next run."""
        unread = self._ask(count, place)
        first, portion = 0, 1
        while unread > 0:
            last = first + min(portion, unread) - 1
            items = self._ask(read, place, b"%d" % first, b"%d" % last)
            if not items:
                return
            gone = self._take(place, [(b"", item) for item in items], decide)
            # Those that stay are passed over.
            first += len(items) if self._dry_run else len(items) - gone
            unread -= len(items)
            large = sum(map(len, items)) > _MANY_BYTES
            portion = max(1, portion // 2) if large else min(2 * portion, _MOST_AT_ONCE)

    def _move_running(self, place: bytes, worker: OldWorker | None) -> None:
        """Move the jobs of one worker process; they are as many as it had threads."""
        host = "an unknown host" if worker is None else worker.host

        def lost(job: OldJob) -> _Fate:
            return self._lost(job, host)

        entries = pairs(self._ask(b"HGETALL", place))
        for at in range(0, len(entries), _MOST_AT_ONCE):
            self._take(place, entries[at : at + _MOST_AT_ONCE], lost)

    def _take(self, place: bytes, entries: Sequence[tuple[bytes, bytes]], decide: _Decide) -> int:
        """Move some jobs, given by field, if the place has fields, and JSON.

        Returns:
            How many of them are gone from their place.
        """
        by_queue: dict[str, list[tuple[OldJob, _Fate, bytes, bytes]]] = {}
        for name, item in entries:
            try:
                job = self._reader.job(item)
            except Unmovable as exc:
                self._leave(task_of(item), place, str(exc))
                continue
            by_queue.setdefault(job.queue, []).append((job, decide(job), name, item))
        gone = 0
        for queue, group in by_queue.items():
            args = [
                (
                    item,
                    name,
                    job.stored_id,
                    job.record,
                    fate.due,
                    b"%d" % fate.retries,
                    b"%d" % fate.losses,
                    fate.reason,
                )
                for job, fate, name, item in group
            ]
            flags = self._adopt(place, queue, args)
            for (job, fate, _, _), flag in zip(group, flags, strict=True):
                gone += 1
                # What is not there was taken by a worker of the older spinach.
                fate.counter[job.task] += flag == ord("1")
        return gone

    def _adopt(self, place: bytes, queue: str, jobs: Sequence[tuple[_Part, ...]]) -> bytes:
        if self._dry_run:
            return b"1" * len(jobs)
        self._list_queue(queue)
        names = keys.QueueKeys(self._into, queue)
        call = Call(
            _ADOPT,
            (place, *names.fixed(_ADOPT_KEYS)),
            ("0", keys.SCHEMA, *failed_bounds(), *(part for job in jobs for part in job)),
        )
        return self._flags(queue, self._answer(call))

    @staticmethod
    def _flags(queue: str, answer: Any) -> bytes:
        if answer[0] == b"VERSION":
            raise version_error(queue, answer[1])
        flags: bytes = answer[1]
        return flags

    def _list_queue(self, queue: str) -> None:
        if queue not in self._listed:
            self._ask(b"SADD", keys.queues_key(self._into), queue)
            self._listed.add(queue)

    def _queued(self, job: OldJob) -> _Fate:
        return _Fate(self._tally.queued, b"", job.retries)

    def _future(self, job: OldJob) -> _Fate:
        return _Fate(self._tally.future, b"%d" % job.at_ms, job.retries)

    def _lost(self, job: OldJob, host: str) -> _Fate:
        if job.retries < job.max_retries:
            return _Fate(self._tally.recovered, b"", job.retries + 1, losses=1)
        why = "which runs at most once" if job.max_retries == 0 else "in its last attempt"
        failure = Failure(
            error=WORKER_LOST,
            message=f"The worker of the older spinach on {host} died with the job, {why}.",
        )
        return _Fate(self._tally.failed, b"", job.retries, 1, encode_failure(failure))

    def _leave(self, task: str, place: bytes, reason: str) -> None:
        self._tally.left[task, place.decode("utf-8", "replace"), reason] += 1

    # -- the rest ----------------------------------------------------------

    def _move_periodic(self) -> None:
        place = self._old.periodic
        for name, item in pairs(self._ask(b"HGETALL", place)):
            old_name = name.decode("utf-8", "replace")
            due_seconds = self._ask(b"ZSCORE", self._old.periodic_due, name)
            try:
                task, queue, period_ms = self._reader.periodic(old_name, item)
            except Unmovable as exc:
                self._leave(old_name, place, str(exc))
                continue
            if due_seconds is None:
                self._leave(old_name, place, "it has no next instant")
                continue
            try:
                due_ms = int(float(due_seconds)) * 1000
                from_ms(due_ms)
            except (OverflowError, ValueError) as exc:
                self._leave(old_name, place, f"its next instant is damaged ({exc})")
                continue
            if self._inherit(queue, (name, item, task, b"%d" % due_ms, b"%d" % period_ms)):
                self._tally.periodic.append(task)

    def _inherit(self, queue: str, args: tuple[_Part, ...]) -> bool:
        if self._dry_run:
            return True
        self._list_queue(queue)
        names = keys.QueueKeys(self._into, queue)
        call = Call(
            _INHERIT,
            (self._old.periodic, self._old.periodic_due, *names.fixed(_INHERIT_KEYS)),
            ("0", keys.SCHEMA, *args),
        )
        return self._flags(queue, self._answer(call)) == b"1"

    def _tidy(self, workers: Mapping[bytes, OldWorker]) -> None:
        """Forget the workers that hold nothing any more, and what counted their jobs."""
        for name, worker in workers.items():
            if self._ask(b"HLEN", self._old.running(worker.id)) == 0:
                self._ask(b"HDEL", self._old.workers, name)
                self._ask(b"ZREM", self._old.heartbeats, name)
        # Workers that start after all make these anew.
        self._ask(b"DEL", self._old.limits, self._old.slots)

    def _report(self) -> Migration:
        tally = self._tally
        # A plus leaves out tasks whose jobs were all taken by others.
        return Migration(
            queued=dict(+tally.queued),
            future=dict(+tally.future),
            recovered=dict(+tally.recovered),
            failed=dict(+tally.failed),
            periodic=tuple(sorted(tally.periodic)),
            left=tuple(
                Left(task=task, place=place, reason=reason, count=count)
                for (task, place, reason), count in sorted(tally.left.items())
            ),
            dry_run=self._dry_run,
        )
