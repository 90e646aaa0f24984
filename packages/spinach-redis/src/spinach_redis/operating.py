"""What operators ask of the queues on the server, and how they steer them.

The scripts of this module are made and read here alone: their heads tell keys, arguments and
replies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spinach.brokers.calls import (
    FlowSample,
    LimitState,
    MemberLease,
    MemberState,
    PeriodicState,
    PurgeReply,
    QueueMembers,
    QueueSurvey,
)
from spinach.const import MAX_FETCH_BYTES, MOST_TOLD
from spinach_redis import keys, replies
from spinach_redis import scripts as script
from spinach_redis.members import MEMBERS_TRIES, restless
from spinach_redis.producer import version_error
from spinach_redis.transport.command import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.operating import Purgeable
    from spinach.record.ids import StoredId
    from spinach_redis.client.client import RedisClient
    from spinach_redis.keys import QueueKeys

__all__ = ["Operating"]

#: Members that one call tells of at most.
_MEMBERS: Final = 10

_TOLD: Final = b"%d" % MOST_TOLD
_MOST_BYTES: Final = b"%d" % MAX_FETCH_BYTES


class Operating:
    """One queue, as operators see it; thread safe.

    Args:
        client: makes the calls.
        names: the queue's keys.
        offset: the clock offset in ms, as text.
        queue: its name.
    """

    def __init__(self, client: RedisClient, names: QueueKeys, offset: str, queue: str) -> None:
        self._client = client
        self._names = names
        self._offset = offset
        self._queue = queue

    def survey(self) -> QueueSurvey:
        """Whether it is paused, its first job, and how many came and ended.

        Raises:
            BrokerError: no answer until the deadline, or a queue of another release.
        """
        _, now, paused, first, came, ended, samples = self._call(script.SURVEY, keys.SURVEY)
        return QueueSurvey(
            queue=self._queue,
            now_ms=now,
            paused=bool(paused),
            first_ready=first,
            came=came,
            ended=ended,
            samples=_samples(samples),
        )

    def set_paused(self, *, paused: bool) -> bool:
        """Pause it, or let it go on; whether it was not so before.

        Raises:
            BrokerError: see `survey`.
        """
        return bool(self._call(script.PAUSE, keys.PAUSE, _flag(paused))[1])

    def purge(self, status: Purgeable, limit: int) -> PurgeReply:
        """Forget jobs. Not repeated after a lost answer: others may have come meanwhile.

        Raises:
            BrokerError: see `survey`, or an answer was lost.
        """
        _, removed, more = self._call(
            script.PURGE, keys.PURGE, status, b"%d" % limit, repeatable=False
        )
        return PurgeReply(removed=removed, more=bool(more))

    def members(self) -> QueueMembers:
        """Its members. Those that come between two calls may be missing.

        Raises:
            BrokerError: see `survey`.
        """
        asked: list[str] = []
        told: list[MemberState] = []
        while True:
            left: Sequence[str] = asked[len(told) :][:_MEMBERS]
            reply = self._call(
                script.WORKERS,
                keys.WORKERS,
                _TOLD,
                _MOST_BYTES,
                *left,
                further=[self._names.running(member) for member in left],
            )
            _, now, listed, states = reply
            if not told and not left:
                asked = replies.names(listed)
            found = [
                None if state is None else _member(member, state)
                for member, state in zip(left, states, strict=True)
            ]
            told += [state for state in found if state is not None]
            asked = [
                name
                for name in asked
                if name not in {m for m, s in zip(left, found, strict=True) if s is None}
            ]
            if len(told) == len(asked):
                return QueueMembers(now_ms=now, members=tuple(told))

    def set_limit(self, task: str, limit: int | None) -> None:
        """Set the limit of a task.

        Raises:
            BrokerError: see `survey`; or members change too fast to be counted.
        """
        members: list[str] = []
        for _ in range(MEMBERS_TRIES):
            reply = self._call(
                script.LIMIT,
                keys.LIMIT,
                task,
                b"" if limit is None else b"%d" % limit,
                *members,
                further=[self._names.running(member) for member in members],
            )
            if reply[0] != b"KEYS":
                return
            members = replies.names(reply[1])
        raise restless(self._queue)

    def limits(self) -> list[LimitState]:
        """Its limited tasks.

        Raises:
            BrokerError: see `survey`.
        """
        _, states = self._call(script.LIMITS, keys.LIMITS, _TOLD, timed=False)
        return [
            LimitState(
                task=task.decode(),
                override=int(override) if override else None,
                declared=declared,
                members=members,
                taken=taken,
                holders=tuple(_ids(holders)),
                held=held,
            )
            for task, override, declared, members, taken, holders, held in states
        ]

    def periodic_tasks(self) -> list[PeriodicState]:
        """Its periodic tasks.

        Raises:
            BrokerError: see `survey`.
        """
        _, states = self._call(script.PERIODIC, keys.PERIODIC)
        return [
            PeriodicState(
                task=task.decode(), interval_ms=int(interval), due_ms=int(due), paused=bool(paused)
            )
            for task, interval, due, paused in states
        ]

    def set_periodic_paused(self, task: str, *, paused: bool) -> bool | None:
        """Pause a periodic task, or let it go on; None: there is none of that name.

        Raises:
            BrokerError: see `survey`.
        """
        reply = self._call(script.SUSPEND, keys.SUSPEND, task, _flag(paused))
        return None if reply[0] == b"REFUSED" else bool(reply[1])

    def _call(
        self,
        script: script.Script,
        fixed: tuple[str, ...],
        *args: bytes | str,
        further: Sequence[bytes] = (),
        repeatable: bool = True,
        timed: bool = True,
    ) -> Any:
        """The reply of a script that takes the clock offset, if `timed`, and the schema first."""
        first = (self._offset, keys.SCHEMA) if timed else (keys.SCHEMA,)
        call = Call(script, (*self._names.fixed(fixed), *further), (*first, *args))
        reply = self._client.call(call, repeatable=repeatable)
        if reply[0] == b"VERSION":
            raise version_error(self._queue, reply[1])
        return reply


def _flag(value: bool) -> bytes:
    return b"1" if value else b"0"


def _samples(flow: Sequence[bytes]) -> tuple[FlowSample, ...]:
    """The samples among the values of `flow`, where single numbers stand as well."""
    parts = [value.split() for value in flow[1::2]]
    return tuple(
        FlowSample(at_ms=int(at), came=int(came), ended=int(ended))
        for at, came, ended in (part for part in parts if len(part) == 3)
    )


def _ids(values: Sequence[bytes]) -> list[StoredId]:
    ids: list[StoredId] = [value.decode() for value in values]  # type: ignore[misc] # they are such
    return ids


def _member(member: str, state: Any) -> MemberState:
    ends, alive, info, count, flat = state
    lease_ms = int(info.split(b" ", 1)[0] or 0)
    leases = zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
    return MemberState(
        member=member,
        info=replies.description(info),
        seen_ms=ends - lease_ms,
        alive=bool(alive),
        lease_count=count,
        leases=tuple(
            MemberLease(
                stored_id=stored_id.decode(),
                task=None if task is None else task.decode(),
                retries=replies.attempts(counted)[0],
                direct=token[:1] == b"d",
                leased_ms=replies.leased_ms(token),
            )
            for stored_id, token, task, counted in leases
        ),
    )
