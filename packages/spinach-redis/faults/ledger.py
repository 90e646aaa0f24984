"""Reads every key of a namespace and says what is wrong with them.

Knows the layout of `spinach_redis.keys` and the invariants of `docs/design/states.md`, and
nothing of how jobs came where they are, so that any fault can be followed by

    ledger.check(client, namespace)       # nothing lost, nothing twice, no orphan
    ledger.check_drained(client, namespace)  # and nothing left but failed jobs

The keys are read one after the other: while processes still work on them, what is read
does not fit together. Stop them first.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from spinach.record.header import UnreadableRecord, read_header
from spinach_redis import keys

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Ledger", "check", "check_drained", "read"]

#: Key after the tag → type; the colon marks a family with a name behind it.
TYPES: Final = {
    "version": "string",
    "jobs": "hash",
    "ready": "list",
    "future": "zset",
    "retrying": "set",
    "attempts": "hash",
    "members": "zset",
    "seq": "hash",
    "info": "hash",
    "guard": "hash",
    "leases": "string",
    "cancelling": "hash",
    "progress": "hash",
    "cancelled": "set",
    "running:": "hash",
    "marker": "zset",
    "timekeeper": "string",
    "producer:": "string",
    "taken:": "string",
    "failed": "zset",
    "errors": "hash",
    "failed-bytes": "string",
    "limits": "hash",
    "declared": "zset",
    "slots": "zset",
    "held": "hash",
    "held-ends": "hash",
    "brought": "set",
    "parked": "hash",
    "parked-ends": "hash",
    "periodic": "zset",
    "periodic-info": "hash",
    "periodic-paused": "hash",
    "results": "hash",
    "results-until": "zset",
    "awaited": "zset",
    "result:": "list",
    "enqueued": "string",
    "flow": "hash",
    "paused": "string",
}

#: What may be left of a queue that nobody works on and that holds no job but failed
#: ones: a fixed number of keys, those of calls that may be sent twice, which expire, what
#: operators set, and ends of jobs that asked for it.
BOOKKEEPING: Final = frozenset(
    {
        *("version", "guard", "leases", "enqueued", "failed-bytes", "timekeeper", "flow"),
        *("periodic", "periodic-info", "producer:", "taken:"),
        *("paused", "limits", "periodic-paused"),
        *("results", "results-until", "awaited", "result:"),
    }
)
FAILED_STORE: Final = frozenset({"jobs", "attempts", "failed", "errors"})

#: Longest life of the keys that expire, in ms.
EXPIRING_MS: Final = {
    "producer:": 10 * 60 * 1000,
    "taken:": 10 * 60 * 1000,
    "result:": 10 * 1000,
}

#: When a periodic task is due that an operator paused.
NEVER: Final = 2**53

_TOKEN: Final = re.compile(r"[db]([1-9]\d*)@\d+")
_ATTEMPTS: Final = re.compile(r"\d+,\d+,[01]( \[.*\])?")
_RETENTION: Final = re.compile(r"[1-9]\d* [1-9]\d* [1-9]\d*")
_SAMPLE: Final = re.compile(r"fine-[0-6]|coarse-([0-9]|1[0-2])")


@dataclass(kw_only=True)
class Ledger:
    """The keys of one queue, as text but for records and reasons."""

    queue: str
    #: Key after the tag → content: dict, list, set or str by its type.
    content: dict[str, Any] = field(default_factory=dict)
    #: What could not be read as the layout says.
    unknown: list[str] = field(default_factory=list)
    #: Key after the tag → ms it has to live, of those that expire.
    expiring: dict[str, int] = field(default_factory=dict)

    # -- what it holds -----------------------------------------------------

    def get(self, name: str, empty: Any) -> Any:
        """A key's content, or `empty` where it does not exist."""
        return self.content.get(name, empty)

    def family(self, prefix: str) -> dict[str, Any]:
        """Name → content, of the keys with a name behind their prefix."""
        return {
            name.removeprefix(prefix): content
            for name, content in self.content.items()
            if name.startswith(prefix)
        }

    @property
    def jobs(self) -> dict[str, bytes]:
        """Stored id → record."""
        jobs: dict[str, bytes] = self.get("jobs", {})
        return jobs

    @property
    def leases(self) -> dict[str, dict[str, str]]:
        """Member → stored id → token."""
        return self.family("running:")

    def places(self) -> Iterator[tuple[str, str]]:
        """Each place and a stored id in it (I1)."""
        for name in ("ready", "future", "failed"):
            for stored_id in self.get(name, ()):
                if name != "ready" or stored_id not in self.gaps:
                    yield name, stored_id
        for member, leases in self.leases.items():
            for stored_id in leases:
                yield f"running:{member}", stored_id
        for name in ("held", "parked"):
            for place, stored_id in self.get(name, {}).items():
                if "|" in place:
                    yield name, stored_id

    @property
    def gaps(self) -> set[str]:
        """Stored ids in `ready` that are no jobs any more."""
        gaps: set[str] = self.get("cancelled", set())
        return gaps

    def slots_of(self, task: str) -> set[str]:
        """Stored ids of the jobs that occupy a slot of a task."""
        slots = (slot.split("|") for slot in self.get("slots", ()))
        return {stored_id for limited, stored_id in slots if limited == task}

    def task_of(self, stored_id: str) -> str | None:
        """Task of a job; None when there is no such job, or its record cannot be read."""
        try:
            return read_header(self.jobs[stored_id]).task
        except (KeyError, UnreadableRecord):
            return None

    # -- what is wrong -----------------------------------------------------

    def violations(self, *, woken: bool = True) -> list[str]:
        """Everything that contradicts the layout or an invariant; empty when all is well.

        Args:
            woken: False: somebody may have taken the wake-up and not looked yet.
        """
        found = [
            *self.unknown,
            *self._misplaced(),
            *self._counted(),
            *self._leased(),
            *self._limited(),
            *self._lanes(),
            *self._cancelled(),
            *self._known_members(),
            *self._failed(),
            *self._ends(),
            *self._flow(),
            *self._wake_up(woken),
            *self._periodic(),
            *self._expiring(),
        ]
        return [f"{self.queue}: {each}" for each in found]

    def leftovers(self) -> list[str]:
        """What is left of a queue that should hold nothing but failed jobs."""
        found = []
        for name, content in self.content.items():
            family = name[: name.find(":") + 1]
            if name in BOOKKEEPING or family in BOOKKEEPING:
                continue
            if name not in FAILED_STORE:
                found.append(f"{name} is left with {content!r:.200}")
        declared = [task for task, limit in self.get("limits", {}).items() if not limit]
        found += [f"the limit of {task} is left, which no operator set" for task in declared]
        failed = set(self.get("failed", {}))
        found += [f"job {each} is left" for each in sorted(set(self.jobs) - failed)]
        named = [each for each in self.get("guard", {}) if each.startswith("named:")]
        found += [f"guard still has {each}" for each in named]
        return [f"{self.queue}: {each}" for each in found]

    def _misplaced(self) -> Iterator[str]:
        where: dict[str, list[str]] = {}
        for place, stored_id in self.places():
            where.setdefault(stored_id, []).append(place)
        for stored_id in self.jobs:
            if stored_id not in where:
                yield f"job {stored_id} is in no place (I1)"
        for stored_id, places in where.items():
            if len(places) > 1:
                yield f"job {stored_id} is in {places} (I1)"
            if stored_id not in self.jobs:
                yield f"{places} has {stored_id}, of which there is no record (I1)"

    def _counted(self) -> Iterator[str]:
        for stored_id, text in self.get("attempts", {}).items():
            if stored_id not in self.jobs:
                yield f"attempts are counted of {stored_id}, which is gone (I19)"
            if not _ATTEMPTS.fullmatch(text):
                yield f"attempts of {stored_id} are {text!r}"
        for stored_id in self.get("retrying", set()) - set(self.get("future", {})):
            yield f"{stored_id} is retrying, but does not wait"
        if int(self.get("enqueued", "0")) < len(self.jobs):
            yield f"{len(self.jobs)} jobs, but only {self.get('enqueued', '0')} were enqueued"

    def _leased(self) -> Iterator[str]:
        given = int(self.get("leases", "0"))
        tokens: Counter[str] = Counter()
        for member, leases in self.leases.items():
            for stored_id, token in leases.items():
                match = _TOKEN.fullmatch(token)
                if match is None or int(match[1]) > given:
                    yield f"{member} has {stored_id} under {token}, of {given} leases given"
                else:
                    tokens[match[1]] += 1
                if token.startswith("b") and stored_id.startswith("0"):
                    yield f"{member} has the at-most-once job {stored_id} in its buffer (I9)"
        for number, times in tokens.items():
            if times > 1:
                yield f"token {number} names {times} leases (I5)"

    def _limited(self) -> Iterator[str]:
        limits, declared = self.get("limits", {}), self.get("declared", {})
        leased = {stored_id for leases in self.leases.values() for stored_id in leases}
        for task in limits:
            of_task = {stored_id for stored_id in leased if self.task_of(stored_id) == task}
            slots = self.slots_of(task)
            # Without a member that declares it the limit is no more; its slots run out.
            in_force = limits[task] or task in {entry.split("|")[0] for entry in declared}
            if slots - of_task or (in_force and slots != of_task):
                yield f"slots of {task} are {slots}, its leased jobs {of_task} (I10)"
        for name in ("slots", "held-ends", "declared"):
            for task in {entry.split("|")[0] for entry in self.get(name, ())} - limits.keys():
                yield f"{name} has {task}, but the task has no limit (I19)"
        for entry in declared:
            task, limit, member = entry.split("|")
            if member not in self.get("seq", {}):
                yield f"{member} limits {task}, but is no member (I10)"
            elif f"{task}|{limit}" not in self.get("info", {})[member].split("\n")[2].split():
                yield f"{member} limits {task} to {limit}, which its info does not say (I10)"
        for stored_id in self.get("brought", set()) - set(self.get("ready", [])):
            yield f"{stored_id} was brought back, but is not ready (I19)"

    def _lanes(self) -> Iterator[str]:
        for name in ("held", "parked"):
            expected = set()
            for lane, ends in self.get(f"{name}-ends", {}).items():
                first, last, *holes = map(int, ends.split())
                numbers = {f"{lane}|{number}" for number in range(first, last + 1)}
                missing = len(numbers - self.get(name, {}).keys())
                if missing != sum(holes) or holes == [0]:
                    yield f"{name} lacks {missing} jobs of {lane}, by its ends {ends} (I22)"
                if missing == len(numbers):
                    yield f"{lane} in {name} has no jobs, but ends: {ends} (I22)"
                expected |= numbers
            jobs = {place: each for place, each in self.get(name, {}).items() if "|" in place}
            if jobs.keys() - expected:
                yield f"{name} has {set(jobs)}, by its ends {expected} (I1)"
            back = {each: place for each, place in self.get(name, {}).items() if "|" not in each}
            if {each: place for place, each in jobs.items()} != back:
                yield f"{name} has {jobs}, and back {back} (I1)"

    def _cancelled(self) -> Iterator[str]:
        ready = self.get("ready", [])
        for stored_id in self.gaps - set(ready):
            yield f"{stored_id} is a gap, but does not stand in ready (I22)"
        for stored_id in self.gaps & self.jobs.keys():
            yield f"{stored_id} is a gap, and a job (I22)"
        if ready and ready[0] in self.gaps:
            yield f"{ready[0]} is a gap at the head of ready (I22)"
        for name in ("cancelling", "progress"):
            content = self.get(name, {})
            leased = {each: member for member, leases in self.leases.items() for each in leases}
            for stored_id in content.keys() - leased.keys():
                yield f"{name} has {stored_id}, which is not leased (I22)"
            if self.get("guard", {}).get(name, "0") != str(len(content)):
                yield f"{name} has {len(content)}, its size is told otherwise (I22)"
        for stored_id, member in self.get("cancelling", {}).items():
            if stored_id not in self.leases.get(member, {}):
                yield f"{stored_id} is to be cancelled by {member}, which has it not (I22)"

    def _known_members(self) -> Iterator[str]:
        members = self.get("members", {}).keys()
        for name in ("seq", "info"):
            for member in self.get(name, {}).keys() - members:
                yield f"{name} has {member}, which is no member (I19)"
        for member in members - self.get("info", {}).keys():
            yield f"nothing is known of member {member}"
        for member in self.leases.keys() - members:
            yield f"{member} has leases and is no member, so nobody takes them back (I11)"
        for entry in self.get("guard", {}):
            if entry.startswith("named:") and entry.removeprefix("named:") not in members:
                yield f"guard has {entry}, which is no member (I19)"

    def _failed(self) -> Iterator[str]:
        failed, errors = self.get("failed", {}), self.get("errors", {})
        if failed.keys() != errors.keys():
            yield f"failed are {set(failed)}, reasons are kept of {set(errors)} (I19)"
        size = sum(len(self.jobs.get(each, b"")) + len(errors.get(each, b"")) for each in failed)
        if size != int(self.get("failed-bytes", "0")):
            yield f"failed jobs have {size} bytes, counted are {self.get('failed-bytes', '0')}"
        kept = self.get("guard", {}).get("retention")
        if kept is not None and not _RETENTION.fullmatch(kept):
            yield f"the failed store is to keep {kept!r} (I19)"

    def _ends(self) -> Iterator[str]:
        ends, until = self.get("results", {}), self.get("results-until", {})
        if ends.keys() != until.keys():
            yield f"ends are kept of {set(ends)}, until an instant of {set(until)} (I23)"
        failed = self.get("failed", {})
        for stored_id, end in ends.items():
            if stored_id in self.jobs and stored_id not in failed:
                yield f"{stored_id} has an end, and is still there (I23)"
            elif stored_id in failed and end[:1] != "F":
                yield f"{stored_id} failed, its end is {end!r:.50} (I23)"
            if end[:1] not in ("S", "F", "C", "X"):
                yield f"the end of {stored_id} is {end!r:.50} (I23)"
        for stored_id in self.get("awaited", {}).keys() & ends.keys():
            yield f"{stored_id} is awaited, and has an end (I23)"

    def flow(self) -> tuple[int, int]:
        """How many jobs came and how many ended, ever."""
        flow = self.get("flow", {})
        came = int(self.get("enqueued", "0")) + int(flow.get("revived", "0"))
        there = len(self.jobs) - len(self.get("failed", {}))
        return came, came - there - int(flow.get("purged", "0"))

    def _flow(self) -> Iterator[str]:
        samples = []
        for name, text in self.get("flow", {}).items():
            if _SAMPLE.fullmatch(name):
                _at, *numbers = map(int, text.split())
                samples.append(tuple(numbers))
            elif name not in ("revived", "purged"):
                yield f"flow has {name} (I19)"
        came, ended = self.flow()
        samples = [*sorted(samples), (came, ended)]
        if any(not 0 <= ended <= came for came, ended in samples):
            yield f"more jobs ended than came, or fewer than none: {samples}"
        for earlier, later in itertools.pairwise(samples):
            if any(before > after for before, after in zip(earlier, later, strict=True)):
                yield f"of {came} jobs {ended} ended, the samples are {samples}"
                break

    def _wake_up(self, woken: bool) -> Iterator[str]:
        if "paused" in self.content:
            return
        if woken and "ready" in self.content and "marker" not in self.content:
            yield "jobs are ready, but nothing wakes anybody (I14)"
        if "marker" in self.content and not self.content.keys() & {"ready", "future"}:
            yield "nothing waits or is ready, but the marker is set (I14)"

    def _periodic(self) -> Iterator[str]:
        due, info = self.get("periodic", {}), self.get("periodic-info", {})
        if due.keys() != info.keys():
            yield f"due are {set(due)}, declared were {set(info)} (I15)"
        paused = self.get("periodic-paused", {}).keys()
        never = {task for task, instant in due.items() if instant == NEVER}
        if paused != never:
            yield f"paused are {set(paused)}, due never are {never} (I24)"

    def _expiring(self) -> Iterator[str]:
        for name in self.content:
            lives = self.expiring.get(name)
            most = EXPIRING_MS.get(f"{name.partition(':')[0]}:")
            if most is not None:
                if lives is None or lives > most:
                    yield f"{name} lives {lives} ms (I19)"
            elif lives is not None:
                yield f"{name} expires in {lives} ms"


