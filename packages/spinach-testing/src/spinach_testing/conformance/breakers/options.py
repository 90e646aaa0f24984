"""Breakers of what a broker does with jobs that have options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from spinach.clock import to_ms
from spinach.record.header import UnreadableRecord, header_line, read_header
from spinach.record.options import read_options

from .base import Breaker, ChangesFetches, map_leases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spinach.brokers.calls import Deposit, FetchReply, FetchTurn
    from spinach.outcome import Lease


_ENCODE = msgspec.json.Encoder().encode


class DropsOptions(Breaker):
    """Stores jobs without their options."""

    breaks = "I18"

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        return self.inner.enqueue([replace(each, record=_plain(each.record)) for each in deposits])


class LimitsPlainJobsOnly(ChangesFetches):
    """Does not count the jobs of a limited task that have options."""

    breaks = "I10"

    def enqueue(self, deposits: Sequence[Deposit]) -> list[bool]:
        self.family.records.update((each.stored_id, each.record) for each in deposits)
        return self.inner.enqueue(
            [
                replace(each, record=_of_no_task(each.record))
                if _has_options(each.record)
                else each
                for each in deposits
            ]
        )

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        return map_leases(reply, self._as_stored)

    def _as_stored(self, lease: Lease) -> Lease:
        return replace(lease, record=self.family.records.get(lease.stored_id, lease.record))


class ForgetsWhatExpired(ChangesFetches):
    """Keeps a job to itself that has expired, so that no worker can tell of it."""

    breaks = "I1"

    def changed_reply(self, turn: FetchTurn, reply: FetchReply) -> FetchReply:
        return replace(
            reply, leases=tuple(each for each in reply.leases if not self._expired(each.record))
        )

    def _expired(self, record: bytes) -> bool:
        expires_ms = read_options(record).expires_ms if _has_options(record) else None
        return expires_ms is not None and expires_ms <= to_ms(self.inner.clock.now())


def _has_options(record: bytes) -> bool:
    try:
        return bool(read_header(record).flags)
    except UnreadableRecord:
        return False


def _of_no_task(record: bytes) -> bytes:
    """The record as that of a task for which nobody declares a limit."""
    header = read_header(record)
    line = header_line(
        max_retries=header.max_retries, queue=header.queue, task="unlimited", flags=header.flags
    )
    return line + record[record.index(b"\n") + 1 :]


def _plain(record: bytes) -> bytes:
    """The record without its options."""
    if not _has_options(record):
        return record
    header = read_header(record)
    options = b",%b]" % _ENCODE(read_options(record))
    line = header_line(max_retries=header.max_retries, queue=header.queue, task=header.task)
    return line + record[record.index(b"\n") + 1 :].removesuffix(options) + b"]"
