"""What the scripts are asked, made of the requests of the contract.

Each function belongs to the script of its name, whose head tells keys and arguments.
"""

from __future__ import annotations

import itertools
import json
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from spinach.backoff import LOSS_BASE_SECONDS, LOSS_CAP_SECONDS
from spinach.const import (
    MAINTENANCE_CHUNK,
    MAX_FAILED,
    MAX_FAILED_AGE,
    MAX_FETCH_BYTES,
    MAX_LOSSES,
    REPORT_CHUNK,
)
from spinach.outcome import Failure, OutcomeKind

from . import keys, script
from .failure import encode_failure
from .link import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spinach.brokers.calls import Deposit, Enrolment, FetchTurn, Turn
    from spinach.outcome import Outcome

    from .directory import Names
    from .keys import QueueKeys

__all__ = [
    "beat",
    "counts",
    "enqueue",
    "failed_page",
    "fetch",
    "fire",
    "join",
    "leave",
    "reconcile",
    "recover",
    "report",
    "report_chunks",
    "revive",
    "tick",
]

#: Records and reasons that the failed store of a queue keeps, in bytes.
MAX_FAILED_BYTES: Final = 256 * 1024 * 1024

#: A periodic task that nobody has declared for this long is forgotten.
MAX_PERIODIC_SILENCE: Final = timedelta(days=30)

_MS: Final = timedelta(milliseconds=1)
_MAX_FAILED_AGE_MS: Final = MAX_FAILED_AGE // _MS
_FAILED_BOUNDS: Final = (MAX_FAILED, _MAX_FAILED_AGE_MS, MAX_FAILED_BYTES)

_KINDS: Final = {
    OutcomeKind.SUCCEEDED: b"S",
    OutcomeKind.FAILED: b"F",
    OutcomeKind.RETRY: b"R",
    OutcomeKind.RELEASE: b"L",
    OutcomeKind.PARK: b"P",
}
#: Kinds of which report.lua takes a third argument an outcome.
_DETAILED: Final = (OutcomeKind.FAILED, OutcomeKind.RETRY)


def _lost(message: str) -> bytes:
    return encode_failure(Failure(error="spinach.exc.WorkerLost", message=message))


#: Why recovery gives a job up: it runs at most once, it is poison, no attempt is left.
_LOST_REASONS: Final = (
    _lost("The worker process died while it owned the job, which runs at most once."),
    _lost(f"The job is poison: {MAX_LOSSES} worker processes died while they ran it."),
    _lost("The worker process died in the last attempt of the job."),
)


def _limited_keys(names: QueueKeys, tasks: Sequence[str]) -> list[bytes]:
    return [key for task in tasks for key in names.limited(task)]


def join(
    names: QueueKeys, offset: str, member: str, enrolment: Enrolment, members: Sequence[str]
) -> Call:
    """`members` are those whose running keys are declared."""
    periodic = enrolment.periodic
    description = json.dumps(dict(enrolment.info), sort_keys=True)
    info = f"{enrolment.lease_ms} {' '.join(periodic)}\n{description}"
    return Call(
        script.JOIN,
        (
            *names.fixed(keys.JOIN),
            *_limited_keys(names, tuple(enrolment.limits)),
            *(names.running(other) for other in members),
        ),
        (
            offset,
            keys.SCHEMA,
            member,
            enrolment.lease_ms,
            info,
            MAX_PERIODIC_SILENCE // _MS,
            len(enrolment.limits),
            *enrolment.limits,
            *(max(1, limit) for limit in enrolment.limits.values()),
            len(periodic),
            *(part for task, interval in periodic.items() for part in (task, interval)),
            len(members),
            *members,
        ),
    )


def enqueue(
    names: QueueKeys,
    offset: str,
    session: str,
    number: int,
    jobs: Sequence[bytes | str | int],
    *,
    life_ms: int,
) -> Call:
    """A chunk of jobs of one queue, flat: stored id, record, due in ms or '' for each."""
    return Call(
        script.ENQUEUE,
        (*names.fixed(keys.ENQUEUE), names.producer(session)),
        (offset, keys.SCHEMA, number, life_ms, *jobs),
    )


