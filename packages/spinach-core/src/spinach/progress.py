"""How far a job has come, as its task says."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from spinach.exc import InvalidArgument
from spinach.support.checks import require_int
from spinach.support.exception_text import shown

__all__ = ["MAX_NOTE", "Progress", "progress_of"]

#: Characters of a note that are kept.
MAX_NOTE: Final = 200

_MOST: Final = 2**53


class Progress(msgspec.Struct, frozen=True, gc=False):
    """How far a job that runs has come, by its own account."""

    #: Steps that are done.
    done: int
    #: Steps in all.
    total: int
    #: What it is busy with, for people; at most `MAX_NOTE` characters.
    note: str = ""


def progress_of(done: Any, total: Any, note: Any) -> Progress:
    """Check what a task says of its progress.

    A note that is too long is cut, since a long name of a file must not fail a job.

    Raises:
        InvalidArgument: no numbers, more done than there is, or a note that is no text.
    """
    require_int(total, "total", 0, _MOST)
    if isinstance(done, int) and done > total:
        raise InvalidArgument(
            f"done is {done} of a total of {total}. Pass at most the total, or a larger total."
        )
    require_int(done, "done", 0, total)
    if not isinstance(note, str):
        raise InvalidArgument(
            f"note is {shown(note)} of type {type(note).__name__}, expected a str."
        )
    # Lone surrogates, as names of files have them, cannot be sent.
    storable = str.encode(note, "utf-8", "backslashreplace").decode("utf-8")
    return Progress(int(done), int(total), storable[:MAX_NOTE])
