"""The note on an exception that says which attempt raised it."""

from __future__ import annotations

import copy
from contextlib import suppress

__all__ = ["add_note", "notes_of", "with_note"]


class _Note(str):
    """A note of this plugin; its type tells it from notes of the user."""

    __slots__ = ()


def notes_of(err: BaseException) -> list[str]:
    """The notes on an exception; none if its class raises when asked for them."""
    try:
        return [str(each) for each in getattr(err, "__notes__", ())]
    except BaseException:  # noqa: BLE001 - whatever the user's class raises
        return []


def with_note(err: BaseException, note: str, *, again: bool) -> BaseException:
    """Add a note to an exception, in place of the note of an earlier test.

    Args:
        err: what an attempt raised.
        note: says which attempt that was.
        again: an earlier attempt of this test raised the same object, such as a constant of a
            module. Its note is still needed, so the new one goes to a copy.

    Returns:
        The exception, or its copy. An exception that cannot be copied keeps all notes.
    """
    # All of this runs code of the user's class, which may refuse notes or copies.
    with suppress(BaseException):
        kept = [each for each in getattr(err, "__notes__", ()) if not isinstance(each, _Note)]
        if again:
            twin = _copy(err)
            if twin is not None:
                twin.__notes__ = kept
                err = twin
        elif hasattr(err, "__notes__"):
            err.__notes__ = kept
        err.add_note(_Note(note))
    return err


def add_note(err: BaseException, note: str) -> None:
    """Add one more note; `with_note` of a later test removes it."""
    with suppress(Exception):  # see there
        err.add_note(_Note(note))


def _copy(err: BaseException) -> BaseException | None:
    """A copy with everything that a report shows; None: it cannot be copied."""
    try:
        twin = copy.copy(err)
        if twin is err or type(twin) is not type(err):
            return None
        # A copy is made by calling the class with `args`, which may not be the arguments that
        # its `__init__` takes.
        twin.args = err.args
        if str(twin) != str(err):
            return None
    except BaseException:  # noqa: BLE001 - see `with_note`
        return None
    twin.__cause__, twin.__context__ = err.__cause__, err.__context__
    twin.__suppress_context__ = err.__suppress_context__
    return twin.with_traceback(err.__traceback__)
