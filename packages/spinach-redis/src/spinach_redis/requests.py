"""What the scripts are asked, made of the requests of the contract.

Each function belongs to the script of its name, whose head tells keys and arguments.
"""

from __future__ import annotations

import itertools
import json
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from spinach.const import (
    FAILED_CHUNK,
    HOUSEKEEPING_CHUNK,
    LOST_LAST,
    LOST_ONCE,
    LOST_POISON,
    MAX_FETCH_BYTES,
    MAX_LOSSES,
    MAX_PERIODIC_SILENCE,
    RECOVERY_BASE_SECONDS,
    RECOVERY_CAP_SECONDS,
    REPORT_CHUNK,
    WORKER_LOST,
)
from spinach.outcome import Failure, OutcomeKind
from spinach.retention import DEFAULT_RETENTION
from spinach_redis import keys
from spinach_redis import scripts as script
from spinach_redis.failure import encode_error, encode_failure
from spinach_redis.transport.command import Call

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from spinach.brokers.calls import (
        BeatProgress,
        Cursor,
        Deposit,
        Enrolment,
        FailedFilter,
        FailedPortion,
        FetchTurn,
        Place,
        Turn,
    )
    from spinach.outcome import Outcome
    from spinach.retention import FailedRetention
    from spinach_redis.keys import QueueKeys

__all__ = [
    "beat",
    "cancel",
    "counts",
    "ends",
    "enqueue",
    "failed_bounds",
    "failed_find",
    "failed_page",
    "fetch",
    "find",
    "fire",
    "join",
    "leave",
    "list_page",
    "reconcile",
    "recover",
    "report",
    "report_chunks",
    "revive",
    "revive_all",
    "tick",
]

_MS: Final = timedelta(milliseconds=1)
_MOST_BYTES: Final = b"%d" % MAX_FETCH_BYTES

_KINDS: Final = {
    OutcomeKind.SUCCEEDED: b"S",
    OutcomeKind.FAILED: b"F",
    OutcomeKind.RETRY: b"R",
    OutcomeKind.RELEASE: b"L",
    OutcomeKind.PARK: b"P",
    # To the store it is all one why a job is gone.
    OutcomeKind.EXPIRED: b"S",
    OutcomeKind.CANCELLED: b"S",
}
#: The same where an end of the job is to be kept: those that go back to the queue as well, since
#: they end where their cancel was asked for.
_KEPT_KINDS: Final = {
    OutcomeKind.SUCCEEDED: b"s",
    OutcomeKind.FAILED: b"f",
    OutcomeKind.RETRY: b"r",
    OutcomeKind.RELEASE: b"l",
    OutcomeKind.PARK: b"p",
    OutcomeKind.EXPIRED: b"x",
    OutcomeKind.CANCELLED: b"c",
}
#: Kinds of which report.lua takes a third argument an outcome.
_DETAILED: Final = (OutcomeKind.FAILED, OutcomeKind.RETRY)


#: Why recovery gives a job up, in the order of the script.
_LOST_REASONS: Final = tuple(
    encode_failure(Failure(error=WORKER_LOST, message=message))
    for message in (LOST_ONCE, LOST_POISON, LOST_LAST)
)


#: Digits that each declared limit is written with, so that the lowest one of a task is the first
#: in the order of bytes; and the largest limit that is declared.
_LIMIT_DIGITS: Final = 16
_MOST_LIMIT: Final = 10**15


def _bounds(retention: FailedRetention) -> tuple[bytes, bytes, bytes]:
    """What the failed store of a queue keeps: jobs, their age in ms, and their bytes."""
    return b"%d" % retention.number, b"%d" % retention.age_ms, b"%d" % retention.size


#: Those that hold where no member said others.
_FAILED_BOUNDS: Final = _bounds(DEFAULT_RETENTION)


