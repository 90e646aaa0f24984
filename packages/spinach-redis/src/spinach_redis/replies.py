"""What the scripts answer, as records of the contract."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from spinach.brokers.calls import (
    BeatReply,
    FailedJob,
    FetchReply,
    FireReply,
    JoinReply,
    LostJob,
    PeriodicDue,
    QueueCounts,
    ReconcileReply,
    RecoverReply,
    TickReply,
    TurnReply,
    Verdict,
)
from spinach.outcome import Lease
from spinach_redis.failure import decode_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import Turn

__all__ = [
    "attempts",
    "beat_reply",
    "counts_reply",
    "description",
    "failed_jobs",
    "fetch_reply",
    "fire_reply",
    "join_reply",
    "may_not_start",
    "names",
    "reconcile_reply",
    "recover_reply",
    "report_verdicts",
    "tick_reply",
    "turn_reply",
]

# What a server answers is trusted to be what the scripts of this package return:
# replies are nested lists of bytes, ints and None, hence Any.
_VERDICTS: Final = {verdict.name.encode(): verdict for verdict in Verdict}


#: By the characters that report.lua answers.
_OF_OUTCOMES: Final = {ord("1"): Verdict.APPLIED, ord("0"): Verdict.REFUSED}

#: Of the token of a lease that was given for an idle thread.
_DIRECT: Final = ord("d")


def names(values: Sequence[bytes]) -> list[str]:
    """Names of tasks or members."""
    return [value.decode() for value in values]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1000


def attempts(value: bytes | None) -> tuple[int, int]:
    """Retries and losses, of what the scripts keep of a job's attempts."""
    if value is None:
        return 0, 0
    retries, losses, _direct_only = value.split(b",")
    return int(retries), int(losses)


def may_not_start(leases: Sequence[Lease]) -> bool:
    """Whether one of the jobs would run twice if the server forgot its lease (I3)."""
    return not all(lease.repeatable for lease in leases)


def _leases(turn: Turn, flat: Sequence[Any]) -> tuple[Lease, ...]:
    leases = []
    for stored_id, token, record, counted in zip(
        flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True
    ):
        retries, losses = (0, 0) if counted is None else attempts(counted)
        leases.append(
            Lease(
                turn.queue,
                turn.member,
                stored_id.decode(),
                token.decode(),
                token[0] == _DIRECT,
                record,
                retries,
                losses,
            )
        )
    return tuple(leases)


def turn_reply(reply: Any) -> TurnReply:
    """Answer of leave.lua."""
    return TurnReply(verdict=_VERDICTS[reply[0]])


def join_reply(reply: Any) -> JoinReply:
    """Answer of join.lua."""
    verdict = _VERDICTS[reply[0]]
    return JoinReply(
        verdict=verdict, next_due_in_ms=_ms(reply[1]) if verdict is Verdict.APPLIED else None
    )


def beat_reply(reply: Any) -> BeatReply:
    """Answer of beat.lua."""
    verdict = _VERDICTS[reply[0]]
    if verdict is not Verdict.APPLIED:
        return BeatReply(verdict=verdict)
    _, dead, full = reply
    return BeatReply(verdict=verdict, dead=_text(dead), full=bool(full))


def fetch_reply(turn: Turn, reply: Any) -> FetchReply:
    """Answer of fetch.lua for one turn."""
    verdict = _VERDICTS[reply[0]]
    if verdict is not Verdict.APPLIED:
        return FetchReply(verdict=verdict)
    _, leases, more, parks, due, dead, paused, count = reply
    return FetchReply(
        verdict=verdict,
        leases=_leases(turn, leases),
        lease_count=count,
        more=bool(more),
        parks=tuple(names(parks)),
        # Without a call: each fetch comes here, and most are told nothing.
        next_due_in_ms=None if due is None else due / 1000,
        dead=_text(dead),
        paused=bool(paused),
    )


def report_verdicts(reply: Any) -> list[Verdict]:
    """Answer of report.lua."""
    return [_OF_OUTCOMES[flag] for flag in reply]


def reconcile_reply(turn: Turn, reply: Any) -> ReconcileReply:
    """Answer of reconcile.lua."""
    verdict = _VERDICTS[reply[0]]
    if verdict is not Verdict.APPLIED:
        return ReconcileReply(verdict=verdict)
    strays = names(reply[2])
    return ReconcileReply(
        verdict=verdict,
        missing=_leases(turn, reply[1]),
        strays=tuple(zip(strays[::2], strays[1::2], strict=True)),
        more=bool(reply[3]),
    )


def tick_reply(reply: Any) -> TickReply:
    """Answer of tick.lua."""
    next_job, flat, next_task = reply
    return TickReply(
        verdict=Verdict.APPLIED,
        due=tuple(
            PeriodicDue(task=task.decode(), due_ms=int(instant))
            for task, instant in zip(flat[::2], flat[1::2], strict=True)
        ),
        next_due_in_ms=_ms(
            min((us for us in (next_job, next_task) if us is not None), default=None)
        ),
        next_periodic_in_ms=_ms(next_task),
    )


def fire_reply(reply: Any) -> FireReply:
    """Answer of fire.lua."""
    return FireReply(verdict=_VERDICTS[reply[0]], next_due_in_ms=_ms(reply[1]))


def recover_reply(reply: Any) -> RecoverReply:
    """Answer of recover.lua."""
    verdict = _VERDICTS[reply[0]]
    if verdict is not Verdict.APPLIED:
        return RecoverReply(verdict=verdict)
    _, more, flat, ready, retrying, info = reply
    return RecoverReply(
        verdict=verdict,
        info=description(info),
        ready=ready,
        retrying=retrying,
        lost=tuple(
            LostJob(
                stored_id=flat[at].decode(),
                record=flat[at + 1],
                retries=flat[at + 2],
                losses=flat[at + 3],
            )
            for at in range(0, len(flat), 4)
        ),
        more=bool(more),
    )


def description(info: bytes) -> dict[str, str]:
    """What a member told of its process, as join.lua stored it, perhaps of another release."""
    try:
        found = json.loads(info.partition(b"\n")[2].partition(b"\n")[0])
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def counts_reply(queue: str, reply: Any) -> QueueCounts:
    """Answer of counts.lua for one queue."""
    ready, held, leased, by_dead, future, retrying, parked, failed, members, enqueued = reply[1:11]
    due, parks = reply[11:]
    return QueueCounts(
        verdict=Verdict.APPLIED,
        queue=queue,
        ready=ready,
        held=held,
        leased=leased,
        leased_by_dead=by_dead,
        future=future,
        retrying=retrying,
        parked=parked,
        parks=dict(zip(names(parks[::2]), parks[1::2], strict=True)),
        failed=failed,
        members=members,
        enqueued=enqueued,
        next_due_in_ms=due,
    )


def failed_jobs(reply: Any) -> list[FailedJob]:
    """Answer of failed_page.lua."""
    jobs = []
    for at in range(0, len(reply), 6):
        stored_id, record, counted, reason, instant, order = reply[at : at + 6]
        retries, losses = attempts(counted)
        jobs.append(
            FailedJob(
                stored_id=stored_id.decode(),
                record=record,
                retries=retries,
                losses=losses,
                failed_at_ms=int(instant),
                order=order,
                failure=decode_failure(reason),
            )
        )
    return jobs
