"""What the scripts answer, as records of the contract."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spinach.brokers.calls import (
    BeatReply,
    CancelReply,
    CancelVerdict,
    Cursor,
    Ending,
    FailedJob,
    FetchReply,
    FireReply,
    FoundJob,
    JobEnd,
    JoinReply,
    LostJob,
    PeriodicDue,
    Place,
    PortionReply,
    QueueCounts,
    ReconcileReply,
    RecoverReply,
    TickReply,
    TurnReply,
    Verdict,
)
from spinach.outcome import Lease
from spinach.progress import Progress
from spinach_redis.failure import decode_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import Turn

__all__ = [
    "FailedPage",
    "attempts",
    "beat_reply",
    "cancel_replies",
    "counts_reply",
    "description",
    "end_of",
    "failed_jobs",
    "failed_page",
    "fetch_reply",
    "fire_reply",
    "found_job",
    "join_reply",
    "may_not_start",
    "names",
    "portion_reply",
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
_OF_OUTCOMES: Final = {
    ord("0"): Verdict.REFUSED, ord("1"): Verdict.APPLIED, ord("2"): Verdict.APPLIED,
}  # fmt: skip
_CANCELLED: Final = ord("2")

#: What ends.lua answers where it has no end.
_OPEN: Final = {0: JobEnd(ending=Ending.ABSENT), 1: JobEnd(ending=Ending.PENDING)}

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
    retries, losses, _rest = value.split(b",", 2)
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
    _, dead, full, flat = reply
    cancelled = names(flat)
    return BeatReply(
        verdict=verdict,
        dead=_text(dead),
        full=bool(full),
        cancelled=tuple(zip(cancelled[::2], cancelled[1::2], strict=True)),
    )


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


def report_cancelled(reply: Any) -> list[int]:
    """Positions of outcomes whose jobs are cancelled, in the answer of report.lua."""
    return (
        [place for place, flag in enumerate(reply) if flag == _CANCELLED] if b"2" in reply else []
    )


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
    _, more, flat, ready, retrying, info, cancelled = reply
    return RecoverReply(
        verdict=verdict,
        info=description(info),
        ready=ready,
        retrying=retrying,
        cancelled=cancelled,
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


class FailedPage(NamedTuple):
    """A part of a page of the failed store."""

    jobs: list[FailedJob]
    #: How many are still to be passed over.
    skip: int
    #: Where to go on; None: nothing is left.
    after: Cursor | None


def failed_page(reply: Any) -> FailedPage:
    """Answer of failed_page.lua."""
    jobs, skip, *place = reply
    return FailedPage(failed_jobs(jobs), skip, _cursor(*place) if place else None)


def portion_reply(reply: bytes) -> PortionReply:
    """Answer of revive_all.lua."""
    count, *place = reply.split()
    return PortionReply(count=int(count), after=_cursor(*place) if place else None)


def _cursor(at_ms: bytes, order: bytes | int, stored_id: bytes) -> Cursor:
    return Cursor(int(at_ms), int(order), stored_id.decode())


def failed_jobs(reply: Any) -> list[FailedJob]:
    """Answer of failed_find.lua, and jobs of failed_page.lua."""
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


def found_job(queue: str, reply: Any) -> FoundJob:
    """A job as look.lua tells of it."""
    stored_id, record, counted, place, ahead, exact, lane = reply[:7]
    due, member, info, token, asked, progress, failed, reason = reply[7:]
    retries, losses = attempts(counted)
    if reason is None and counted is not None:
        reason = counted.partition(b" ")[2] or None
    return FoundJob(
        queue=queue,
        stored_id=stored_id.decode(),
        record=record,
        place=Place(place.decode()),
        retries=retries,
        losses=losses,
        ahead=ahead,
        ahead_exact=bool(exact),
        lane=lane.decode(),
        due_ms=None if due is None else int(due),
        member=_text(member) or "",
        info={} if info is None else description(info),
        leased_ms=leased_ms(token),
        direct=token is None or token[0] == _DIRECT,
        cancel_requested=bool(asked),
        progress=None if progress is None else _progress(progress),
        failed_ms=None if failed is None else int(failed),
        failure=None if reason is None else decode_failure(reason),
    )


def leased_ms(token: bytes | None) -> int | None:
    """Since when a job is leased; None also for a lease of an earlier release."""
    instant = b"" if token is None else token.partition(b"@")[2]
    return int(instant) if instant else None


def _progress(text: bytes) -> Progress:
    done, total, note = text.split(b" ", 2)
    return Progress(done=int(done), total=int(total), note=note.decode("utf-8", "surrogatepass"))


#: By the letters that cancel.lua answers.
_OF_CANCELS: Final = {
    b"C": CancelVerdict.CANCELLED,
    b"R": CancelVerdict.REQUESTED,
    b"F": CancelVerdict.FINISHED,
    b"U": CancelVerdict.UNKNOWN,
}


def cancel_replies(flat: Sequence[Any]) -> list[CancelReply]:
    """Answer of cancel.lua."""
    return [
        CancelReply(verdict=_OF_CANCELS[letter], record=record, retries=retries)
        for letter, record, retries in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    ]


def end_of(found: bytes | int) -> JobEnd:
    """The end of a job, as ends.lua and the list of a result tell it."""
    if isinstance(found, int):
        return _OPEN[found]
    letter, rest = found[:1], found[1:]
    if letter == b"S":
        return JobEnd(ending=Ending.SUCCEEDED, result=rest)
    if letter == b"F":
        return JobEnd(ending=Ending.FAILED, failure=decode_failure(rest))
    return JobEnd(ending=Ending.CANCELLED if letter == b"C" else Ending.EXPIRED)
