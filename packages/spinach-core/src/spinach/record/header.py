"""The first line of a record, which brokers may read; `spinach.record` shows one."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final

from spinach.exc import SpinachError
from spinach.record.names import NAME

__all__ = [
    "DAMAGED_PARK",
    "READABLE_PARKS",
    "RECORD_VERSION",
    "Header",
    "UnreadableRecord",
    "header_line",
    "read_header",
]

#: Version of the records that this release writes, and the newest one that it reads.
RECORD_VERSION: Final = 1

#: Parks where an earlier release put records that this one can read.
READABLE_PARKS: Final = frozenset(f"record|{v + 1}" for v in range(RECORD_VERSION))

#: Where records wait that no release can read.
DAMAGED_PARK: Final = "record|damaged"

_NO_FLAGS: Final = "-"
_LINE: Final = re.compile(
    rf"1\|(?P<retries>[0-9]{{1,7}})\|(?P<flags>-|[a-z]+)\|(?P<queue>{NAME})\|(?P<task>{NAME})".encode()
)


class UnreadableRecord(SpinachError):
    """A record that this release cannot read: newer than it, or damaged."""

    def __init__(self, message: str, park: str = DAMAGED_PARK) -> None:
        super().__init__(message)
        #: Where such records wait for a release that reads them. It is the name of no task,
        #: since those have no `|`.
        self.park = park


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line of a record says."""

    max_retries: int
    queue: str
    task: str


def header_line(*, max_retries: int, queue: str, task: str) -> bytes:
    """The first line of a record, newline included."""
    return f"{RECORD_VERSION}|{max_retries}|{_NO_FLAGS}|{queue}|{task}\n".encode("ascii")


def read_header(record: bytes) -> Header:
    """Read the first line of a record.

    Raises:
        UnreadableRecord: written by a newer release, or damaged.
    """
    return _read_line(record[: record.find(b"\n")])


@functools.lru_cache(maxsize=1024)  # jobs of one task share their first line
def _read_line(line: bytes) -> Header:
    match = _LINE.fullmatch(line)
    if match is None or match["flags"] != b"-":
        digits = line.partition(b"|")[0]
        park = DAMAGED_PARK
        if match is not None:
            park = f"record|{RECORD_VERSION}+{match['flags'].decode('ascii')}"
        elif digits.isdigit() and len(digits) < 5 and int(digits) > RECORD_VERSION:
            park = f"record|{int(digits)}"
        raise UnreadableRecord(
            f"Record starts with {line[:80]!r}, which this release (record version "
            f"{RECORD_VERSION}) cannot read. Run it with the release that wrote it.",
            park,
        )
    return Header(
        int(match["retries"]), match["queue"].decode("ascii"), match["task"].decode("ascii")
    )
