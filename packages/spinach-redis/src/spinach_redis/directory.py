"""Names that a process must know to declare the keys of a script.

Which tasks are limited, who is a member and what is parked is on the server. A script
that meets a name whose keys were not declared does nothing and answers with the names;
the caller notes them here and calls again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from spinach.exc import BrokerUnavailable

__all__ = ["NAMES_ATTEMPTS", "Directory", "Names", "restless"]

#: How often a script is called again because names came up whose keys were missing.
NAMES_ATTEMPTS: Final = 5


def restless(queue: str) -> BrokerUnavailable:
    """The error when that was not enough."""
    return BrokerUnavailable(
        f"The limited tasks or members of queue {queue} change faster than they can be read."
    )


@dataclass(frozen=True, slots=True)
class Names:
    """What is known of one queue; may be out of date either way."""

    limited: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    parks: tuple[str, ...] = ()


class Directory:
    """What is known of each queue; thread safe.

    Without a lock, since entries are immutable: of two that are noted at once one may be
    missed, and is noted when it comes up again.
    """

    def __init__(self) -> None:
        self._names: dict[str, Names] = {}

    def of(self, queue: str) -> Names:
        """What is known of a queue."""
        return self._names.get(queue, Names())

    def add_limited(self, queue: str, tasks: list[str]) -> None:
        """Note further limited tasks."""
        known = self.of(queue)
        merged = tuple(dict.fromkeys((*known.limited, *tasks)))
        self._names[queue] = replace(known, limited=merged)

    def set_all(
        self, queue: str, *, limited: list[str], members: list[str], parks: list[str]
    ) -> None:
        """Note all names of a queue anew."""
        self._names[queue] = Names(tuple(limited), tuple(members), tuple(parks))
