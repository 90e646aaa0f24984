r"""How a job is written: a header line that brokers may read, and a payload.

::

    1|3|-|spinach|mail.send\n[["a@example.org"],{"urgent":true},1700000000000]
    │ │ │    │        │          │               │                └ at, ms since 1970
    │ │ │    │        │          │               └ keyword arguments
    │ │ │    │        │          └ positional arguments
    │ │ │    │        └ task
    │ │ │    └ queue
    │ │ └ flags: letters for features to come, `-` for none
    │ └ max_retries
    └ version of the record

The payload is JSON, and may get further elements at its end. Records never
change once written (I18). Values are checked before they are encoded, because
every JSON encoder turns some of them silently into others.
"""

from __future__ import annotations

import functools
import math
import re
import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from spinach.const import MAX_ARGUMENT_DEPTH, NAME_PATTERN, NAMESPACE_PATTERN
from spinach.exc import InvalidArgument, InvalidName, PayloadTooLarge, SpinachError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DAMAGED_PARK",
    "READABLE_PARKS",
    "RECORD_VERSION",
    "Header",
    "UnreadableRecord",
    "check_name",
    "complete_payload",
    "decode_payload",
    "encode_arguments",
    "header_line",
    "read_header",
    "stored_id",
]

#: Version of the records that this release writes and the newest one it reads.
RECORD_VERSION: Final = 1

#: Parks where an earlier release put records that this one can read.
READABLE_PARKS: Final = frozenset(f"record|{v + 1}" for v in range(RECORD_VERSION))

_NO_FLAGS: Final = "-"
_LONGEST_NAME: Final = 200
_HEADER: Final = re.compile(
    rb"1\|(?P<retries>[0-9]{1,7})\|(?P<flags>-|[a-z]+)\|"
    rb"(?P<queue>[A-Za-z0-9_.:/@-]{1,200})\|(?P<task>[A-Za-z0-9_.:/@-]{1,200})"
)
_ENCODE: Final = msgspec.json.Encoder().encode
_NO_ARGUMENTS: Final = b"[[],{}"
_PLAIN: Final = frozenset({str, int, bool, type(None)})


#: Where records wait that no release can read.
DAMAGED_PARK: Final = "record|damaged"


class _Payload(msgspec.Struct, array_like=True, gc=False):
    """What stands behind the first line; elements behind these are passed over."""

    args: list[Any]
    kwargs: dict[str, Any]
    at_ms: int


_DECODE: Final = msgspec.json.Decoder(_Payload).decode


