"""Looking for jobs on the server, and taking them back, as the methods of `JobsRole` see it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from spinach.brokers.calls import CancelReply, FoundJob, FoundPage
from spinach.exc import InvalidArgument
from spinach_redis import replies, requests
from spinach_redis.members import MEMBERS_TRIES, restless

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from spinach.brokers.calls import Place
    from spinach_redis.client.client import RedisClient
    from spinach_redis.keys import QueueKeys
    from spinach_redis.members import KnownMembers
    from spinach_redis.transport.command import Call

__all__ = ["Jobs"]

#: Jobs that one call looks for or cancels at most, which takes the server a few ms.
_CHUNK_JOBS: Final = 200

#: Where a page ended, by kind: what list.lua says beside it, joined by spaces.
_NUMBER: Final = r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?"
_KINDS: Final = {
    "scan": re.compile(r"([0-9]{1,19})?( \S+)*"),
    "small": re.compile(r"\S*"),
    "leased": re.compile(r"-?[0-9]{1,20}"),
    "sorted": re.compile(rf"{_NUMBER} \S+"),
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
        """See `Broker.find_jobs`.

        Raises:
            BrokerError: no answer until the deadline.
        """
        found: list[FoundJob] = []
        for queue in queues:
            left = list(stored_ids)
            while left:
                looked, jobs = self._call(queue, self._finder(queue, left), repeatable=True)
                found += (replies.found_job(queue, job) for job in jobs)
                left = left[looked:]
        return found

    def _finder(self, queue: str, stored_ids: Sequence[str]) -> Callable[[Sequence[str]], Call]:
        chunk = stored_ids[:_CHUNK_JOBS]
        return lambda members: requests.find(self._keys_of(queue), self._offset, members, chunk)

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
            BrokerError: no answer until the deadline.
        """
        before = _read_cursor(cursor)

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
            BrokerError: no answer until the deadline, or an answer was lost.
        """
        answered: list[CancelReply] = []
        while len(answered) < len(stored_ids):
            chunk = stored_ids[len(answered) : len(answered) + _CHUNK_JOBS]

            def call(members: Sequence[str], chunk: Sequence[str] = chunk) -> Call:
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
            if reply[0] != b"KEYS":
                applied: Sequence[Any] = reply[1:]
                return applied
            self._members.named(queue, reply[1])
        raise restless(queue)


def _read_cursor(cursor: str | None) -> tuple[str, ...]:
    """Where to go on, as list.lua said."""
    if cursor is None:
        return ()
    try:
        parts = json.loads(cursor)
    except ValueError:
        parts = None
    if (
        not isinstance(parts, list)
        or not all(isinstance(part, str) for part in parts)
        or len(parts) < 2
        or parts[0] not in _KINDS
        or _KINDS[parts[0]].fullmatch(" ".join(parts[1:])) is None
    ):
        raise InvalidArgument(f"cursor is {cursor!r}, expected that of the page before.")
    return tuple(parts)
