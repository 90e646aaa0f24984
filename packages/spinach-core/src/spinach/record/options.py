"""The options of one job, as the last element of its payload.

Few jobs have any. The first line of a record has a letter for each option, so that a worker
reads this element only where there is one, and a release that does not know an option parks the
job in place of ignoring it.
"""

from __future__ import annotations

import msgspec

from spinach.record.header import UnreadableRecord, read_header

__all__ = ["NO_OPTIONS", "RecordOptions", "keep_ms_of", "read_options", "with_options"]


class RecordOptions(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a record says beside the arguments; None: it does not."""

    #: Flag `h`: texts that travel along.
    headers: dict[str, str] | None = None
    #: Flag `r`: how long the result is kept, in ms.
    keep_ms: int | None = None
    #: Flag `x`: the instant from which on the job is not started any more, in ms since 1970.
    expires_ms: int | None = None

    @property
    def flags(self) -> str:
        """The letters for the first line of the record."""
        return (
            ("" if self.headers is None else "h")
            + ("" if self.keep_ms is None else "r")
            + ("" if self.expires_ms is None else "x")
        )


#: Of a job without any.
NO_OPTIONS = RecordOptions()

_ENCODE = msgspec.json.Encoder().encode


class _Payload(msgspec.Struct, array_like=True, gc=False):
    args: msgspec.Raw
    kwargs: msgspec.Raw
    at_ms: msgspec.Raw
    options: RecordOptions


_DECODE = msgspec.json.Decoder(_Payload).decode


def with_options(payload: bytes, options: RecordOptions) -> bytes:
    """A payload with options behind what it has.

    Args:
        payload: ends with its instant.
        options: of the job.
    """
    return b"%b,%b]" % (payload[:-1], _ENCODE(options))


def read_options(record: bytes) -> RecordOptions:
    """The options of a record whose first line has flags.

    Raises:
        UnreadableRecord: damaged.
    """
    try:
        return _DECODE(record[record.index(b"\n") + 1 :]).options
    except (ValueError, msgspec.DecodeError) as exc:
        raise UnreadableRecord(f"The options of the record are damaged: {exc}") from exc


def keep_ms_of(record: bytes) -> int | None:
    """How long the result of a job is kept, in ms.

    None: it is not; or only a newer release can tell, or the record is damaged.
    """
    try:
        return read_options(record).keep_ms if "r" in read_header(record).flags else None
    except UnreadableRecord:
        return None