class UnreadableRecord(SpinachError):
    """A record that this release cannot read: newer than it, or damaged."""

    def __init__(self, message: str, park: str = DAMAGED_PARK) -> None:
        super().__init__(message)
        #: Where such records wait for a release that reads them. No task is called
        #: like a park of records, since names have no `|`.
        self.park = park


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a record."""

    max_retries: int
    queue: str
    task: str


def check_name(name: object, what: str) -> str:
    """Return a task, queue or namespace name if it is one.

    Args:
        name: to check.
        what: "task", "queue" or "namespace", for the error.

    Raises:
        InvalidName: wrong type, length or characters; a queue that is reserved.
    """
    pattern = NAMESPACE_PATTERN if what == "namespace" else NAME_PATTERN
    if not isinstance(name, str) or pattern.fullmatch(name) is None:
        allowed = "_ . : -" if what == "namespace" else "_ . : - / @"
        message = (
            f"{what} name is {name!r}, expected 1 to 200 of the characters A-Z a-z 0-9 {allowed}"
        )
        if usable := _usable_name(name, what):
            message += f". Replace the others, as in {usable!r}."
        raise InvalidName(message)
    if what == "queue" and name.startswith("_"):
        raise InvalidName(
            f"queue name is {name!r}, but names that start with _ are reserved. "
            "Choose one that starts with a letter or a digit."
        )
    return str(name)


def _usable_name(name: object, what: str) -> str:
    """A name that is allowed and reads like this one; empty without any."""
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        return ""
    kept = "A-Za-z0-9_.:-" if what == "namespace" else "A-Za-z0-9_.:/@-"
    return re.sub(f"[^{kept}]+", "_", name).strip("_")


def stored_id(job_id: str, max_retries: int) -> str:
    """The id under which brokers know a job: its kind character and its UUID."""
    return ("1" if max_retries else "0") + job_id


def header_line(*, max_retries: int, queue: str, task: str) -> bytes:
    """The first line of a record, newline included."""
    return f"{RECORD_VERSION}|{max_retries}|{_NO_FLAGS}|{queue}|{task}\n".encode("ascii")


def read_header(record: bytes) -> Header:
    """Read the first line of a record.

    Raises:
        UnreadableRecord: written by a newer release, or damaged.
    """
    return _parse_line(record[: record.find(b"\n")])


@functools.lru_cache(maxsize=1024)  # jobs of one task share their first line
def _parse_line(line: bytes) -> Header:
    match = _HEADER.fullmatch(line)
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


def encode_arguments(args: Sequence[Any], kwargs: Mapping[str, Any], *, task: str) -> bytes:
    """Encode the arguments of a job: a payload without its end.

    Args:
        args: positional arguments.
        kwargs: keyword arguments.
        task: for the errors.

    Raises:
        InvalidArgument: a value that would not come back equal; names its place.
    """
    if not args and not kwargs:
        return _NO_ARGUMENTS
    positional = [_plain(value, task, (i,)) for i, value in enumerate(args)]
    named = {key: _plain(value, task, (key,)) for key, value in kwargs.items()}
    try:
        return _ENCODE((positional, named))[:-1]
    except UnicodeEncodeError as exc:
        raise InvalidArgument(
            f"{_culprit(positional, named)} of task {task!r} holds text with a lone surrogate "
            f"({exc.object[exc.start : exc.end]!r}), which is not valid Unicode. "
            "Send bytes as text in base64 or the like."
        ) from exc
    except ValueError as exc:
        raise InvalidArgument(
            f"{_culprit(positional, named)} of task {task!r} holds an int with more digits than "
            "Python converts (sys.get_int_max_str_digits). Send it as text."
        ) from exc


def complete_payload(arguments: bytes, at_ms: int, *, limit_bytes: int, task: str) -> bytes:
    """The payload of a job.

    Args:
        arguments: from `encode_arguments`.
        at_ms: instant of the job, in ms since 1970.
        limit_bytes: largest payload allowed.
        task: for the error.

    Raises:
        PayloadTooLarge: more bytes than the limit.
    """
    payload = b"%b,%d]" % (arguments, at_ms)
    if len(payload) > limit_bytes:
        raise PayloadTooLarge(
            f"The encoded arguments of task {task!r} have {len(payload)} bytes, the limit "
            f"is {limit_bytes}. Store the data elsewhere and send a reference to it."
        )
    return payload


def decode_payload(record: bytes) -> tuple[list[Any], dict[str, Any], int]:
    """Positional arguments, keyword arguments and instant (ms since 1970) of a record.

    Raises:
        UnreadableRecord: damaged.
    """
    try:
        payload = _DECODE(record[record.index(b"\n") + 1 :])
    except (ValueError, msgspec.DecodeError) as exc:
        raise UnreadableRecord(f"The payload of the record is damaged: {exc}") from exc
    return payload.args, payload.kwargs, payload.at_ms


def _plain(value: Any, task: str, path: tuple[str | int, ...]) -> Any:
    """The value as exact JSON types, or an error that tells where it is not."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        if math.isfinite(value):
            return value
        raise _refused(value, task, path, "JSON has no such number")
    if len(path) > MAX_ARGUMENT_DEPTH:
        raise InvalidArgument(
            f"{_place(path[:1])} of task {task!r} is nested deeper than {MAX_ARGUMENT_DEPTH} "
            "levels, or contains itself. Send a flatter structure."
        )
    # Subclasses are not asked for what they hold, since they may tell otherwise.
    if isinstance(value, list):
        return [_plain(item, task, (*path, i)) for i, item in enumerate(list.__iter__(value))]
    if isinstance(value, tuple):
        return [_plain(item, task, (*path, i)) for i, item in enumerate(tuple.__iter__(value))]
    if isinstance(value, dict):
        plain = {}
        for key, item in dict.items(value):
            if not isinstance(key, str):
                raise _refused(key, task, path, "keys must be str")
            plain[_base(key, str)] = _plain(item, task, (*path, key))
        if len(plain) != dict.__len__(value):
            raise _refused(value, task, path, "two of its keys are the same text")
        return plain
    if isinstance(value, str):
        return _base(value, str)
    if isinstance(value, int):
        return _base(value, int)
    if isinstance(value, float):
        return _plain(_base(value, float), task, path)
    raise _refused(value, task, path, "it would not come back equal from JSON")


def _base(value: Any, base: type[Any]) -> Any:
    """A value of a subclass as its base type, without asking the subclass."""
    if base is str:
        return "".join(str.__iter__(value))
    return float.__pos__(value) if base is float else int.__index__(value)


def _refused(value: object, task: str, path: tuple[str | int, ...], reason: str) -> InvalidArgument:
    where = _place(path)
    return InvalidArgument(
        f"Cannot send {reprlib.repr(value)} of type {type(value).__name__} in {where} of task "
        f"{task!r}: {reason}. Send str, int, finite float, bool, None, and lists and dicts of them."
    )


def _place(path: tuple[str | int, ...]) -> str:
    place, *rest = path
    where = f"argument {place!r}" if isinstance(place, str) else f"argument {place + 1}"
    return where + "".join(f"[{step!r}]" for step in rest)


def _culprit(positional: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Which argument cannot be encoded."""
    arguments: list[tuple[int | str, Any]] = [*enumerate(positional), *named.items()]
    for key, value in arguments:
        try:
            _ENCODE(value)
        except ValueError:  # what msgspec and the codecs raise are among them
            return _place((key,))
    return "A keyword"
