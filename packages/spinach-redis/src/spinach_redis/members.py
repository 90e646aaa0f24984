"""Members of queues, as far as this process knows them.

Each member's leases are in a key of its own. `join`, for a limit that is new, and `counts`
look at the leases of all members, and a script must be told all its keys beforehand. So they
are told the members that the last answer named. If there are others by now, the script does
nothing and answers with their names, and is called again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spinach.exc import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MEMBERS_TRIES", "KnownMembers", "restless"]

#: How often a script is called again because members came up whose keys were missing.
MEMBERS_TRIES: Final = 5


def restless(queue: str) -> BrokerUnavailable:
    """The error when that was not enough."""
    return BrokerUnavailable(
        f"The members of queue {queue} change faster than they can be read. "
        "Look whether worker processes start and end all the time."
    )


class KnownMembers:
    """The members of each queue that were named last; thread safe.

    No lock is needed: what is kept may be out of date at any time.
    """

    def __init__(self) -> None:
        self._by_queue: dict[str, tuple[str, ...]] = {}

    def of(self, queue: str) -> tuple[str, ...]:
        """Those of a queue."""
        return self._by_queue.get(queue, ())

    def named(self, queue: str, members: Sequence[bytes]) -> None:
        """Note what a script answered."""
        self._by_queue[queue] = tuple(member.decode() for member in members)
