"""Why a job failed, as the failed store keeps it."""

from __future__ import annotations

import json

from spinach.outcome import Failure, cut_failure

__all__ = ["decode_failure", "encode_error", "encode_failure"]


def encode_failure(failure: Failure | None) -> bytes:
    """A reason as bytes, with at most `MAX_ERROR_BYTES` of text."""
    kept = cut_failure(failure or Failure(error="", message=""))
    # ASCII only, so that lone surrogates of broken texts survive.
    return json.dumps([kept.error, kept.message, kept.traceback]).encode("ascii")


def encode_error(error: str) -> bytes:
    """What the reasons of this error begin with, and no others."""
    kept = cut_failure(Failure(error=error, message=""))
    return (json.dumps([kept.error])[:-1] + ",").encode("ascii")


def decode_failure(reason: bytes) -> Failure:
    """The reason again; one that is damaged or missing is shown as it is."""
    try:
        error, message, traceback = json.loads(reason)
        return Failure(error=str(error), message=str(message), traceback=str(traceback))
    except (ValueError, TypeError):
        return Failure(error="", message=reason.decode("utf-8", "replace"))