def read(client: Any, namespace: str) -> list[Ledger]:
    """Every queue of a namespace that has a key.

    Args:
        client: a `redis.Redis` or `redis.RedisCluster` that answers in bytes.
        namespace: of the engine.
    """
    ledgers: dict[str, Ledger] = {}
    head = f"{{{namespace}/"
    for key in client.scan_iter(match=_literally(head) + "*", count=1000):
        queue, _, name = key.decode().removeprefix(head).partition("}:")
        ledger = ledgers.setdefault(queue, Ledger(queue=queue))
        _enter(ledger, client, key, name)
    return [ledgers[queue] for queue in sorted(ledgers)]


def check(client: Any, namespace: str, *, woken: bool = True) -> list[Ledger]:
    """Read a namespace in which nobody works, and check all of it.

    Args:
        client: as for `read`.
        namespace: of the engine.
        woken: as for `Ledger.violations`.

    Raises:
        AssertionError: what is wrong, line by line.
    """
    ledgers = read(client, namespace)
    listed = {name.decode() for name in client.smembers(keys.queues_key(namespace))}
    found = [line for each in ledgers for line in each.violations(woken=woken)]
    found += [
        f"{each.queue}: not on the list of queues"
        for each in ledgers
        if each.queue not in listed and each.content.keys() & {"jobs", "members"}
    ]
    _demand(found)
    return ledgers


