"""Looking for jobs on the server, and taking them back, as the methods of `JobsRole` see it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from spinach.brokers.calls import CancelReply, FoundJob, FoundPage, Place
from spinach.exc import InvalidArgument
from spinach_redis import replies, requests
from spinach_redis.members import MEMBERS_TRIES, restless
from spinach_redis.producer import version_error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from spinach_redis.client.client import RedisClient
    from spinach_redis.keys import QueueKeys
    from spinach_redis.members import KnownMembers
    from spinach_redis.transport.command import Call

__all__ = ["Jobs"]

#: Jobs that one call looks for or cancels at most, which takes the server a few ms. Whether a
#: worker process has a job has to be asked of each, so where they are many, it is fewer jobs.
_CHUNK_JOBS: Final = 200
_CHUNK_LEAST: Final = 20
_CHUNK_ASKED: Final = 2500

_ID: Final = "[01][0-9a-f-]{36}"
# Newer servers write a round score as 1.8e+12.
_SORTED: Final = re.compile(rf"sorted [0-9]{{1,20}}(\.[0-9]{{1,20}})?(e\+[0-9]{{1,3}})? {_ID}")

#: Where a page ended, for each place that list.lua reads by itself, and for all others.
_CURSORS: Final = {
    Place.LEASED: re.compile("leased -?[0-9]{1,16}"),
    Place.FUTURE: _SORTED,
    Place.FAILED: _SORTED,
    None: re.compile(rf"scan ({_ID})? [0-9]{{0,19}}( {_ID})*|small ({_ID})?"),
}


class Jobs:
    """The jobs of queues; thread safe.

    Args:
        client: makes the calls.
        keys_of: the keys of a queue.
        members: those known of each queue.
        offset: the clock offset in ms, as text.
    """

    def __init__(
        self,
        client: RedisClient,
        keys_of: Callable[[str], QueueKeys],
        members: KnownMembers,
        offset: str,
    ) -> None:
        self._client = client
        self._keys_of = keys_of
        self._members = members
        self._offset = offset

    def find(self, queues: Sequence[str], stored_ids: Sequence[str]) -> list[FoundJob]:
        """See `Broker.find_jobs`; the queues are asked together.

        Raises:
            BrokerError: no answer until the deadline, or a queue of another release.
        """
        found: dict[str, list[FoundJob]] = {queue: [] for queue in queues}
        left = dict.fromkeys(found, stored_ids) if stored_ids else {}
        tries = dict.fromkeys(left, MEMBERS_TRIES)
        while left:
            asked = [*left]
            calls = [self._find_call(queue, left[queue]) for queue in asked]
            for queue, reply in zip(asked, self._client.call_all(calls), strict=True):
                applied = self._applied(queue, reply)
                if applied is None:
                    tries[queue] -= 1
                    if not tries[queue]:
                        raise restless(queue)
                    continue
                looked, jobs = applied
                found[queue] += (replies.found_job(queue, job) for job in jobs)
                left[queue] = left[queue][looked:]
                if not left[queue]:
                    del left[queue]
        return [job for jobs in found.values() for job in jobs]

    def _find_call(self, queue: str, stored_ids: Sequence[str]) -> Call:
        members = self._members.of(queue)
        chunk = stored_ids[: _chunk_size(members)]
        return requests.find(self._keys_of(queue), self._offset, members, chunk)

    def page(
        self,
        queue: str,
        *,
        places: Collection[Place],
        task: str | None,
        cursor: str | None,
        limit: int,
    ) -> FoundPage:
        """See `Broker.list_jobs`.

        Raises:
            InvalidArgument: a cursor that is none.
            BrokerError: no answer until the deadline, or a queue of another release.
        """
        before = _read_cursor(cursor, places)

        def call(members: Sequence[str]) -> Call:
            return requests.list_page(
                self._keys_of(queue),
                self._offset,
                members,
                places=places,
                task=task,
                limit=limit,
                go_on=before,
            )

        jobs, go_on = self._call(queue, call, repeatable=True)
        return FoundPage(
            jobs=tuple(replies.found_job(queue, job) for job in jobs),
            cursor=json.dumps([part.decode() for part in go_on]) if go_on else None,
        )

    def cancel(self, queue: str, stored_ids: Sequence[str]) -> list[CancelReply]:
        """See `Broker.cancel_jobs`.

        Not repeated after a lost answer: it would say that jobs are unknown which it cancelled.

        Raises:
            BrokerError: no answer until the deadline, a queue of another release, or an answer
                was lost.
        """
        answered: list[CancelReply] = []
        while len(answered) < len(stored_ids):
            left = stored_ids[len(answered) :]

            def call(members: Sequence[str], left: Sequence[str] = left) -> Call:
                chunk = left[: _chunk_size(members)]
                return requests.cancel(self._keys_of(queue), self._offset, members, chunk)

            [flat] = self._call(queue, call, repeatable=False)
            answered += replies.cancel_replies(flat)
        return answered

    def _call(
        self, queue: str, call: Callable[[Sequence[str]], Call], *, repeatable: bool
    ) -> Sequence[Any]:
        """Ask with the keys of all members of the queue; what the script says behind APPLIED."""
        for _ in range(MEMBERS_TRIES):
            reply = self._client.call(call(self._members.of(queue)), repeatable=repeatable)
            applied = self._applied(queue, reply)
            if applied is not None:
                return applied
        raise restless(queue)

    def _applied(self, queue: str, reply: Any) -> Sequence[Any] | None:
        """What a script says behind APPLIED; None: it has to be told the keys of the members."""
        if reply[0] == b"VERSION":
            raise version_error(queue, reply[1])
        if reply[0] == b"KEYS":
            self._members.named(queue, reply[1])
            return None
        applied: Sequence[Any] = reply[1:]
        return applied


def _chunk_size(members: Sequence[str]) -> int:
    """How many jobs one call looks for where a queue has these members."""
    return max(_CHUNK_LEAST, min(_CHUNK_JOBS, _CHUNK_ASKED // max(1, len(members))))


def _read_cursor(cursor: str | None, places: Collection[Place]) -> tuple[str, ...]:
    """Where to go on, as list.lua said."""
    if cursor is None:
        return ()
    try:
        kind, *rest = json.loads(cursor)
        told = " ".join([kind, *rest])
    except (ValueError, TypeError):
        raise _no_cursor(cursor) from None
    # A cursor may have been in the hands of strangers, and the script takes it at its word.
    if not _CURSORS[_kind_of(places)].fullmatch(told):
        raise _no_cursor(cursor)
    return (kind, *rest)


def _no_cursor(cursor: str) -> InvalidArgument:
    return InvalidArgument(f"cursor is {cursor!r}, expected that of the page before.")


def _kind_of(places: Collection[Place]) -> Place | None:
    """The place whose jobs list.lua reads by themselves; None: it reads all."""
    [only] = places if len(places) == 1 else [None]
    return only if only in _CURSORS else None
