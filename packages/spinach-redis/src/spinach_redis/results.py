"""Ends of jobs on the server: looked at, and waited for without asking again and again.

A call that waits has the server note the job as awaited, in the same script that finds it has not
ended. The report that ends the job then puts its end into a list of the job's own, which a BLMOVE
onto itself takes and leaves for the others who wait. On a server that has no memory left BLMOVE is
refused; there a BLPOP takes the end away, and the script is asked for it once more. Such a wait
takes some seconds at most and is begun again, so that nothing depends on the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spinach.brokers.calls import Ending, JobEnd
from spinach.const import RESULTS_CHUNK
from spinach.support.realtime import time
from spinach_redis import replies, requests
from spinach_redis.transport.command import Command
from spinach_redis.transport.errors import Fault, fault_of, to_broker_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach_redis.client.client import RedisClient
    from spinach_redis.keys import QueueKeys
    from spinach_redis.transport.connection import Answer

__all__ = ["JobEnds"]

#: Longest wait on the server, in seconds; then it is looked whether the job is still there.
WAIT_SECONDS: Final = 5.0

#: The server may answer this much later than it was told to, in seconds. Together they are no
#: other call's limit, so that connections of these waits are used for nothing else.
ANSWER_MARGIN_SECONDS: Final = 2.5

#: For how long a job is noted as awaited beyond the wait, in ms.
MARGIN_MS: Final = 2_000

#: A wait that broke off is not begun again at once, in seconds.
PAUSE_SECONDS: Final = 0.05

#: 0 would be for ever.
LEAST_WAIT_SECONDS: Final = 0.001


class JobEnds:
    """The ends of the jobs of one queue; thread safe.

    Args:
        client: makes the calls.
        names: the queue's keys.
        offset: the clock offset in ms, as text.
    """

    def __init__(self, client: RedisClient, names: QueueKeys, offset: str) -> None:
        self._client = client
        self._names = names
        self._offset = offset

    def look(self, stored_ids: Sequence[str]) -> list[JobEnd]:
        """How they ended by now, in as few calls as they and 1 MiB of ends allow.

        Raises:
            BrokerError: no answer until the deadline.
        """
        ends: list[JobEnd] = []
        while len(ends) < len(stored_ids):
            chunk = stored_ids[len(ends) : len(ends) + RESULTS_CHUNK]
            call = requests.ends(self._names, self._offset, chunk)
            ends += map(replies.end_of, self._client.call(call, repeatable=True))
        return ends

    def wait(self, stored_id: str, seconds: float) -> JobEnd:
        """How a job ended, after `seconds` at most; PENDING if it did not.

        Raises:
            BrokerError: no answer until the deadline, or the server refuses.
        """
        end = time.monotonic() + seconds
        while True:
            left = min(end - time.monotonic(), WAIT_SECONDS)
            if left < LEAST_WAIT_SECONDS:
                return self.look([stored_id])[0]
            wait_ms = int(left * 1000) + MARGIN_MS
            call = requests.ends(self._names, self._offset, [stored_id], wait_ms=wait_ms)
            [found] = self._client.call(call, repeatable=True)
            known = replies.end_of(found)
            if known.ending is not Ending.PENDING:
                return known
            told = self._listen(stored_id, end)
            if told is not None:
                return told

    def _listen(self, stored_id: str, end: float) -> JobEnd | None:
        """Wait at the list of a job; None: it is to be looked at again."""
        key = self._names.result(stored_id)
        answer = self._blocked(
            Command(b"BLMOVE", key, key, b"LEFT", b"RIGHT", _until(end), key=key)
        )
        cause = answer.cause
        if cause is None:
            self._client.answered(answer)
            return None if answer.reply is None else replies.end_of(answer.reply)
        if fault_of(cause) is Fault.FULL:
            answer = self._blocked(Command(b"BLPOP", key, _until(end), key=key))
            cause = answer.cause
        if cause is not None and fault_of(cause) is not Fault.PASSING:
            raise to_broker_error(cause, answer.health.address) from cause
        if cause is not None:
            # The look that follows meets it as well, tries again and tells the log. Where that one
            # is answered and this wait is not, the server is not kept busy.
            time.sleep(max(0.0, min(PAUSE_SECONDS, end - time.monotonic())))
        return None

    def _blocked(self, command: Command) -> Answer:
        [answer] = self._client.send([command], WAIT_SECONDS + ANSWER_MARGIN_SECONDS)
        return answer


def _until(end: float) -> str:
    """How long the server is to wait, in seconds."""
    return f"{max(LEAST_WAIT_SECONDS, min(end - time.monotonic(), WAIT_SECONDS)):.3f}"
