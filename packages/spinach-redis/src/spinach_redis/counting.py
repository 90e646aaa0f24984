"""Counts the jobs of queues: in as many calls as the topology asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spinach.brokers.calls import QueueCounts, Verdict
from spinach_redis import replies, requests
from spinach_redis.members import MEMBERS_TRIES, restless
from spinach_redis.producer import version_error
from spinach_redis.transport.errors import CrossSlotRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spinach.exc import BrokerError
    from spinach_redis.keys import QueueKeys
    from spinach_redis.members import KnownMembers
    from spinach_redis.process import ProcessState

__all__ = ["Count"]


class Count:
    """One count of the contract.

    Args:
        process: the client of this process, and more.
        keys_of: the keys of a queue.
        members: those known of each queue.
        offset: the clock offset in ms, as text.
    """

    def __init__(
        self,
        process: ProcessState,
        keys_of: Callable[[str], QueueKeys],
        members: KnownMembers,
        offset: str,
    ) -> None:
        self._process = process
        self._keys_of = keys_of
        self._members = members
        self._offset = offset

    def of(self, queues: Sequence[str]) -> list[QueueCounts]:
        """Count; of a queue that cannot be counted the error.

        Raises:
            BrokerError: see `Broker`.
        """
        try:
            counted = self._all(queues)
        except CrossSlotRefused:
            if not self._process.client.topology.part():
                raise
            counted = self._all(queues)
        return [counted[queue] for queue in queues]

    def _all(self, queues: Sequence[str]) -> dict[str, QueueCounts]:
        counted = {queue: _uncounted(queue, restless(queue)) for queue in queues}
        joint = self._process.client.topology.joint
        left = [[*counted]] if joint and counted else [[queue] for queue in counted]
        for _ in range(MEMBERS_TRIES):
            calls = [
                requests.counts(
                    [(self._keys_of(queue), self._members.of(queue)) for queue in group],
                    self._offset,
                )
                for group in left
            ]
            again = []
            for group, answer in zip(left, self._process.client.ask(*calls), strict=True):
                if answer.error is not None:
                    counted.update((queue, _uncounted(queue, answer.error)) for queue in group)
                    continue
                if self._note_members(group, answer.reply):
                    again.append(group)
                    continue
                for queue, reply in zip(group, answer.reply, strict=True):
                    if reply[0] == b"VERSION":
                        counted[queue] = _uncounted(queue, version_error(queue, reply[1]))
                    else:
                        counted[queue] = replies.counts_reply(queue, reply)
            left = again
        return counted

    def _note_members(self, queues: Sequence[str], answer: Any) -> bool:
        """Note the members whose keys were missing; whether there were any."""
        missing = False
        for queue, reply in zip(queues, answer, strict=True):
            if reply[0] == b"KEYS":
                self._members.named(queue, reply[1])
                missing = True
        return missing


def _uncounted(queue: str, error: BrokerError) -> QueueCounts:
    return QueueCounts(verdict=Verdict.UNKNOWN, error=error, queue=queue)
