"""The arguments and the instant of a job, as JSON behind the first line of its record; results.

A payload may get further elements at its end. Values are checked before they are encoded, because
every JSON encoder turns some of them silently into others.
"""

from __future__ import annotations

import math
import reprlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from spinach.exc import InvalidArgument, PayloadTooLarge
from spinach.record.header import UnreadableRecord
from spinach.record.options import NO_OPTIONS, with_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spinach.record.options import RecordOptions

__all__ = [
    "MAX_ARGUMENT_DEPTH",
    "complete_payload",
    "decode_payload",
    "decode_result",
    "encode_arguments",
    "encode_result",
]

#: Nesting of arguments beyond which they are refused. An object that contains itself is refused
#: by it, too.
MAX_ARGUMENT_DEPTH: Final = 200

_ENCODE: Final = msgspec.json.Encoder().encode
_NO_ARGUMENTS: Final = b"[[],{}"
_PLAIN: Final = frozenset({str, int, bool, type(None)})


class _Payload(msgspec.Struct, array_like=True, gc=False):
    """What stands behind the first line; elements behind these are passed over."""

    args: list[Any]
    kwargs: dict[str, Any]
    at_ms: int


_DECODE: Final = msgspec.json.Decoder(_Payload).decode
_DECODE_RESULT: Final = msgspec.json.Decoder().decode

#: Stands for what a function returned where a place otherwise begins with an argument.
_RESULT: Final = None


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


def complete_payload(
    arguments: bytes,
    at_ms: int,
    *,
    limit_bytes: int,
    task: str,
    options: RecordOptions = NO_OPTIONS,
) -> bytes:
    """The payload of a job.

    Args:
        arguments: from `encode_arguments`.
        at_ms: instant of the job, in ms since 1970.
        limit_bytes: largest payload allowed.
        task: for the error.
        options: of the job; the first line of its record has their flags.

    Raises:
        PayloadTooLarge: more bytes than the limit.
    """
    payload = b"%b,%d]" % (arguments, at_ms)
    if options is not NO_OPTIONS:
        payload = with_options(payload, options)
    if len(payload) > limit_bytes:
        what = "arguments" if options.headers is None else "arguments and headers"
        raise PayloadTooLarge(
            f"The encoded {what} of task {task!r} have {len(payload)} bytes, the limit "
            f"is {limit_bytes}. Store the data elsewhere and send a reference to it."
        )
    return payload


def encode_result(value: Any, *, limit_bytes: int, task: str) -> bytes:
    """Encode what a task's function returned, by the rules of arguments.

    A tuple is refused as well. An argument may be one, since a function seldom cares; but who asks
    for a result is promised the type that the function returns.

    Args:
        value: to encode.
        limit_bytes: most bytes allowed.
        task: for the errors.

    Raises:
        InvalidArgument: a value that would not come back equal; names its place.
        PayloadTooLarge: more bytes than the limit.
    """
    try:
        encoded = _ENCODE(_plain(value, task, (_RESULT,)))
    except UnicodeEncodeError as exc:
        raise InvalidArgument(
            f"The result of task {task!r} holds text with a lone surrogate "
            f"({exc.object[exc.start : exc.end]!r}), which is not valid Unicode. "
            "Return bytes as text in base64 or the like."
        ) from exc
    except ValueError as exc:
        if isinstance(exc, InvalidArgument):
            raise
        raise InvalidArgument(
            f"The result of task {task!r} holds an int with more digits than Python converts "
            "(sys.get_int_max_str_digits). Return it as text."
        ) from exc
    if len(encoded) > limit_bytes:
        raise PayloadTooLarge(
            f"The encoded result of task {task!r} has {len(encoded)} bytes, the limit is "
            f"{limit_bytes}. Store the data elsewhere and return a reference to it."
        )
    return encoded


def decode_result(encoded: bytes) -> Any:
    """What a task's function returned, from `encode_result`."""
    return _DECODE_RESULT(encoded)


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


def _plain(value: Any, task: str, path: tuple[str | int | None, ...]) -> Any:
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
            f"levels, or contains itself. {_verb(path)} a flatter structure."
        )
    # Subclasses are not asked for what they hold, since they may tell otherwise.
    if isinstance(value, list):
        return [_plain(item, task, (*path, i)) for i, item in enumerate(list.__iter__(value))]
    if isinstance(value, tuple):
        if path[0] is _RESULT:
            raise _refused(value, task, path, "a tuple would come back as a list")
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


def _refused(
    value: object, task: str, path: tuple[str | int | None, ...], reason: str
) -> InvalidArgument:
    where, verb = _place(path), _verb(path)
    return InvalidArgument(
        f"Cannot {verb.lower()} {reprlib.repr(value)} of type {type(value).__name__} in {where} of "
        f"task {task!r}: {reason}. {verb} str, int, finite float, bool, None, and lists and dicts "
        "of them."
    )


def _verb(path: tuple[str | int | None, ...]) -> str:
    return "Return" if path[0] is _RESULT else "Send"


def _place(path: tuple[str | int | None, ...]) -> str:
    place, *rest = path
    if place is None:
        where = "the result"
    else:
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
