"""The failed store on the server, as the methods of `Failed` see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spinach_redis import replies, requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import Cursor, FailedJob
    from spinach_redis.client.client import RedisClient
    from spinach_redis.keys import QueueKeys

__all__ = ["FailedJobs"]

#: Jobs that one call takes out at most.
CHUNK_JOBS: Final = 500


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

    def page(self, skip: int, limit: int, after: Cursor | None = None) -> list[FailedJob]:
        """Some of them, the newest first, read in portions of 1 MiB.

        Jobs that come and go between two portions make none of the others come twice, or
        not at all.

        Raises:
            BrokerError: no answer until the deadline.
        """
        jobs: list[FailedJob] = []
        while len(jobs) < limit:
            if jobs:
                skip, after = 0, jobs[-1].cursor
            call = requests.failed_page(
                self._names, self._offset, skip=skip, limit=limit - len(jobs), after=after
            )
            portion = replies.failed_jobs(self._client.call(call, repeatable=True))
            if not portion:
                break
            jobs += portion
        return jobs

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