def join(
    names: QueueKeys,
    offset: str,
    member: str,
    enrolment: Enrolment,
    members: Sequence[str] = (),
    *,
    retention: FailedRetention = DEFAULT_RETENTION,
) -> Call:
    """`members` are those whose keys are declared."""
    return Call(
        script.JOIN,
        (*names.fixed(keys.JOIN), *(names.running(other) for other in members)),
        (
            offset,
            keys.SCHEMA,
            member,
            b"%d" % enrolment.lease_ms,
            _info(enrolment),
            b"%d" % (MAX_PERIODIC_SILENCE // _MS),
            b"%d" % enrolment.number,
            b" ".join(_bounds(retention)),
            b"%d" % len(enrolment.periodic),
            *(
                part
                for task, interval in enrolment.periodic.items()
                for part in (task, b"%d" % interval)
            ),
            *members,
        ),
    )


def _info(enrolment: Enrolment) -> str:
    """What the queue keeps of a member: three lines, as join.lua says."""
    description = json.dumps(dict(enrolment.info), sort_keys=True)
    limits = " ".join(
        f"{task}|{min(max(1, limit), _MOST_LIMIT):0{_LIMIT_DIGITS}}"
        for task, limit in enrolment.limits.items()
    )
    return f"{enrolment.lease_ms} {' '.join(enrolment.periodic)}\n{description}\n{limits}"


def enqueue(
    names: QueueKeys,
    offset: str,
    session: str,
    number: int,
    jobs: Sequence[bytes | str],
    *,
    life_ms: int,
) -> Call:
    """A chunk of jobs of one queue, flat: stored id, record, due in ms or '' for each."""
    return Call(
        script.ENQUEUE,
        (*names.fixed(keys.ENQUEUE), names.producer(session)),
        (offset, keys.SCHEMA, b"%d" % number, b"%d" % life_ms, *jobs),
    )


def beat(names: QueueKeys, offset: str, turn: Turn, progress: Sequence[BeatProgress] = ()) -> Call:
    """One membership, and what its jobs tell of themselves."""
    args: list[bytes | str] = [offset, turn.member]
    for told in progress:
        how_far = told.progress
        note = how_far.note.encode("utf-8", "surrogatepass")
        args += (told.stored_id, told.token, b"%d %d %b" % (how_far.done, how_far.total, note))
    return Call(script.BEAT, (*names.fixed(keys.BEAT), names.running(turn.member)), args)


def fetch(
    turns: Sequence[tuple[FetchTurn, QueueKeys]],
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
    args: list[bytes | str] = [offset, b"%d" % idle, b"%d" % extra, b"%d" % max_bytes]
    args += (b"%d" % taken, b"%d" % taken_bytes, b"%d" % len(turns))
    for turn, names in turns:
        key_list += names.fixed(keys.FETCH)
        key_list.append(names.running(turn.member))
        args += (turn.member, b"%d" % turn.number, b"%d" % len(turn.parks), *turn.parks)
    return Call(script.FETCH, key_list, args)


def reconcile(names: QueueKeys, offset: str, turn: Turn, held: Sequence[tuple[str, str]]) -> Call:
    """One turn."""
    return Call(
        script.RECONCILE,
        (*names.fixed(keys.RECONCILE), names.running(turn.member)),
        (
            offset,
            turn.member,
            b"%d" % turn.number,
            _MOST_BYTES,
            *(part for pair in held for part in pair),
        ),
    )


def leave(names: QueueKeys, offset: str, turn: Turn) -> Call:
    """One turn."""
    return Call(
        script.LEAVE,
        (*names.fixed(keys.LEAVE), names.running(turn.member)),
        (offset, turn.member, b"%d" % turn.number),
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
    sizes: dict[int, int] = {}
    for position in positions:
        outcome = outcomes[position]
        if outcome.failure is not None:
            sizes[position] = len(encode_failure(outcome.failure))
        elif outcome.result is not None:
            sizes[position] = len(outcome.result)
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
    runs: list[bytes | str] = []
    kept: list[bytes] = []
    for (kind, member, task, keep_ms), run in itertools.groupby(outcomes, _run_of):
        ended = list(run)
        runs += (
            _KINDS[kind] if keep_ms is None else _KEPT_KINDS[kind],
            b"%d" % members.setdefault(member, len(members) + 1),
            b"%d" % tasks.setdefault(task, len(tasks) + 1),
            b"%d" % len(ended),
        )
        if keep_ms is not None:
            runs.append(b"%d" % keep_ms)
            if not kept:
                kept += names.fixed(keys.KEPT)
            kept += (names.result(outcome.lease.stored_id) for outcome in ended)
        for outcome in ended:
            runs += (outcome.lease.stored_id, outcome.lease.token)
            if kind in _DETAILED:
                runs.append(_detail(outcome))
            elif keep_ms is not None and kind is OutcomeKind.SUCCEEDED:
                runs.append(outcome.result or b"null")
    return Call(
        script.REPORT,
        (
            *names.fixed(keys.REPORT),
            *(names.running(member) for member in members),
            *kept,
        ),
        (offset, *_FAILED_BOUNDS, b"%d" % len(members), b"%d" % len(tasks), *tasks, *runs),
    )


def _run_of(outcome: Outcome) -> tuple[OutcomeKind, str, str, int | None]:
    return outcome.kind, outcome.lease.member, outcome.task, outcome.keep_ms


def _detail(outcome: Outcome) -> bytes:
    if outcome.kind is OutcomeKind.FAILED:
        return encode_failure(outcome.failure)
    reason = b"" if outcome.failure is None else b" " + encode_failure(outcome.failure)
    if outcome.at_ms is not None:
        return b"=%d%b" % (outcome.at_ms, reason)
    return b"+%d%b" % (outcome.delay_ms or 0, reason)


def tick(names: QueueKeys, offset: str, periodic: Sequence[str]) -> Call:
    """One queue."""
    most = b"%d" % HOUSEKEEPING_CHUNK
    return Call(script.TICK, names.fixed(keys.TICK), (offset, most, *periodic))


def fire(names: QueueKeys, offset: str, task: str, due_ms: int, deposit: Deposit) -> Call:
    """One tick of a periodic task."""
    return Call(
        script.FIRE,
        names.fixed(keys.FIRE),
        (offset, task, b"%d" % due_ms, deposit.stored_id, deposit.record),
    )


def recover(names: QueueKeys, offset: str, dead: str) -> Call:
    """One portion of a dead member's leases."""
    return Call(
        script.RECOVER,
        (*names.fixed(keys.RECOVER), names.running(dead)),
        (
            offset,
            *_FAILED_BOUNDS,
            dead,
            b"%d" % HOUSEKEEPING_CHUNK,
            _MOST_BYTES,
            b"%d" % MAX_LOSSES,
            b"%d" % (RECOVERY_BASE_SECONDS * 1000),
            b"%d" % (RECOVERY_CAP_SECONDS * 1000),
            b"%d" % random.getrandbits(31),
            *_LOST_REASONS,
        ),
    )


def counts(queues: Sequence[tuple[QueueKeys, Sequence[str]]], offset: str) -> Call:
    """All queues in one script, which is one snapshot; each with the members that are known."""
    key_list: list[bytes] = []
    args: list[bytes | str] = [offset, *_FAILED_BOUNDS, keys.SCHEMA, b"%d" % len(queues)]
    for names, members in queues:
        key_list += names.fixed(keys.COUNTS)
        key_list += [names.running(member) for member in members]
        args += (b"%d" % len(members), *members)
    return Call(script.COUNTS, key_list, args)


def find(names: QueueKeys, offset: str, members: Sequence[str], stored_ids: Sequence[str]) -> Call:
    """Jobs of one queue; `members` are those whose keys are declared."""
    return Call(
        script.FIND,
        (*names.fixed(keys.FIND), *(names.running(member) for member in members)),
        (
            offset,
            keys.SCHEMA,
            _FAILED_BOUNDS[1],
            _MOST_BYTES,
            b"%d" % len(members),
            *members,
            *stored_ids,
        ),
    )


def list_page(
    names: QueueKeys,
    offset: str,
    members: Sequence[str],
    *,
    places: Collection[Place],
    task: str | None,
    limit: int,
    go_on: Sequence[str],
) -> Call:
    """A page of the jobs of one queue; `members` as for `find`, `go_on` as the last page said."""
    return Call(
        script.LIST,
        (*names.fixed(keys.LIST), *(names.running(member) for member in members)),
        (
            offset,
            keys.SCHEMA,
            _FAILED_BOUNDS[1],
            _MOST_BYTES,
            " ".join(place.value for place in places),
            task or "",
            b"%d" % limit,
            b"%d" % len(members),
            *members,
            *go_on,
        ),
    )


def cancel(
    names: QueueKeys, offset: str, members: Sequence[str], stored_ids: Sequence[str]
) -> Call:
    """Jobs of one queue; `members` as for `find`."""
    return Call(
        script.CANCEL,
        (
            *names.fixed(keys.CANCEL),
            *(names.running(member) for member in members),
            *map(names.result, stored_ids),
        ),
        (offset, keys.SCHEMA, _MOST_BYTES, b"%d" % len(members), *members, *stored_ids),
    )


def failed_page(
    names: QueueKeys,
    offset: str,
    *,
    skip: int,
    limit: int,
    after: Cursor | None,
    matching: FailedFilter,
) -> Call:
    """One page of the failed store."""
    return Call(
        script.FAILED_PAGE,
        names.fixed(keys.FAILED_PAGE),
        (
            offset,
            *_FAILED_BOUNDS,
            b"%d" % skip,
            b"%d" % limit,
            _MOST_BYTES,
            b"%d" % FAILED_CHUNK,
            *_filter(matching),
            *_place(after),
        ),
    )


def failed_find(names: QueueKeys, offset: str, stored_ids: Sequence[str]) -> Call:
    """The failed jobs that have some ids."""
    return Call(
        script.FAILED_FIND,
        names.fixed(keys.FAILED_FIND),
        (offset, *_FAILED_BOUNDS, *dict.fromkeys(stored_ids)),
    )


def _filter(matching: FailedFilter) -> tuple[bytes | str, ...]:
    """Task, beginning of the reason, and earliest instant."""
    return (
        matching.task or b"",
        b"" if matching.error is None else encode_error(matching.error),
        b"" if matching.since_ms is None else b"%d" % matching.since_ms,
    )


def _place(cursor: Cursor | None) -> tuple[bytes | str, ...]:
    if cursor is None:
        return ()
    return b"%d" % cursor.at_ms, b"%d" % cursor.order, cursor.stored_id


def revive(names: QueueKeys, offset: str, stored_ids: Sequence[str], *, run: bool) -> Call:
    """Failed jobs, to run again (`run`) or to forget."""
    return Call(
        script.REVIVE,
        names.fixed(keys.REVIVE),
        (offset, *_FAILED_BOUNDS, "retry" if run else "discard", *stored_ids),
    )


def revive_all(
    names: QueueKeys, offset: str, call: str, portion: FailedPortion, *, run: bool, life_ms: int
) -> Call:
    """A portion of the failed jobs, to run again (`run`) or to forget.

    Args:
        names: of the queue.
        offset: the clock offset in ms, as text.
        call: a name that no other call has.
        portion: which ones.
        run: to run them again.
        life_ms: how long a copy of the call is recognised.
    """
    return Call(
        script.REVIVE_ALL,
        (*names.fixed(keys.REVIVE_ALL), names.taken(call)),
        (
            offset,
            *_FAILED_BOUNDS,
            "retry" if run else "discard",
            b"%d" % life_ms,
            b"%d" % FAILED_CHUNK,
            _MOST_BYTES,
            *_filter(portion.matching),
            *_place(portion.until),
            *_place(portion.after),
        ),
    )


def ends(names: QueueKeys, offset: str, stored_ids: Sequence[str], *, wait_ms: int = 0) -> Call:
    """How jobs ended; `wait_ms`: how long the caller is going to wait for the only one."""
    key_list = names.fixed(keys.ENDS)
    if wait_ms:
        key_list = (*key_list, names.result(stored_ids[0]))
    return Call(script.ENDS, key_list, (offset, _MOST_BYTES, b"%d" % wait_ms, *stored_ids))


def failed_bounds() -> tuple[bytes, bytes, bytes]:
    """What the failed store of a queue keeps where no member said otherwise."""
    return _FAILED_BOUNDS