def beat(names: QueueKeys, offset: str, turn: Turn) -> Call:
    """One turn."""
    running = names.running(turn.member)
    return Call(script.BEAT, (*names.fixed(keys.BEAT), running), (offset, turn.member, turn.number))


def fetch(
    turns: Sequence[tuple[FetchTurn, QueueKeys, Names]],
    offset: str,
    *,
    idle: int,
    extra: int,
    max_bytes: int,
    taken: int = 0,
    taken_bytes: int = 0,
) -> Call:
    """All turns in one script, since what the first one takes bounds the next.

    Of calls that are made one after the other, each is told what those before have taken.
    """
    key_list: list[bytes] = []
    args: list[bytes | str | int] = [offset, idle, extra, max_bytes]
    args += (taken, taken_bytes, len(turns))
    for turn, names, known in turns:
        key_list += names.fixed(keys.FETCH)
        key_list.append(names.running(turn.member))
        key_list += _limited_keys(names, known.limited)
        key_list += [names.parked(task) for task in turn.parks]
        args += (turn.member, turn.number, len(known.limited), *known.limited)
        args += (len(turn.parks), *turn.parks)
    return Call(script.FETCH, key_list, args)


def reconcile(names: QueueKeys, offset: str, turn: Turn, held: Sequence[tuple[str, str]]) -> Call:
    """One turn."""
    return Call(
        script.RECONCILE,
        (*names.fixed(keys.RECONCILE), names.running(turn.member)),
        (
            offset,
            turn.member,
            turn.number,
            MAX_FETCH_BYTES,
            *(part for pair in held for part in pair),
        ),
    )


def leave(names: QueueKeys, offset: str, turn: Turn, known: Names) -> Call:
    """One turn."""
    return Call(
        script.LEAVE,
        (
            *names.fixed(keys.LEAVE),
            names.running(turn.member),
            *_limited_keys(names, known.limited),
        ),
        (offset, turn.member, turn.number, len(known.limited), *known.limited),
    )


def report_chunks(outcomes: Sequence[Outcome]) -> Iterator[list[int]]:
    """Positions of the outcomes, in chunks of one queue and of bounded number and size.

    Mostly that is one, in order. Of several of a queue, those with releases come last, and
    the last releases first: each chunk goes to the front of the queue, so that this is how
    they keep their order there.
    """
    by_queue: dict[str, list[int]] = {}
    for position, outcome in enumerate(outcomes):
        by_queue.setdefault(outcome.lease.queue, []).append(position)
    for positions in by_queue.values():
        yield from _chunks_of_queue(outcomes, positions)


