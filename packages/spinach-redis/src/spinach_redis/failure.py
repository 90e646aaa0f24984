"""Why a job failed, as the failed store keeps it."""

from __future__ import annotations

import json

from spinach.const import MAX_ERROR_BYTES
from spinach.outcome import Failure

__all__ = ["decode_failure", "encode_failure"]


def encode_failure(failure: Failure | None) -> bytes:
    """A reason as bytes, with at most `MAX_ERROR_BYTES` of text.

    Of a message the beginning is kept, of a traceback the end, where the error was
    raised; each has half of the room at least.
    """
    if failure is None:
        return b'["","",""]'
    error = _head(failure.error, MAX_ERROR_BYTES)
    room = MAX_ERROR_BYTES - _size(error)
    message = _head(failure.message, room - min(_size(failure.traceback), room // 2))
    traceback = _tail(failure.traceback, room - _size(message))
    # ASCII only, so that lone surrogates of broken texts survive.
    return json.dumps([error, message, traceback]).encode("ascii")


def decode_failure(reason: bytes) -> Failure:
    """The reason again; one that is damaged or missing is shown as it is."""
    try:
        error, message, traceback = json.loads(reason)
        return Failure(error=str(error), message=str(message), traceback=str(traceback))
    except (ValueError, TypeError):
        return Failure(error="", message=reason.decode("utf-8", "replace"))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(_encoded(text))


def _head(text: str, limit: int) -> str:
    if _size(text) <= limit:
        return text
    encoded, end = _encoded(text), limit
    while end > 0 and _continues(encoded[end]):
        end -= 1
    return encoded[:end].decode("utf-8", "surrogatepass")


def _tail(text: str, limit: int) -> str:
    if _size(text) <= limit:
        return text
    encoded = _encoded(text)
    start = len(encoded) - limit
    while start < len(encoded) and _continues(encoded[start]):
        start += 1
    return encoded[start:].decode("utf-8", "surrogatepass")


def _continues(byte: int) -> bool:
    """Whether a byte of UTF-8 is not the first one of its character."""
    return byte & 0xC0 == 0x80
