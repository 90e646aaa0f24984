"""The first line of a record, which brokers may read; `spinach.record` shows one."""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from typing import Final

from spinach.exc import SpinachError
from spinach.record.names import NAME

__all__ = [
    "DAMAGED_PARK",
    "FLAGS",
    "READABLE_PARKS",
    "RECORD_VERSION",
    "Header",
    "UnreadableRecord",
    "header_line",
    "read_header",
]

#: Version of the records that this release writes, and the newest one that it reads.
RECORD_VERSION: Final = 1

#: Flags of records: for each option that a worker must know to do right by the job, the letter of
#: it, in alphabetical order. A release that does not know one of them parks the record.
FLAGS: Final = "hrx"

#: Parks where an earlier release put records that this one can read.
READABLE_PARKS: Final = frozenset(
    (
        *(f"record|{version + 1}" for version in range(RECORD_VERSION)),
        *(
            f"record|{RECORD_VERSION}+{''.join(letters)}"
            for count in range(1, len(FLAGS) + 1)
            for letters in itertools.combinations(FLAGS, count)
        ),
    )
)

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
    #: Letters of `FLAGS`; empty: the record has no options.
    flags: str = ""


def header_line(*, max_retries: int, queue: str, task: str, flags: str = "") -> bytes:
    """The first line of a record, newline included.

    Args:
        max_retries: how often the job may run again.
        queue: of the job.
        task: of the job.
        flags: letters of `FLAGS`, in their order; see `spinach.record.options`.
    """
    return f"{RECORD_VERSION}|{max_retries}|{flags or _NO_FLAGS}|{queue}|{task}\n".encode("ascii")


def read_header(record: bytes) -> Header:
    """Read the first line of a record.

    Raises:
        UnreadableRecord: written by a newer release, or damaged.
    """
    return _read_line(record[: record.find(b"\n")])


@functools.lru_cache(maxsize=1024)  # jobs of one task share their first line
def _read_line(line: bytes) -> Header:
    match = _LINE.fullmatch(line)
    flags = "" if match is None or match["flags"] == b"-" else match["flags"].decode("ascii")
    if match is None or not _known(flags):
        digits = line.partition(b"|")[0]
        park = DAMAGED_PARK
        if match is not None:
            park = f"record|{RECORD_VERSION}+{flags}"
        elif digits.isdigit() and len(digits) < 5 and int(digits) > RECORD_VERSION:
            park = f"record|{int(digits)}"
        raise UnreadableRecord(
            f"Record starts with {line[:80]!r}, which this release (record version "
            f"{RECORD_VERSION}) cannot read. Run it with the release that wrote it.",
            park,
        )
    return Header(
        int(match["retries"]), match["queue"].decode("ascii"), match["task"].decode("ascii"), flags
    )


def _known(flags: str) -> bool:
    """Whether this release knows these flags; it wants them in alphabetical order, each once."""
    return flags == "".join(letter for letter in FLAGS if letter in flags)