def _chunks_of_queue(outcomes: Sequence[Outcome], positions: list[int]) -> Iterator[list[int]]:
    failures = {i: outcomes[i].failure for i in positions if outcomes[i].failure is not None}
    sizes = {i: len(encode_failure(failure)) for i, failure in failures.items()}
    if len(positions) <= REPORT_CHUNK and sum(sizes.values()) <= MAX_FETCH_BYTES:
        yield positions
        return
    releases: list[int] = []
    chunk: list[int] = []
    size = 0
    for position in positions:
        if outcomes[position].kind is OutcomeKind.RELEASE:
            releases.append(position)
            continue
        more = sizes.get(position, 0)
        if chunk and (len(chunk) >= REPORT_CHUNK or size + more > MAX_FETCH_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(position)
        size += more
    if chunk:
        yield chunk
    for end in range(len(releases), 0, -REPORT_CHUNK):
        yield releases[max(0, end - REPORT_CHUNK) : end]


def report(names: QueueKeys, offset: str, outcomes: Sequence[Outcome]) -> Call:
    """Outcomes of one queue."""
    members: dict[str, int] = {}
    tasks: dict[str, int] = {}
    runs: list[bytes | str | int] = []
    for (kind, member, task), run in itertools.groupby(outcomes, _run_of):
        ended = list(run)
        runs += (
            _KINDS[kind],
            members.setdefault(member, len(members) + 1),
            tasks.setdefault(task, len(tasks) + 1),
            len(ended),
        )
        for outcome in ended:
            runs += (outcome.lease.stored_id, outcome.lease.token)
            if kind in _DETAILED:
                runs.append(_detail(outcome))
    return Call(
        script.REPORT,
        (
            *names.fixed(keys.REPORT),
            *(names.running(member) for member in members),
            *(key for task in tasks for key in (*names.limited(task), names.parked(task))),
        ),
        (offset, *_FAILED_BOUNDS, len(members), len(tasks), *tasks, *runs),
    )


def _run_of(outcome: Outcome) -> tuple[OutcomeKind, str, str]:
    return outcome.kind, outcome.lease.member, outcome.task


def _detail(outcome: Outcome) -> bytes:
    if outcome.kind is OutcomeKind.FAILED:
        return encode_failure(outcome.failure)
    if outcome.at_ms is not None:
        return b"=%d" % outcome.at_ms
    return b"+%d" % (outcome.delay_ms or 0)


def tick(names: QueueKeys, offset: str, periodic: Sequence[str]) -> Call:
    """One queue."""
    return Call(script.TICK, names.fixed(keys.TICK), (offset, MAINTENANCE_CHUNK, *periodic))


def fire(names: QueueKeys, offset: str, task: str, due_ms: int, deposit: Deposit) -> Call:
    """One tick of a periodic task."""
    return Call(
        script.FIRE,
        names.fixed(keys.FIRE),
        (offset, task, due_ms, deposit.stored_id, deposit.record),
    )


def recover(names: QueueKeys, offset: str, dead: str, known: Names) -> Call:
    """One portion of a dead member's leases."""
    return Call(
        script.RECOVER,
        (*names.fixed(keys.RECOVER), names.running(dead), *_limited_keys(names, known.limited)),
        (
            offset,
            *_FAILED_BOUNDS,
            dead,
            MAINTENANCE_CHUNK,
            MAX_FETCH_BYTES,
            MAX_LOSSES,
            int(LOSS_BASE_SECONDS * 1000),
            int(LOSS_CAP_SECONDS * 1000),
            random.getrandbits(31),
            *_LOST_REASONS,
            len(known.limited),
            *known.limited,
        ),
    )


def counts(queues: Sequence[tuple[QueueKeys, Names]], offset: str) -> Call:
    """All queues in one script: one snapshot."""
    key_list: list[bytes] = []
    args: list[bytes | str | int] = [offset, *_FAILED_BOUNDS, len(queues)]
    for names, known in queues:
        key_list += names.fixed(keys.COUNTS)
        key_list += [names.running(member) for member in known.members]
        key_list += [names.held(task) for task in known.limited]
        key_list += [names.parked(task) for task in known.parks]
        for listed in (known.members, known.limited, known.parks):
            args += (len(listed), *listed)
    return Call(script.COUNTS, key_list, args)


def failed_page(names: QueueKeys, offset: str, *, skip: int, limit: int) -> Call:
    """One page of the failed store."""
    return Call(
        script.FAILED_PAGE,
        names.fixed(keys.FAILED_PAGE),
        (offset, _MAX_FAILED_AGE_MS, skip, limit, MAX_FETCH_BYTES),
    )


def revive(names: QueueKeys, offset: str, stored_ids: Sequence[str], *, run: bool) -> Call:
    """Failed jobs, to run again (`run`) or to forget."""
    return Call(
        script.REVIVE,
        names.fixed(keys.REVIVE),
        (offset, *_FAILED_BOUNDS, "retry" if run else "discard", *stored_ids),
    )
