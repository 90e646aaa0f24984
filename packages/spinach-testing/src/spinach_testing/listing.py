"""Jobs as text, one line each: the call, its state, the attempt, when it is due, its progress."""

from __future__ import annotations

import reprlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from spinach.job import JobStatus
from spinach.record.header import UnreadableRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spinach.progress import Progress

    from .ledger import Entry

__all__ = ["call_text", "line", "lines", "progress_text"]

#: Longer values are cut in the middle, since a payload may have half a megabyte.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 8

#: A report of thousands of jobs would be of no help.
_MOST_LINES = 50


def call_text(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """A call as it would stand in code; long values are cut."""
    parts = [_SHORT.repr(value) for value in args]
    parts += [f"{name}={_SHORT.repr(value)}" for name, value in kwargs.items()]
    return f"{task}({', '.join(parts)})"


def progress_text(progress: Progress) -> str:
    """How far a task has come, by its own account."""
    note = f" ({progress.note})" if progress.note else ""
    return f"progress {progress.done} of {progress.total}{note}"


def line(entry: Entry, now_ms: int) -> str:
    """One job on one line.

    Args:
        entry: to show.
        now_ms: on the broker's clock, in ms since 1970.
    """
    try:
        call = call_text(entry.task, *entry.arguments)
    except UnreadableRecord:
        call = f"{entry.task}(?)"
    parts = [call, entry.status.name, f"attempt {entry.retries + 1}"]
    if entry.parked:
        parts.append("parked: no worker knows its task")
    elif entry.status is JobStatus.QUEUED:
        parts.append("due now")
    elif entry.due_unknown:
        parts.append("due after a delay that the store chose")
    elif entry.status is JobStatus.WAITING and entry.due_ms is not None:
        left = entry.due_ms - now_ms
        parts.append(f"due in {timedelta(milliseconds=left)}" if left > 0 else "due now")
    if entry.in_line and (expires_ms := entry.expires_ms) is not None:
        left = expires_ms - now_ms
        parts.append(
            f"expires in {timedelta(milliseconds=left)}" if left > 0 else "too late to start"
        )
    if entry.status is JobStatus.RUNNING and entry.cancel_requested:
        parts.append("cancel asked for")
    if (progress := entry.progress) is not None:
        parts.append(progress_text(progress))
    if entry.error:
        parts.append(entry.error)
    return "  ".join(parts)


def lines(entries: Iterable[Entry], now_ms: int) -> str:
    """Jobs below each other, only the last ones of very many; `none` if there are none."""
    shown = [f"  {line(entry, now_ms)}" for entry in entries]
    if len(shown) > _MOST_LINES:
        left_out = len(shown) - _MOST_LINES
        shown = [f"  ({left_out} earlier jobs left out)", *shown[left_out:]]
    return "\n".join(shown) or "  none"
