"""The failed store on the server, as the methods of `Failed` see it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from spinach_redis import replies, requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import (
        Cursor,
        FailedFilter,
        FailedJob,
        FailedPortion,
        PortionReply,
    )
    from spinach_redis.client.client import RedisClient
    from spinach_redis.keys import QueueKeys

__all__ = ["FailedJobs"]

#: Jobs that one call takes out at most.
CHUNK_JOBS: Final = 500

#: How much longer than a call is tried the server knows its copies, in ms: one that lay in a
#: buffer of the network may come when the caller has long given up.
ANSWER_KEPT_MS: Final = 60_000


class FailedJobs:
    """The failed jobs of one queue; thread safe.

    Args:
        client: makes the calls.
        names: the queue's keys.
        offset: the clock offset in ms, as text.
    """

    def __init__(self, client: RedisClient, names: QueueKeys, offset: str) -> None:
        self._client = client
        self._names = names
        self._offset = offset

    def page(
        self, skip: int, limit: int, after: Cursor | None, matching: FailedFilter
    ) -> list[FailedJob]:
        """Some of them, the newest first, read in portions of 1 MiB.

        Jobs that come and go between two portions make none of the others come twice, or
        not at all.

        Raises:
            BrokerError: no answer until the deadline.
        """
        jobs: list[FailedJob] = []
        while len(jobs) < limit:
            call = requests.failed_page(
                self._names,
                self._offset,
                skip=skip,
                limit=limit - len(jobs),
                after=after,
                matching=matching,
            )
            page = replies.failed_page(self._client.call(call, repeatable=True))
            jobs += page.jobs
            if page.after is None:
                break
            skip, after = page.skip, page.after
        return jobs

    def take_portion(self, portion: FailedPortion, *, run: bool) -> PortionReply:
        """Run a portion of them again (`run`), or forget it.

        Repeated after a lost answer: the server knows a copy of the call, and tells once more
        what it told before.

        Raises:
            BrokerError: no answer until the deadline.
        """
        life_ms = int(1000 * self._client.client_seconds) + ANSWER_KEPT_MS
        name = uuid.uuid4().hex
        call = requests.revive_all(
            self._names, self._offset, name, portion, run=run, life_ms=life_ms
        )
        return replies.portion_reply(self._client.call(call, repeatable=True))

    def take_out(self, stored_ids: Sequence[str], *, run: bool) -> int:
        """Run jobs again (`run`) or forget them; how many there were.

        Not repeated after a lost answer: a job that failed again in the meantime would run once
        more, although that was not asked for.

        Raises:
            BrokerError: no answer until the deadline, or an answer was lost.
        """
        found = 0
        for at in range(0, len(stored_ids), CHUNK_JOBS):
            chunk = stored_ids[at : at + CHUNK_JOBS]
            call = requests.revive(self._names, self._offset, chunk, run=run)
            found += self._client.call(call, repeatable=False)
        return found
