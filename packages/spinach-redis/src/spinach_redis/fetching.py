"""One fetch of the contract: as many calls as the topology asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spinach.brokers.calls import FetchReply, Verdict
from spinach.exc import BrokerError
from spinach_redis import replies, requests
from spinach_redis.transport.connection import Answer
from spinach_redis.transport.errors import CrossSlotRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spinach.brokers.calls import FetchTurn
    from spinach_redis.keys import QueueKeys
    from spinach_redis.process import ProcessState
    from spinach_redis.transport.command import Call

__all__ = ["Fetch"]


class Fetch:
    """Takes jobs for memberships of one process, in strict order of the turns.

    1. Where one script may take all queues, it does, and waits for all of them.
    2. Otherwise the first queue is asked, then with what is still wanted the next one;
       once nothing is, the others are asked together, as they have more to tell.

    Args:
        process: the client of this process, and more.
        keys_of: the keys of a queue.
        offset: the clock offset in ms, as text.
        idle: see `Broker.fetch`.
        extra: see `Broker.fetch`.
        max_bytes: see `Broker.fetch`.
    """

    def __init__(
        self,
        process: ProcessState,
        keys_of: Callable[[str], QueueKeys],
        offset: str,
        *,
        idle: int,
        extra: int,
        max_bytes: int,
    ) -> None:
        self._process = process
        self._keys_of = keys_of
        self._offset = offset
        self._idle = idle
        self._extra = extra
        self._max_bytes = max_bytes
        self._taken = 0
        self._bytes = 0
        self._replies: dict[FetchTurn, FetchReply] = {}

    def run(self, turns: Sequence[FetchTurn], block_seconds: float) -> list[FetchReply]:
        """Wait, then fetch; parks that are named end the wait.

        Raises:
            BrokerError: see `Broker`.
        """
        wait_seconds = 0.0 if any(turn.parks for turn in turns) else block_seconds
        try:
            self._run(turns, wait_seconds)
        except CrossSlotRefused:
            # Nothing was done. A server may be that strict although it is no Cluster.
            if not self._process.client.topology.part():
                raise
            self._run(turns, wait_seconds)
        return [self._replies[turn] for turn in turns]

    def _run(self, turns: Sequence[FetchTurn], wait_seconds: float) -> None:
        joint = self._process.client.topology.joint
        groups = [list(turns)] if joint else [[turn] for turn in turns]
        early = self._wait(groups, wait_seconds) if wait_seconds > 0 else None
        while groups:
            full = self._taken >= self._idle + self._extra
            count = len(groups) if full else 1
            self._ask(groups[:count], early)
            groups, early = groups[count:], None

    def _wait(self, groups: Sequence[Sequence[FetchTurn]], seconds: float) -> Answer | None:
        markers = [[self._keys_of(turn.queue).marker for turn in group] for group in groups]
        call = self._call(groups[0]) if len(groups) == 1 else None
        return self._process.waiting.wait(markers, seconds, call)

    def _call(self, turns: Sequence[FetchTurn]) -> Call:
        return requests.fetch(
            [(turn, self._keys_of(turn.queue)) for turn in turns],
            self._offset,
            idle=self._idle,
            extra=self._extra,
            max_bytes=self._max_bytes,
            taken=self._taken,
            taken_bytes=self._bytes,
        )

    def _ask(self, groups: Sequence[Sequence[FetchTurn]], early: Answer | None) -> None:
        """Ask for groups together; `early` is the answer for the only one, if it is there."""
        answers = self._answers(groups) if early is None else [early]
        for turns, answer in zip(groups, answers, strict=True):
            if answer.error is not None:
                self._unknown(turns, answer.error)
            else:
                self._accept(turns, answer.reply, answer.doubt)

    def _answers(self, groups: Sequence[Sequence[FetchTurn]]) -> list[Answer]:
        try:
            return self._process.client.ask(*map(self._call, groups), confirmed=True)
        except CrossSlotRefused:
            raise
        except BrokerError as error:
            if not self._taken:
                raise
            # What the queues before have given must not be lost. The next call that
            # concerns this one will meet the error again.
            return [Answer(self._process.client.topology.health, cause=error)] * len(groups)

    def _accept(self, turns: Sequence[FetchTurn], answer: Any, doubt: BrokerError | None) -> None:
        for turn, part in zip(turns, answer, strict=True):
            reply = replies.fetch_reply(turn, part)
            self._taken += len(reply.leases)
            self._bytes += sum([len(lease.record) for lease in reply.leases])
            if doubt is not None and replies.may_not_start(reply.leases):
                # They come with the reconciliation, once replicas know of them.
                reply = FetchReply(verdict=Verdict.UNKNOWN, error=doubt)
            self._replies[turn] = reply

    def _unknown(self, turns: Sequence[FetchTurn], error: BrokerError) -> None:
        for turn in turns:
            self._replies[turn] = FetchReply(verdict=Verdict.UNKNOWN, error=error)