def check_drained(client: Any, namespace: str) -> list[Ledger]:
    """As `check`, and nothing may be left but failed jobs and bounded bookkeeping.

    For a namespace all of whose workers have left or were recovered.

    Raises:
        AssertionError: what is wrong or left, line by line.
    """
    ledgers = check(client, namespace)
    _demand([line for each in ledgers for line in each.leftovers()])
    return ledgers


def _demand(lines: list[str]) -> None:
    assert not lines, "the keys are not as they should be:\n  " + "\n  ".join(lines)


def _literally(text: str) -> str:
    """As a pattern that matches itself."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)


def _enter(ledger: Ledger, client: Any, key: bytes, name: str) -> None:
    kind = client.type(key).decode()
    if kind == "none":  # expired since
        return
    expected = TYPES.get(name) or TYPES.get(name[: name.find(":") + 1])
    if kind != expected:
        ledger.unknown.append(f"{name} is a {kind}, expected {expected}")
        return
    raw = name in ("jobs", "errors")
    if kind == "hash":
        pairs = client.hgetall(key).items()
        ledger.content[name] = {k.decode(): v if raw else v.decode() for k, v in pairs}
    elif kind == "zset":
        scores = client.zrange(key, 0, -1, withscores=True)
        ledger.content[name] = {member.decode(): score for member, score in scores}
    elif kind == "list":
        ledger.content[name] = [each.decode() for each in client.lrange(key, 0, -1)]
    elif kind == "set":
        ledger.content[name] = {each.decode() for each in client.smembers(key)}
    else:
        ledger.content[name] = (client.get(key) or b"").decode()
    lives = client.pttl(key)
    if lives >= 0:
        ledger.expiring[name] = lives
